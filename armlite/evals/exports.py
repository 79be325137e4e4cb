"""A run's answers in the forms that other evaluation kits keep theirs in, for scoring or viewing there.

VLMEvalKit: a table of the data set's columns and `prediction`, as TSV, and as xlsx where openpyxl is installed.
lmms-eval: one JSON line a sample, as its `--log_samples` writes them. Written from the records; nothing is asked again.
"""

import csv
import hashlib
import importlib.util
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from armlite.evals.figures import Benchmark, Item
from armlite.evals.folder import EvalRun
from armlite.store import write_atomic

EXPORTS = "exports"
EXCEL_CELL = 32767
"""Characters that a cell of a sheet may hold; longer ones are cut in the xlsx, never in the TSV."""
_NOT_IN_SHEETS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters that the xlsx format has no room for."""


def write_exports(benchmark: Benchmark, run: EvalRun) -> None:
    """Write all forms below the run's folder."""
    folder = run.folder / EXPORTS
    table = vlmevalkit_rows(run.items)
    write_atomic(folder / f"vlmevalkit_{benchmark.name}.tsv", tsv(table))
    if importlib.util.find_spec("openpyxl") is not None:
        write_atomic(folder / f"vlmevalkit_{benchmark.name}.xlsx", xlsx(table))
    rows = lmms_rows(benchmark, run.items)
    lines = jsonl(rows).encode("utf-8", "backslashreplace")
    write_atomic(folder / f"lmms_eval_samples_{benchmark.name}.jsonl", lines)


def vlmevalkit_rows(items: Sequence[Item]) -> list[dict[str, Any]]:
    """One row an item, with VLMEvalKit's column names: `index`, `question`, options `A`, `B` ..., `answer`, `category`,
    `prediction`; and `response` (a list as JSON), `id`, `order`, of ours.

    The prediction is that of the first judgment: its answer, or the whole last turn where it gave none. Where responses
    were not shown as published, `order` says which number the judge saw for which.
    """
    letters = sorted({letter for item in items for letter in item.task.options})
    rows = []
    for index, item in enumerate(items):
        task, first = item.task, item.answers[0]
        rows.append(
            {
                "index": index,
                "id": task.id,
                "question": task.question,
                **{letter: task.options.get(letter, "") for letter in letters},
                "response": json.dumps(task.responses, ensure_ascii=False) if task.responses else "",
                "answer": _gold(item),
                "category": task.source.rsplit("/", 1)[-1],
                "image_path": json.dumps(task.images) if task.images else "",
                "order": json.dumps(first.trajectory.order) if first.trajectory.order else "",
                "prediction": first.final if first.final is not None else first.text,
            }
        )
    return rows


def lmms_rows(benchmark: Benchmark, items: Sequence[Item]) -> list[dict[str, Any]]:
    """One record an item with the keys of lmms-eval's sample log: `doc_id`, `doc`, `target`, `arguments`, `resps`,
    `filtered_resps`, their hashes, and the benchmark's main figure of this item alone.
    """
    rows = []
    for index, item in enumerate(items):
        doc = item.task.model_dump(mode="json", exclude={"meta"})
        target = _gold(item)
        prompt = item.answers[0].trajectory.prompt
        main = benchmark.score([item]).get(benchmark.main)
        rows.append(
            {
                "doc_id": index,
                "doc": doc,
                "target": target,
                "arguments": [[prompt]],
                "resps": [[answer.text for answer in item.answers]],
                "filtered_resps": ["" if a.decision is None else str(a.decision) for a in item.answers],
                "doc_hash": _hash(json.dumps(doc, sort_keys=True)),
                "prompt_hash": _hash(prompt),
                "target_hash": _hash(target),
                benchmark.main: None if main is None else main.value,
            }
        )
    return rows


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
