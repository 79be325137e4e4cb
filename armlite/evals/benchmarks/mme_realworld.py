"""The scorer of MME-RealWorld, -CN and -Lite, rebuilt from the repository's `evaluation/eval_your_results.py`.

The script has no language model in it. What it is to read is the question: our answers stand inside `<answer>`, which
VLMEvalKit looks for first and lmms-eval does not.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from armlite.evals.benchmarks.letters import accuracies, by_rule, given, majority, ours, unread
from armlite.evals.benchmarks.shares import share, unweighted
from armlite.evals.figures import Benchmark, Figures, Item

_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    # A comma is missing in the script, twice: these are its strings.
    "The best option isThe correct option is",
    "Best answer:Best option:",
)


def official_letter(text: str, options: Mapping[str, str]) -> str:
    """The script's reading of a text: the first of the letters A to E anywhere, once some prefixes are gone.

    So `Answer: C` is an A and `Best answer: C` a B. Without such a letter: nothing where the text has more than ten
    words, else the first option that contains it.
    """
    text = text.strip()
    for prefix in _PREFIXES:
        text = text.replace(prefix, "")
    if match := re.search("[ABCDE]", text):
        return match[0]
    if len(text.split()) > 10:
        return ""
    return next((k for k, option in options.items() if text.lower() in f"({k}) {option}".lower()), "")


def score(items: Sequence[Item]) -> Figures:
    """Figures of the first answers.

    Returns:
        `acc` (our reading), `acc_official` (the script's rule on the text inside `<answer>`, else on the last turn) and
        `acc_last_turn` (its rule on the last turn with its thoughts); the first two also as `.../TASK` and
        `.../TASK/SUBTASK`, the second as `.../TASK/SUBTASK/L2`; `macro_official` (unweighted mean of the subtasks of
        both tasks), `refusals` (share of answers that the rule reads as option E), `parse_failures`.
    """
    official = by_rule(official_letter)
    figures = accuracies("acc", items, ours, lambda item: _groups(item)[:2])
    figures |= accuracies("acc_official", items, official, _groups)
    figures |= accuracies("acc_last_turn", items, by_rule(official_letter, whole_turn=True), lambda item: ())
    subtasks = sorted({f"acc_official/{_groups(item)[1]}" for item in items})
    figures["macro_official"] = unweighted([figures[name] for name in subtasks])
    figures["refusals"] = share([_refused(item) for item in items])
    return figures | majority(items) | {"parse_failures": unread(items)}


def _refused(item: Item) -> bool:
    text = given(item)
    return bool(text.strip()) and official_letter(text, item.task.options) == "E"


def _groups(item: Item) -> list[str]:
    task, subtask, l2 = (item.group[name] for name in ("task", "subtask", "l2"))
    return [task, f"{task}/{subtask}", f"{task}/{subtask}/{l2}"]


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The list of results that the script reads, in the form of its `output_test_template.json`."""
    return {"results.json": json.dumps([_row(item) for item in items], ensure_ascii=False, indent=1) + "\n"}


def _row(item: Item) -> dict[str, Any]:
    published = dict(item.task.meta["published"])
    return {
        "Question_id": published.pop("Question_id"),
        "Question Type": "Multiple Choice",
        "Image": item.task.images[0],
        **published,
        "Ground truth": item.task.gold,
        "Output": given(item),
    }


_NOTES = (
    "extract=rule, as the publisher's script does: the first of A to E anywhere in the text.",
    "The prompt is ours: the options as `A. ...`, and the answer asked for inside <answer>; acc_last_turn shows what "
    "the script makes of the whole last turn.",
    "An item without any text is wrong here; the script reads the empty text as option A.",
    "With several votes, acc_majority takes the letter of most of them; all others take the first vote.",
)
BENCHMARKS = {
    name: Benchmark(name=name, main="acc_official", score=score, official=official, notes=_NOTES)
    for name in ("mme-realworld", "mme-realworld-cn", "mme-realworld-lite")
}
