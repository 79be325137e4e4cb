"""MathVista testmini: mathematics in pictures, with choices or free answers (AI4Math/MathVista).

Reads the hub's parquet and the repository's `testmini.json` (a mapping) with image files; the test split's answers
are hidden, so it is not a set here. Scoring is in `armlite.evals.benchmarks.mathvista`.
"""

from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Task

METADATA = ("source", "category", "task", "context", "grade", "language")
"""Keys of `metadata` that results are reported by; `skills`, a list, is one more."""


def _tasks(row: Row) -> Iterator[Task]:
    identity = row.text("pid") if row.get("pid") is not None or row.key is None else row.key
    question = row.words("question").strip()
    form = row.one_of(("multi_choice", "free_form"), "question_type")
    kind = row.one_of(("text", "integer", "float", "list"), "answer_type")
    unit = str(row.get("unit") or "")
    precision = row.integer("precision") if row.get("precision") not in (None, "") else None
    if form == "free_form" and kind == "float" and precision is None:
        raise row.fail("precision", "is missing, a float answer needs it")
    answer = row.words("answer")
    choices = row.items("choices", of=str) if row.get("choices") is not None else []
    asked: dict[str, Any] = {"kind": "open_qa", "gold": (answer,)}
    if form == "multi_choice":
        asked = {"kind": "multiple_choice"} | _lettered(row, choices, answer)
    groups, skills = _metadata(row)
    hint = _hint(kind, precision, unit) if form == "free_form" else ""
    yield Task(
        id=identity,
        question=f"{question}\n{hint}".strip(),
        images=(row.picture("decoded_image", "image"),),
        source=f"mathvista/{groups['task']}",
        meta={
            "published_id": identity,
            "published_question": question,
            "question_type": form,
            "answer_type": kind,
            "unit": unit,
            "precision": precision,
            "choices": choices,
            "answer": answer,
            "skills": skills,
            "group": {"question_type": form, "answer_type": kind} | groups,
        },
        **asked,
    )


def _lettered(row: Row, choices: list[str], answer: str) -> dict[str, Any]:
    if not 2 <= len(choices) <= len(ascii_uppercase):
        raise row.fail("choices", f"holds {len(choices)} choices, a multi_choice question needs 2 to 26")
    if answer not in choices:
        raise row.fail("answer", f"is {answer!r}, none of the choices")
    options = dict(zip(ascii_uppercase, choices, strict=False))
    return {"options": options, "gold": ascii_uppercase[choices.index(answer)]}


def _metadata(row: Row) -> tuple[dict[str, str], list[str]]:
    metadata = row.mapping("metadata")
    groups = {name: str(metadata[name]) for name in METADATA if metadata.get(name) is not None}
    skills = metadata.get("skills")
    if "task" not in groups or not isinstance(skills, list):
        raise row.fail("metadata", "must hold task and a list of skills")
    return groups, [str(skill) for skill in skills]


def _hint(kind: str, precision: int | None, unit: str) -> str:
    """What form the answer takes: the published query says so too, in other words."""
    form = {
        "integer": "Answer with a whole number.",
        "float": f"Answer with a number with {precision} decimal place{'s' * (precision != 1)}.",
        "list": "Answer with a list in square brackets, such as [1, 2, 3].",
    }.get(kind, "")
    return " ".join(part for part in (f"(Unit: {unit})" if unit else "", form) if part)


SETS = {
    "mathvista": DataSet(
        name="mathvista",
        title="mathematics in pictures, testmini",
        use="benchmark",
        licence="CC-BY-SA-4.0; training on it is prohibited",
        tasks=_tasks,
        files=("**/testmini*.parquet", "testmini.json", "**/testmini.json"),
        hub="AI4Math/MathVista",
        split="testmini",
        counts={"all": 1000},
        seen="schema as published; a few rows of the repository's testmini.json were read by eye, without images",
        notes=(
            "Only testmini: the answers of the test split are hidden.",
            "A free question gets a sentence of ours with the answer's form and unit, in place of the published query.",
        ),
    )
}
