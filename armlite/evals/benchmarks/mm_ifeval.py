"""MM-IFEval: instructions about an image with constraints to keep to (C-Level), and questions (P-Level).

Reads the repository's JSONL with images by path, and VLMEvalKit's TSV with base64. Beside the main rows both hold `aux`
rows: an instruction without one of its constraints, answered so that a judge can compare. The model itself answers, so
the constraints are in meta and not shown as something to judge by.

Scored without the official GPT judge: what rules can tell (`c_level_rule`, `p_level_rule`), as in MM-IFEngine's
`function_and_compare.py` (our verifiers in `engine` mode), and files for its own scripts. No figure here is the
official score, which is the mean over all 400 items.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from armlite.data.constraints import rules
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.errors import ToolError
from armlite.evals.benchmarks.shares import mean, share
from armlite.evals.exports import jsonl, tsv
from armlite.evals.figures import Benchmark, Figures, Item, TaskMeta
from armlite.tools.checks.verifiers import Check, check
from armlite.types import Task


class Meta(TaskMeta):
    """`group` has `level`."""

    index: int | None
    """Row number in the TSV."""
    tag: str
    """`C-Level` or `P-Level`."""
    infer_type: str
    """`main` or `aux_cmp_gpt`."""
    del_cons: str | None
    """Key of the constraint that an aux row leaves out."""
    instruction: str | None
    constraints: list[dict[str, Any]]
    """As published, for C-Level."""
    answers: list[str]
    """What the answer to a P-Level question must name, all of it."""


LEVELS = ("C-Level", "P-Level")
RULES = "rule_based"
"""Method of a constraint that functions check; the published others have a model judge."""
_IMAGE = ("image", "filename", "img_name", "image_name", "image_local_name", "image_path", "image_local_path")
_IMAGE += ("img", "img_path", "img_local_path", "img_local_name")
"""Names under which the repository's scripts look for the image."""


def _tasks(row: Row) -> Iterator[Task]:
    level = _level(row)
    kind = row.one_of(("main", "aux_cmp_gpt"), "infer_type") if row.get("infer_type") is not None else "main"
    left_out = row.words("del_cons") if kind == "aux_cmp_gpt" else None
    identity = row.words("id", "index")
    constraints = _constraints(row) if level == "C-Level" else []
    constraints = [c for c in constraints if c["key"] != left_out]
    answers = _answers(row) if level == "P-Level" else []
    yield Task(
        id=identity if left_out is None else f"{identity}-without-{left_out}",
        kind="open_qa",
        question=_question(row, level, constraints),
        images=(_image(row),),
        gold=(", ".join(answers),) if answers else None,
        source=f"mm-ifeval/{level}" if left_out is None else "mm-ifeval/aux",
        meta=Meta(
            group={"level": level},
            published_id=identity,
            index=row.integer("index") if row.get("index") is not None else None,
            tag=level,
            infer_type=kind,
            del_cons=left_out,
            instruction=row.text("instruction") if row.get("instruction") is not None else None,
            constraints=constraints,
            answers=answers,
        ).as_dict(),
    )


def _level(row: Row) -> str:
    """The row's tag, else the file's name, as the repository has one file a level."""
    if row.get("tag") is not None:
        return row.one_of(LEVELS, "tag")
    named = [level for level in LEVELS if row.file.name.startswith(level)]
    if not named:
        raise row.fail("tag", "is missing, and the file is not named after a level")
    return named[0]


def _question(row: Row, level: str, constraints: list[dict[str, Any]]) -> str:
    """The whole prompt, else (JSONL, C-Level) the instruction and its constraints behind each other."""
    if level == "P-Level" or row.get("question") is not None:
        return row.words("question").replace("<image>", "").strip()
    return " ".join([row.words("instruction").replace("<image>", "").strip(), *(c["value"] for c in constraints)])


def _answers(row: Row) -> list[str]:
    """What the answer to a P-Level question must name, all of it."""
    answers = [a for a in row.items("answer", of=str) if a.strip()]
    if not answers:
        raise row.fail("answer", "is empty")
    return answers


def _image(row: Row) -> str:
    """Embedded, or a path that may start from the given folder, from the file's or, as in the repository, above it."""
    value = row.need(*_IMAGE)
    if isinstance(value, str) and len(value) < 1024:
        for root in (row.folder, row.file.parent, row.file.parent.parent):
            if (root / value).is_file():
                return replace(row, root=root).keep(value, "image")
    return row.keep(value, "image")


def _constraints(row: Row) -> list[dict[str, Any]]:
    """The constraints, each with a method, and with rules that can be run."""
    constraints = row.items("constraints", of=dict)
    if not constraints:
        raise row.fail("constraints", "is empty")
    for i, constraint in enumerate(constraints):
        where = f"constraints.{i}"
        for name in ("key", "value"):
            if not isinstance(constraint.get(name), str) or not constraint[name].strip():
                raise row.fail(f"{where}.{name}", "must be a text that is not blank")
        if _method(constraint) is None:
            raise row.fail(f"{where}.judge.method", "is missing")
        if _method(constraint) == RULES:  # another than the three is shown and not scored, as officially
            _check_rules(row, constraint, f"{where}.judge.verify_funcs")
    return constraints


def _method(constraint: dict[str, Any]) -> Any:
    judge = constraint.get("judge")
    return judge.get("method") if isinstance(judge, dict) else None


def _check_rules(row: Row, constraint: dict[str, Any], where: str) -> None:
    """Its functions are known and take its params: tried on an empty text."""
    try:
        for name, params in rules(constraint):
            check(name, "", "engine", **params)
    except (ValueError, ToolError) as error:
        raise row.fail(where, str(error).removeprefix("Error: ")) from error


def score(items: Sequence[Item]) -> Figures:
    """Figures of the main rows; of several answers the first counts, and one that cannot be read scores 0.

    `c_level_rule`: mean over the C-Level items of the share of their rule-based constraints that hold; items without
    one are left out, `no_rule` is their share. `p_level_rule`: share of the P-Level items whose answer names all that
    it must. `sentences_by/NAME`: share of the items in `c_level_rule` whose sentences were counted, by what split them:
    numbers of different splitters are not comparable. `parse_failures`.
    """
    main = [item for item in items if Meta.of(item.task).infer_type == "main"]
    c_level = [item for item in main if Meta.of(item.task).tag == "C-Level"]
    p_level = [item for item in main if Meta.of(item.task).tag == "P-Level"]
    checked = [(item, found) for item in c_level if (found := _checks(item))]
    figures = {
        "c_level_rule": mean([_held(found) if item.final else 0.0 for item, found in checked]),
        "no_rule": share([not _checks(item) for item in c_level]),
        "p_level_rule": share([names_all(Meta.of(item.task).answers, item.final) for item in p_level]),
        "parse_failures": share([not item.final for item in main]),
    }
    splitters = [{c.splitter for checks in found.values() for c in checks if c.splitter} for _, found in checked]
    for name in sorted({name for used in splitters for name in used}):
        figures[f"sentences_by/{name}"] = share([name in used for used in splitters])
    return figures


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """Prediction files, aux rows included: a JSONL a level for the repository's scoring script (`--inference_file`),
    and VLMEvalKit's TSV, which has to hold all rows in their published order.
    """
    files = {}
    for level in ("C-Level", "P-Level"):
        if rows := [_row(item) for item in items if Meta.of(item.task).tag == level]:
            files[f"mm-ifeval_{level}.jsonl"] = jsonl(rows)
    return files | {"MM-IFEval.tsv": tsv([_tsv_row(item, i) for i, item in enumerate(items)])}


def names_all(answers: Sequence[str], text: str) -> bool:
    """Whether a text holds every answer as whole words, whatever their case and blanks."""
    plain = " ".join(text.casefold().split())
    wanted = (re.escape(" ".join(answer.casefold().split())) for answer in answers)
    return all(re.search(rf"(?<!\w){answer}(?!\w)", plain) for answer in wanted)


def _checks(item: Item) -> dict[str, list[Check]]:
    """Key -> outcomes of a rule-based constraint's functions; of a key that repeats the last counts, as officially, and
    one without functions holds.
    """
    text = item.final
    found = {c["key"]: rules(c) for c in Meta.of(item.task).constraints if _method(c) == RULES}
    return {key: [check(name, text, "engine", **params) for name, params in fs] for key, fs in found.items()}


def _held(found: Mapping[str, Sequence[Check]]) -> float:
    """Share of the constraints all of whose functions hold."""
    return sum(all(c.ok for c in checks) for checks in found.values()) / len(found)


def _row(item: Item) -> dict[str, Any]:
    """The published fields and the prediction, as the repository's inference script writes them."""
    meta, task = Meta.of(item.task), item.task
    row = {"id": item.published_id, "image": task.images[0], "tag": meta.tag, "infer_type": meta.infer_type}
    if meta.tag == "P-Level":
        row |= {"question": task.question, "answer": meta.answers}
    else:
        row |= {"instruction": meta.instruction, "constraints": meta.constraints}
    if meta.del_cons is not None:
        row["del_cons"] = meta.del_cons
    return row | {"prediction": item.final}


def _tsv_row(item: Item, position: int) -> dict[str, Any]:
    meta = Meta.of(item.task)
    return {
        "index": position if meta.index is None else meta.index,
        "id": item.published_id,
        "question": item.task.question,
        "instruction": meta.instruction or "",
        "constraints": json.dumps(meta.constraints, ensure_ascii=False) if meta.tag == "C-Level" else "",
        "answer": json.dumps(meta.answers, ensure_ascii=False) if meta.answers else "",
        "tag": meta.tag,
        "infer_type": meta.infer_type,
        "del_cons": meta.del_cons or "",
        "prediction": item.final,
    }


def _columns(item: Item) -> dict[str, Any]:
    row = _tsv_row(item, 0)
    kept = {name: value for name, value in row.items() if name not in ("index", "prediction")}
    return kept if Meta.of(item.task).index is None else kept | {"index": row["index"]}


BENCHMARK = Benchmark(
    name="mm-ifeval",
    main="c_level_rule",
    score=score,
    official=official,
    vlmevalkit=_columns,
    dataset=DataSet(
        title="instructions about an image with constraints that rules or a judge can check",
        licence="unknown (see the repository SYuan03/MM-IFEngine)",
        tasks=_tasks,
        files=(
            "*-Level.jsonl",
            "MM-IFEval/*-Level.jsonl",
            "data/MM-IFEval/*-Level.jsonl",
            "MM-IFEval*.tsv",
            "*.tsv",
        ),
        counts={"MM-IFEval.tsv": 687},
        seen="fields as the repository's and VLMEvalKit's scripts read them; not read on published rows",
        notes=(
            "400 instructions (300 C-Level, 100 P-Level); the TSV has 287 aux rows more: they are answered, given "
            "to the official scripts, and count in none of our figures.",
            "Get the TSV from VLMEvalKit (md5 973bb839961a449565073a5ee70ae7a6) or the JSONL from MM-IFEngine.",
        ),
    ),
    notes=(
        "No figure is the official score: rule-based constraints only (c_level_rule), and P-Level by whole-word "
        "containment of the published answers (p_level_rule) instead of a GPT judge.",
        "The text inside <answer> is the response. Sentences are split by nltk's punkt where its data is "
        "installed, else by the bundled splitter: sentences_by/NAME says which.",
        "An answer that cannot be read scores 0, though an empty text would pass some rules.",
        "The aux rows are answered for the official scripts only.",
    ),
)
