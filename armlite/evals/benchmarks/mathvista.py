"""The scorer of MathVista, rebuilt from the repository's `evaluation/calculate_score.py`; a rule stands for GPT.

The publisher has GPT extract the answer from the text (`extract_answer.py`), then brings it into the question's form
and compares strings.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from armlite.evals.benchmarks.letters import accuracies, given, ours, unread
from armlite.evals.benchmarks.shares import first
from armlite.evals.figures import Benchmark, Figures, Item

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


def normalise(extracted: str, meta: Mapping[str, Any]) -> str | None:
    """The publisher's normalisation.

    A choice: the letter in parentheses or the bare one becomes its text, anything else the choice with the smallest
    edit distance, so that a choice is always found. Numbers: `int(float(x))`, or rounded to the precision; None where
    that fails. Lists and texts stay.
    """
    if meta["question_type"] == "multi_choice":
        found = re.findall(r"\(([a-zA-Z])\)", extracted)
        letter, choices = found[0].upper() if found else extracted.strip(), meta["choices"]
        if len(letter) == 1 and 0 <= ord(letter) - ord("A") < len(choices):
            return choices[ord(letter) - ord("A")]
        return min(choices, key=lambda choice: edit_distance(letter, choice))
    try:
        if meta["answer_type"] == "integer":
            return str(int(float(extracted)))
        if meta["answer_type"] == "float":
            # The publisher's precision is a float in the parquet form, which round() does not take.
            return str(round(float(extracted), int(meta["precision"])))
    except (ValueError, OverflowError):
        return None
    return extracted


def edit_distance(a: str, b: str) -> int:
    """Fewest insertions, deletions and substitutions between two texts (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def prediction(item: Item) -> str | None:
    """The first answer in the question's form; None where there is none, or no number."""
    text, meta = given(item), item.task.meta
    return normalise(extract(text, _kind(meta)), meta) if text.strip() else None


def _kind(meta: Mapping[str, Any]) -> str:
    return "text" if meta["question_type"] == "multi_choice" else meta["answer_type"]


def right(item: Item) -> bool:
    """The publisher's comparison of strings."""
    found = prediction(item)
    return found is not None and found == item.task.meta["answer"]


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
    return [f"{k}={v}" for k, v in item.group.items()] + [f"skills={skill}" for skill in item.task.meta["skills"]]


def _ours(item: Item) -> bool:
    return ours(item) if item.task.kind == "multiple_choice" else right(item)


def _readable(item: Item) -> bool:
    if item.task.kind == "multiple_choice":
        return (answer := first(item)) is not None and answer.decision is not None
    return prediction(item) is not None


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The mapping of problems that `calculate_score.py` reads, with our rule's `extraction`."""
    rows = {item.task.meta["published_id"]: _row(item) for item in items}
    return {"output_armlite.json": json.dumps(rows, ensure_ascii=False, indent=1) + "\n"}


def _row(item: Item) -> dict[str, Any]:
    meta = item.task.meta
    kept = ("question_type", "answer_type", "choices", "unit", "precision", "answer")
    others = {name: value for name, value in item.group.items() if name not in kept}
    return {
        "pid": meta["published_id"],
        "question": meta["published_question"],
        **{name: meta[name] for name in kept},
        "metadata": others | {"skills": meta["skills"]},
        "response": given(item),
        "extraction": extract(given(item), _kind(meta)),
    }


BENCHMARKS = {
    "mathvista": Benchmark(
        name="mathvista",
        main="acc_official",
        score=score,
        official=official,
        notes=(
            "extract=rule: the publisher has GPT extract the answer; these are not the GPT-extracted numbers.",
            "An item without any text is wrong here; the script gives it the choice nearest to the empty text.",
            "The prompt is ours: choices as `A. ...`, for a free answer its form and unit. Only the first vote counts.",
        ),
    )
}
