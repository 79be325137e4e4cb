"""VL-RewardBench's scorer, rebuilt from the repository's `cal.py` and `inference.py` (vl-rewardbench/VL_RewardBench).

Its protocol samples K = 10 judgments of a pair and takes the majority. Groups come with the tasks' `meta`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from armlite.evals.benchmarks.shares import mean, orders, share, unweighted
from armlite.evals.figures import Answer, Benchmark, Figure, Figures, Item

GROUPS = ("general", "hallucination", "reasoning")
_FOLDERS = {
    "rlaif": "rlaif-v",
    "rlhf": "rlhf-v",
    "hallucination": "povid",
    "mathverse": "reasoning_tasks",
    "mmmu": "reasoning_tasks",
    "wildvision": "wildvision-battle",
}
"""First part of an id -> the folder of images that `cal.py` groups by; `vlfeedback` for all others."""

Outcome = Literal["agree", "reject", "other"]


def score(items: Sequence[Item]) -> Figures:
    """Figures of judged pairs; only the votes of the first order count, but for the consistency.

    Returns:
        `acc_parsed` (official: agree / (agree + reject); pairs without a majority leave the denominator), `acc_all`
        (those count as wrong), both also as `.../GROUP`, `macro_parsed` and `macro_all` (unweighted mean of the three
        groups), `no_majority` (share of pairs that left), `parse_failures` (share of votes without a readable
        answer), `consistency` (share of the pairs judged in both orders with the same majority).
    """
    kept = _without_repeats(items)
    outcomes = [(item.group.get("category", "general"), outcome(item)) for item in kept]
    figures: Figures = {}
    for name, counted in (("parsed", [pair for pair in outcomes if pair[1] != "other"]), ("all", outcomes)):
        groups = {g: share([o == "agree" for group, o in counted if group == g]) for g in GROUPS}
        figures[f"acc_{name}"] = share([o == "agree" for _, o in counted])
        figures |= {f"acc_{name}/{g}": figure for g, figure in groups.items()}
        figures[f"macro_{name}"] = unweighted(list(groups.values()))
    figures["no_majority"] = share([o == "other" for _, o in outcomes])
    figures["parse_failures"] = _unread(kept)
    figures["consistency"] = _consistency(kept)
    return figures


def outcome(item: Item) -> Outcome:
    """What more than half of the votes of the first order say; a tie or an unreadable vote is neither side's."""
    votes = orders(item)
    winner = _majority(votes[0]) if votes else None
    return "other" if winner is None else "agree" if winner == item.task.gold else "reject"


def _majority(votes: Sequence[Answer]) -> int | None:
    for number in (1, 2):
        if sum(vote.decision == number for vote in votes) > len(votes) / 2:
            return number
    return None


def _without_repeats(items: Sequence[Item]) -> list[Item]:
    """`cal.py` pools rows with the same id, question and set of answers, up to K votes: the first of them stays."""
    found: dict[tuple[str, ...], Item] = {}
    for item in items:
        published = str(item.task.meta.get("published_id", item.task.id))
        found.setdefault((published, item.task.question, *sorted(item.task.responses)), item)
    return list(found.values())


def _unread(items: Sequence[Item]) -> Figure:
    votes = [(orders(item) or [[]])[0] for item in items]
    return mean([sum(vote.decision is None for vote in v) / len(v) if v else 1.0 for v in votes])


def _consistency(items: Sequence[Item]) -> Figure:
    both = [(_majority(a), _majority(b)) for a, b, *_ in (o for o in map(orders, items) if len(o) > 1)]
    return share([a is not None and a == b for a, b in both])


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The predictions as `inference.py` writes and `cal.py` reads them, one line a vote."""
    lines = [json.dumps(_line(item, vote), ensure_ascii=False) for item in items for vote in item.answers]
    return {"vl-rewardbench.jsonl": "".join(line + "\n" for line in lines)}


def _line(item: Item, vote: Answer) -> dict[str, Any]:
    task, order = item.task, vote.trajectory.order
    published = str(task.meta.get("published_id", task.id))
    shown = order.index(vote.decision) + 1 if vote.decision in (1, 2) else -1
    status = "doesntMatch" if shown < 0 else "agree" if vote.decision == task.gold else "reject"
    folder = _FOLDERS.get(published.replace("_", "-").split("-")[0].lower(), "vlfeedback")
    return {
        "id": published,
        # Only its second part is read: the folder tells the group.
        "image_path": f"images/{folder}/{published}.jpg",
        "query": task.question,
        "response": list(task.responses),
        "ranking": [0, 1] if task.gold == 1 else [1, 0],
        "models": task.meta.get("models"),
        "judge": task.meta.get("judge"),
        "rationale": task.meta.get("rationale"),
        "meta": {
            # Its regular expression reads this text again.
            "filter_choice": f"Overall Judgment: Answer {shown} is better." if shown > 0 else "",
            "filter_number": shown,
            "random_number": 0 if order == (1, 2) else 1,
            "flag_status": status,
        },
    }


BENCHMARKS = {
    "vl-rewardbench": Benchmark(
        name="vl-rewardbench",
        main="acc_parsed",
        score=score,
        official=official,
        order="hash",
        votes=1,
        notes=(
            "extract=rule: the final <answer> is read by rule; the official regular expression reads the whole text "
            "for 'Answer N is better' after 'Overall Judgment' or 'Therefore'.",
            "The official protocol samples K = 10 (T 0.2, top_p 0.2), each in a random order; here all votes of an "
            "item are in one order, given by its id's hash. `--votes 10` gives K = 10.",
            "acc_parsed leaves out pairs without a majority, as the official script does; acc_all counts them wrong. "
            "lmms-eval and VLMEvalKit differ again (an LLM reads the answer; random or wrong where it fails).",
            "The official script pools the votes of rows that are alike; here the first such row counts, once.",
        ),
    )
}
