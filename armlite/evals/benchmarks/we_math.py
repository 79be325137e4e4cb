"""The scorer of We-Math, rebuilt from the repository's `four_dimensional_metrics.py` and `accuracy.py`.

A problem is one multi-step question and a question for each of its steps. The four dimensions say how the whole and
its steps go together: insufficient knowledge (IK), inadequate generalization (IG), complete mastery (CM), rote
memorization (RM).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from armlite.evals.benchmarks.letters import Right, by_rule, given, ours, unread
from armlite.evals.benchmarks.shares import clustered, share
from armlite.evals.figures import Benchmark, Figure, Figures, Item
from armlite.evals.intervals import mean_interval

Problem = tuple[bool, tuple[bool, ...]]
"""Is the multi-step question right, and are its steps?"""


def official_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The scripts' reading: what follows the last `Answer`, without `<>:.`; its first character, if one of A to H."""
    rest = re.sub("[<>:.]", "", text.split("Answer")[-1].strip()).strip()
    return rest[0] if rest and rest[0] in "ABCDEFGH" else None


def score(items: Sequence[Item]) -> Figures:
    """Figures of the first answers.

    Returns:
        Of all rows: `acc_all`, `s1` (single steps), `s2` and `s3` (multi-step questions of two and of three steps). Of
        problems whose rows are all there: `ik`, `ig`, and under both conditions `cm_strict`, `rm_strict` (counts as
        shares of the problems), `rm_rate_strict` (RM of CM and RM), `score_strict` (1 - IG / 2 - RM - IK), and the same
        with `loose`. All by the scripts' rule; the accuracies and scores by our own reading under `..._ours`.
        `problems_incomplete` (share of problems that lack rows and so have no dimension), `parse_failures`.
    """
    figures: Figures = {}
    for suffix, right in (("", by_rule(official_letter)), ("_ours", ours)):
        found = _accuracies(items, right) | dimensions(_problems(items, right))
        kept = ("acc", "s1", "s2", "s3", "score")
        figures |= {f"{name}{suffix}": f for name, f in found.items() if not suffix or name.split("_")[0] in kept}
    whole, all_problems = len(_problems(items, ours)), {item.task.meta["problem"] for item in items}
    figures["problems_incomplete"] = share([True] * (len(all_problems) - whole) + [False] * whole)
    return figures | {"parse_failures": unread(items)}


def _accuracies(items: Sequence[Item], right: Right) -> Figures:
    keys = {"acc_all": "", "s1": r"_\d", "s2": "2steps_multi", "s3": "3steps_multi"}
    figures = {}
    for name, pattern in keys.items():
        chosen = [item for item in items if re.search(pattern, item.task.meta["key"])]
        hits = [float(right(item)) for item in chosen]
        figures[name] = clustered(hits, [item.task.meta["problem"] for item in chosen])
    return figures


def _problems(items: Sequence[Item], right: Right) -> list[Problem]:
    """The problems whose rows are all there; of a row that comes twice the first counts."""
    rows: dict[str, dict[str, bool]] = {}
    for item in items:
        rows.setdefault(item.task.meta["problem"], {}).setdefault(item.task.meta["key"], right(item))
    found = []
    for parts in rows.values():
        steps = next(iter(parts)).split("_")[0]
        keys = [f"{steps}_{n}" for n in range(1, int(steps[0]) + 1)]
        if f"{steps}_multi" in parts and all(key in parts for key in keys):
            found.append((parts[f"{steps}_multi"], tuple(parts[key] for key in keys)))
    return found


def dimensions(problems: Sequence[Problem]) -> Figures:
    """The four dimensions and the scores, with the scripts' conditions.

    Strict: CM asks that all steps are right. Loose: that one is.
    """
    ik = [not multi and not all(steps) for multi, steps in problems]
    ig = [not multi and all(steps) for multi, steps in problems]
    figures = {"ik": share(ik), "ig": share(ig)}
    for condition, enough in (("strict", all), ("loose", any)):
        cm = [multi and enough(steps) for multi, steps in problems]
        rm = [multi and not enough(steps) for multi, steps in problems]
        values = [1 - (0.5 * g + r + k) for g, r, k in zip(ig, rm, ik, strict=True)]
        mean = sum(values) / len(values) if values else None
        figures |= {f"cm_{condition}": share(cm), f"rm_{condition}": share(rm)}
        figures[f"rm_rate_{condition}"] = share([r for r, c in zip(rm, cm, strict=True) if r or c])
        figures[f"score_{condition}"] = Figure(value=mean, n=len(values), ci95=mean_interval(values))
    return figures


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The list of answered rows that both scripts read."""
    return {"we_math.json": json.dumps([_row(item) for item in items], ensure_ascii=False, indent=1) + "\n"}


def _row(item: Item) -> dict[str, Any]:
    meta = item.task.meta
    row = {"ID": meta["problem"], "key": meta["key"], "question": item.task.question}
    return row | meta["published"] | {"answer": item.task.gold, "response": given(item)}


BENCHMARKS = {
    "we-math": Benchmark(
        name="we-math",
        main="score_strict",
        score=score,
        official=official,
        notes=(
            "extract=rule, as the publisher's scripts do, on the text inside <answer>: they look for 'Answer' with a "
            "capital, which the tag has not.",
            "The prompt is ours and does not give the knowledge concepts.",
            "The scripts divide by 525 whatever is there; here by the problems whose rows are all there, which is the "
            "same on the whole set.",
            "A single row has no score: two runs are compared by acc_all, row by row.",
            "Only the first vote of an item counts.",
        ),
    )
}
