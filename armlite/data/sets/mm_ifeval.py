"""MM-IFEval: instructions about an image with constraints to keep to (C-Level), and questions (P-Level).

The repository's JSONL with images by path, and VLMEvalKit's TSV with base64. Beside the main rows both hold `aux` rows:
an instruction without one of its constraints, answered so that a judge can compare. The model itself answers, so the
constraints are in meta and not shown as something to judge by. Scoring is in `armlite.evals.benchmarks.mm_ifeval`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from armlite.data.constraints import rules
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.errors import ToolError
from armlite.tools.checks.verifiers import check
from armlite.types import Task

LEVELS = ("C-Level", "P-Level")
METHODS = ("rule_based", "direct_gpt", "cmp_gpt")
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
        meta={
            "group": {"level": level},
            "published_id": identity,
            "index": row.integer("index") if row.get("index") is not None else None,
            "tag": level,
            "infer_type": kind,
            "del_cons": left_out,
            "instruction": row.text("instruction") if row.get("instruction") is not None else None,
            "constraints": constraints,
            "answers": answers,
        },
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
        judge = constraint.get("judge")
        method = judge.get("method") if isinstance(judge, dict) else None
        if method not in METHODS:
            raise row.fail(f"{where}.judge.method", f"is {method!r}, must be one of {', '.join(METHODS)}")
        if method == "rule_based":
            _check_rules(row, constraint, f"{where}.judge.verify_funcs")
    return constraints


def _check_rules(row: Row, constraint: dict[str, Any], where: str) -> None:
    """Its functions are known and take its params: tried on an empty text."""
    try:
        found = rules(constraint)
        for name, params in found:
            check(name, "", "engine", **params)
    except (ValueError, ToolError) as error:
        raise row.fail(where, str(error).removeprefix("Error: ")) from error
    if not found:
        raise row.fail(where, "is empty")


SETS = {
    "mm-ifeval": DataSet(
        name="mm-ifeval",
        title="instructions about an image with constraints that rules or a judge can check",
        use="benchmark",
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
            "400 instructions (300 C-Level, 100 P-Level); the TSV has 287 aux rows more: they are answered, given to "
            "the official scripts, and count in none of our figures.",
            "Get the TSV from VLMEvalKit (md5 973bb839961a449565073a5ee70ae7a6) or the JSONL from MM-IFEngine.",
        ),
    )
}
