"""A run's answers in the forms that other evaluation kits keep theirs in, for scoring or viewing there.

VLMEvalKit: a table of the data set's columns and `prediction`, as TSV, and as xlsx where openpyxl is installed.
lmms-eval: one JSON line a sample, as its `--log_samples` writes them. Written from the records; nothing is asked again.
`armlite docs kits` says how to have them scored there.
"""

import csv
import hashlib
import importlib.util
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from armlite.evals.figures import Answer, Benchmark, Item, TaskMeta
from armlite.evals.folder import EvalRun
from armlite.store import write_atomic

EXPORTS = "exports"
FAILED = "Failed to obtain answer via API."
"""By this VLMEvalKit knows a prediction to ask for again."""
NO_ANSWER = "-"
"""Stands for an answer that is not there. The kits' rules find no letter and no option in it, as they do in an empty
text; and an empty cell comes back from a table as a number."""
_MISSING = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"}
_MISSING |= {"NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
"""Texts that pandas reads from a table as no value; a prediction that is one gets a full stop."""
EXCEL_CELL = 32767
"""Characters that a cell of a sheet may hold; longer ones are cut in the xlsx, never in the TSV."""
_NOT_IN_SHEETS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters that the xlsx format has no room for."""


def write_exports(benchmark: Benchmark, run: EvalRun) -> None:
    """Write all forms below the run's folder."""
    folder = run.folder / EXPORTS
    table = vlmevalkit_rows(benchmark, run.items)
    write_atomic(folder / f"vlmevalkit_{benchmark.name}.tsv", tsv(table))
    if importlib.util.find_spec("openpyxl") is not None:
        write_atomic(folder / f"vlmevalkit_{benchmark.name}.xlsx", xlsx(table))
    rows = lmms_rows(benchmark, run.items)
    lines = jsonl(rows).encode("utf-8", "backslashreplace")
    write_atomic(folder / f"lmms_eval_samples_{benchmark.name}.jsonl", lines)


def vlmevalkit_rows(benchmark: Benchmark, items: Sequence[Item]) -> list[dict[str, Any]]:
    """One row an item, with the columns that VLMEvalKit's own table of predictions has for the set.

    `index` is the published id, or the row's place in the set (from 0) where there is none or some repeat;
    `armlite_id` is the task's id. `prediction` is the first judgment's (see `prediction`), a verdict in the order that
    the kit shows responses in; `FAILED` where the judge could not be asked, so that the kit asks again instead of
    scoring it.
    """
    letters = sorted({letter for item in items for letter in item.task.options})
    published = [TaskMeta.of(item.task).published_id for item in items]
    unique = None not in published and len(set(map(str, published))) == len(items)
    rows = []
    for place, item in enumerate(items):
        task = item.task
        row = {
            "index": _index(item.published_id) if unique else _place(item, place),
            "armlite_id": task.id,
            "question": task.question,
            **{letter: task.options.get(letter, "") for letter in letters},
            "response": str(list(task.responses)) if task.responses else "",
            "answer": _gold(item),
            "category": task.source.rsplit("/", 1)[-1],
            "image_path": json.dumps(task.images) if task.images else "",
        }
        own = benchmark.vlmevalkit(item) if benchmark.vlmevalkit else {}
        text = prediction(benchmark, item) if item.first and not item.first.trajectory.fault else FAILED
        rows.append(row | own | {"prediction": f"{text}." if text.strip() in _MISSING else text})
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, "") for name in columns} for row in rows]


def prediction(benchmark: Benchmark, item: Item) -> str:
    """What a kit's script is to read as an item's answer: that of the first judgment, without its thoughts.

    `NO_ANSWER` where there is none, so that no rule finds a letter in a thought that was cut off.
    """
    said = item.first.said if item.first else ""
    return (benchmark.kit_text(item) if benchmark.kit_text else said) or NO_ANSWER


def lmms_rows(benchmark: Benchmark, items: Sequence[Item]) -> list[dict[str, Any]]:
    """One record an item with the keys of a file that lmms-eval writes under `--log_samples`.

    `doc_id` counts the set's rows from 0; `filtered_resps` is what the kit's script reads, `resps` what the model wrote
    in each vote's last turn; `score` is the benchmark's main figure of this item alone.
    """
    rows = []
    for place, item in enumerate(items):
        text, target = prediction(benchmark, item), _gold(item)
        said = [answer.text for answer in item.answers]
        main = benchmark.score([item]).get(benchmark.main)
        counts = [{"output_tokens": tokens} if (tokens := _tokens(answer)) else None for answer in item.answers[:1]]
        rows.append(
            {
                "doc_id": _place(item, place),
                "target": target,
                **({} if said == [text] else {"resps": said}),
                "filtered_resps": text,
                "token_counts": counts,
                "doc_hash": _hash(json.dumps(item.task.model_dump(mode="json", exclude={"meta"}), sort_keys=True)),
                "score": None if main is None else main.value,
                "input": item.answers[0].trajectory.prompt if item.answers else "",
            }
        )
    return rows


def _place(item: Item, place: int) -> int:
    return place if item.position is None else item.position


def _tokens(answer: Answer) -> int:
    return sum(step.turn.tokens for step in answer.trajectory.steps)


def _index(published: int | str) -> int | str:
    """As pandas reads it from a table: a number where it is one."""
    text = str(published)
    return int(text) if re.fullmatch(r"0|[1-9]\d{0,17}", text) else text


def jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """One line of JSON a row."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def tsv(rows: Sequence[dict[str, Any]]) -> str:
    """Tab-separated with quotes where needed, as pandas reads and writes it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace").decode()


def xlsx(rows: Sequence[dict[str, Any]]) -> bytes:
    """The same as one sheet."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        made = WriteOnlyCell(sheet, _NOT_IN_SHEETS.sub("", value)[:EXCEL_CELL])
        made.data_type = "s"  # what a model wrote is never a formula
        return made

    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    if rows:
        sheet.append(list(rows[0]))
    for row in rows:
        sheet.append([cell(value) for value in row.values()])
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def _gold(item: Item) -> str:
    gold = item.task.gold
    return json.dumps(gold) if isinstance(gold, tuple) else "" if gold is None else str(gold)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
