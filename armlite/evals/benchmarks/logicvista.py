"""The scorer of LogicVista: the chosen letters against the right ones, all or nothing, overall and by skill.

The publisher's `eval/extract_accuracy_new.py` has GPT-4 extract a list of letters and compares sorted lists in lower
case; here a rule extracts them.
"""

import json
import re
from collections.abc import Mapping, Sequence

from armlite.evals.benchmarks.letters import accuracies, given, unread
from armlite.evals.benchmarks.shares import first, share
from armlite.evals.figures import Benchmark, Figures, Item

_LEAD = re.compile(
    r"^(?:the )?(?:final |correct |right |best )*(?:answers?|options?|choices?)\b\s*(?:is|are)?\s*:?\s*",
    re.IGNORECASE,
)
_MARKS = re.compile(r"\\(?:boxed|text|mathrm)|[*`$\"'{}()\[\]]")


def letters(text: str) -> list[str] | None:
    """The options that an answer names, in lower case and order; None where it names none.

    Read as options are: a list of single letters or digits (`B, D`, `(A) and (C)`), capitals run together (`BD`), one
    before its text (`B. the text`), else all that stand in parentheses in the text. Nothing else is guessed at.
    """
    text = _LEAD.sub("", text.strip().strip("*`$").strip())
    bare = _LEAD.sub("", _MARKS.sub(" ", text).strip())
    words = [word.strip(".:") for word in re.split(r"[\s,;/&]+|\band\b", bare)]
    words = [word for word in words if word]
    if words and all(re.fullmatch("[A-Za-z0-9]", word) for word in words):
        return sorted({word.lower() for word in words})
    if re.fullmatch(r"[A-I]{2,5}\.?", bare) and len(set(bare)) == len(bare):
        return sorted(bare.rstrip(".").lower())
    if match := re.match(r"\(?([A-Z1-9])\s*[).:*]+\s", text):
        return [match[1].lower()]
    return sorted({found.lower() for found in re.findall(r"\(([A-Z1-9])\)", text)}) or None


def right(item: Item) -> bool:
    """The publisher's comparison. A row without an answer is never right."""
    truth = sorted(str(item.task.meta["answer"]).lower().split(", "))
    return letters(given(item)) == truth


def score(items: Sequence[Item]) -> Figures:
    """Figures of the first answers.

    Returns:
        `acc_official` (of all rows, also the one without an answer) and `acc` (of the rows that have one), both also as
        `.../SKILL`, where a row with several skills counts in each; `no_gold` (share of rows without an answer),
        `parse_failures` (no letter could be read).
    """
    gold = [item for item in items if item.task.meta["answer"]]
    figures = accuracies("acc_official", items, right, _skills) | accuracies("acc", gold, right, _skills)
    figures["no_gold"] = share([not item.task.meta["answer"] for item in items])
    return figures | {"parse_failures": unread(items, lambda item: letters(given(item)) is not None)}


def _skills(item: Item) -> Sequence[str]:
    return item.task.meta["skills"]


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The mapping of answers that the publisher's scripts read."""
    rows = {item.task.meta["published_id"]: {"answer": given(item), "reasoning": _thought(item)} for item in items}
    return {"armlite-answers.json": json.dumps(rows, ensure_ascii=False) + "\n"}


def _thought(item: Item) -> str:
    answer = first(item)
    steps = answer.trajectory.steps if answer else ()
    return (steps[-1].turn.think if steps else None) or "none"


BENCHMARKS = {
    "logicvista": Benchmark(
        name="logicvista",
        main="acc_official",
        score=score,
        official=official,
        notes=(
            "extract=rule: the publisher and VLMEvalKit have a language model read the letters out of the text.",
            "One row has no answer: wrong in acc_official, left out of acc, counted in no_gold.",
            "The prompt is ours and asks for letters only. Only the first vote of an item counts.",
        ),
    )
}
