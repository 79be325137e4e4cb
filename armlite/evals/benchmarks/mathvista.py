"""MathVista testmini: mathematics in pictures, with choices or free answers (AI4Math/MathVista).

Reads the hub's parquet and the repository's `testmini.json` (a mapping) with image files; the test split's answers
are hidden, so it is not a set here. The scorer is rebuilt from the repository's `evaluation/calculate_score.py`: the
publisher has GPT extract the answer from the text (`extract_answer.py`), then brings it into the question's form and
compares strings; here a rule stands for GPT.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.anls import edit_distance
from armlite.evals.benchmarks.letters import accuracies, given, ours, unread
from armlite.evals.figures import Benchmark, Figures, Item, TaskMeta
from armlite.types import Task

METADATA = ("source", "category", "task", "context", "grade", "language")
"""Keys of `metadata` that results are reported by; `skills`, a list, is one more."""


class Meta(TaskMeta):
    """`group` has `question_type`, `answer_type` and what the row has of METADATA."""

    published_question: str = ""
    question_type: str
    """`multi_choice` or `free_form`."""
    answer_type: str
    """`text`, `integer`, `float` or `list`."""
    unit: str = ""
    precision: int | None
    """Decimal places of a float answer."""
    choices: list[str]
    answer: str = ""
    """The text of the right choice, or the free answer."""
    skills: list[str] = []

    @property
    def kind(self) -> str:
        """What a rule looks for in an answer: `text` for choices, else the answer's type."""
        return "text" if self.question_type == "multi_choice" else self.answer_type


def _tasks(row: Row) -> Iterator[Task]:
    identity = row.text("pid") if row.get("pid") is not None or row.key is None else row.key
    question = row.words("question").strip()
    form = row.one_of(("multi_choice", "free_form"), "question_type")
    kind = row.one_of(("text", "integer", "float", "list"), "answer_type")
    unit = str(row.get("unit") or "")
    precision = row.integer("precision") if row.get("precision") not in (None, "") else None
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
        meta=Meta(
            published_id=identity,
            published_question=question,
            question_type=form,
            answer_type=kind,
            unit=unit,
            precision=precision,
            choices=choices,
            answer=answer,
            skills=skills,
            group={"question_type": form, "answer_type": kind} | groups,
        ).as_dict(),
        **asked,
    )


def _lettered(row: Row, choices: list[str], answer: str) -> dict[str, Any]:
    if not 2 <= len(choices) <= len(ascii_uppercase):
        raise row.fail("choices", f"holds {len(choices)} choices, a multi_choice question needs 2 to 26")
    options = dict(zip(ascii_uppercase, choices, strict=False))
    # An answer that is none of the choices is asked and never right, as in the publisher's scores.
    gold = ascii_uppercase[choices.index(answer)] if answer in choices else None
    return {"options": options, "gold": gold}


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
        "float": f"Answer with a number with {precision} decimal place{'s' * (precision != 1)}."
        if precision is not None
        else "Answer with a number.",
        "list": "Answer with a list in square brackets, such as [1, 2, 3].",
    }.get(kind, "")
    return " ".join(part for part in (f"(Unit: {unit})" if unit else "", form) if part)


_NUMBER = re.compile(r"(?<![\w.^])-?(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?|(?<![\w.^])-?\.\d+")
"""Not the `2` of `cm2`; the second of `2007-2008` is no negative number."""


def extract(text: str, kind: str) -> str:
    """Our rule in GPT's place: a quoted `The answer is "..."`, else the last number or list, else the text itself.

    Args:
        kind: `answer_type` of a free answer; `text` for choices.
    """
    if match := re.search(r'[Tt]he answer is "(.*)"\.', text):  # the publisher's own quick rule
        return match[1]
    if kind == "list" and (lists := re.findall(r"\[[^\[\]]*\]", text)):
        return lists[-1]
    if kind in ("integer", "float") and (numbers := _NUMBER.findall(text.replace("\u2212", "-"))):
        return text.strip() if _is_number(text) else numbers[-1].replace(",", "")
    return text.strip()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def normalise(extracted: str, meta: Meta) -> str | None:
    """The publisher's normalisation.

    A choice: the letter in parentheses or the bare one becomes its text, anything else the choice with the smallest
    edit distance, so that a choice is always found. Numbers: `int(float(x))`, or rounded to the precision; None where
    that fails. Lists and texts stay.
    """
    if meta.question_type == "multi_choice":
        found = re.findall(r"\(([a-zA-Z])\)", extracted)
        letter, choices = found[0].upper() if found else extracted.strip(), meta.choices
        if len(letter) == 1 and 0 <= ord(letter) - ord("A") < len(choices):
            return choices[ord(letter) - ord("A")]
        return min(choices, key=lambda choice: edit_distance(letter, choice))
    try:
        if meta.answer_type == "integer":
            return str(int(float(extracted)))
        if meta.answer_type == "float":
            return str(round(float(extracted), meta.precision))
    except (ValueError, OverflowError):
        return None
    return extracted


def prediction(item: Item) -> str | None:
    """The first answer in the question's form; None where there is none, or no number."""
    text, meta = given(item), Meta.of(item.task)
    return normalise(extract(text, meta.kind), meta) if text.strip() else None


def right(item: Item) -> bool:
    """The publisher's comparison of strings."""
    found = prediction(item)
    return found is not None and found == Meta.of(item.task).answer


def score(items: Sequence[Item]) -> Figures:
    """Figures of the first answers.

    Returns:
        `acc_official` (the publisher's normalisation and comparison), also as `.../KEY=VALUE` for the keys that the
        publisher reports; `acc` (choices by our reading of the letter, without the nearest choice; free answers as
        before), `parse_failures` (no letter; no text or no number for a free answer).
    """
    figures = accuracies("acc_official", items, right, _groups)
    figures |= accuracies("acc", items, _ours, lambda item: [f"question_type={item.group['question_type']}"])
    return figures | {"parse_failures": unread(items, _readable)}


def _groups(item: Item) -> list[str]:
    return [f"{k}={v}" for k, v in item.group.items()] + [f"skills={skill}" for skill in Meta.of(item.task).skills]


def _ours(item: Item) -> bool:
    return ours(item) if item.task.kind == "multiple_choice" else right(item)


def _readable(item: Item) -> bool:
    return (item.decision if item.task.kind == "multiple_choice" else prediction(item)) is not None


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The mapping of problems that `calculate_score.py` reads, with our rule's `extraction`."""
    rows = {item.published_id: _row(item) for item in items}
    return {"output_armlite.json": json.dumps(rows, ensure_ascii=False, indent=1) + "\n"}


def _columns(item: Item) -> dict[str, Any]:
    meta = Meta.of(item.task)
    kept = ("question_type", "answer_type", "answer", "unit", "precision")
    columns = {name: getattr(meta, name) for name in kept} | {name: str(getattr(meta, name)) for name in _LISTS}
    groups = {name: value for name, value in item.group.items() if name not in kept}
    gold = item.task.gold if meta.question_type == "multi_choice" else ""
    return {"question": meta.published_question, **columns, "answer_option": gold, **groups}


_LISTS = ("choices", "skills")
"""Written out as Python does: VLMEvalKit evaluates them."""


def _row(item: Item) -> dict[str, Any]:
    meta = Meta.of(item.task)
    kept = ("question_type", "answer_type", "choices", "unit", "precision", "answer")
    others = {name: value for name, value in item.group.items() if name not in kept}
    return {
        "pid": item.published_id,
        "question": meta.published_question,
        **{name: getattr(meta, name) for name in kept},
        "metadata": others | {"skills": meta.skills},
        "response": given(item),
        "extraction": extract(given(item), meta.kind),
    }


BENCHMARK = Benchmark(
    name="mathvista",
    main="acc_official",
    score=score,
    official=official,
    vlmevalkit=_columns,
    dataset=DataSet(
        title="mathematics in pictures, testmini",
        licence="CC-BY-SA-4.0; training on it is prohibited",
        tasks=_tasks,
        files=("**/testmini*.parquet", "testmini.json", "**/testmini.json"),
        hub="AI4Math/MathVista",
        split="testmini",
        counts={"all": 1000},
        seen="all rows of the repository's testmini.json, without images",
        notes=("Only testmini: the answers of the test split are hidden.",),
    ),
    notes=(
        "extract=rule: the publisher has GPT extract the answer; these are not the GPT-extracted numbers.",
        "An item without any text is wrong here; the script gives it the choice nearest to the empty text.",
        "The prompt is ours: choices as `A. ...`, for a free answer its form and unit. Only the first vote counts.",
    ),
)
