"""VL-RewardBench: pairs of answers to a question about an image, ranked by people (MMInstruction/VL-RewardBench).

Reads the hub's parquet, the repository's JSONL and the TSV twin of VLMEvalKit. The scorer is rebuilt from the
repository's `cal.py` and `inference.py` (vl-rewardbench/VL_RewardBench): its protocol samples K = 10 judgments of a
pair and takes the majority.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.shares import mean, share, unweighted
from armlite.evals.exports import jsonl
from armlite.evals.figures import Answer, Benchmark, Figure, Figures, Item, TaskMeta
from armlite.evals.orders import presented
from armlite.types import Decision, Task, Trajectory


class Meta(TaskMeta):
    """`group` has `category`; the fields are as published, for the official file of predictions to repeat."""

    models: Any = None
    judge: Any = None
    rationale: Any = None
    query_source: Any = None
    ground_truth: Any = None


_BY_FOLDER = {
    "vlfeedback": "general",
    "wildvision-battle": "general",
    "povid": "hallucination",
    "rlhf-v": "hallucination",
    "rlaif-v": "hallucination",
    "reasoning_tasks": "reasoning",
}
"""Folder of an image in the repository -> group (its `cal.py`)."""
_FOLDERS = {
    "rlaif": "rlaif-v",
    "rlhf": "rlhf-v",
    "hallucination": "povid",
    "mathverse": "reasoning_tasks",
    "mmmu": "reasoning_tasks",
    "wildvision": "wildvision-battle",
}
"""First part of an id, in lower case -> its folder; `vlfeedback` for all others. The groups that follow are those of
the data card."""


def _tasks(row: Row) -> Iterator[Task]:
    identity = row.words("id", "index")
    question = row.text("query", "question")
    responses = row.items("response", of=str)
    if len(responses) != 2:
        raise row.fail("response", f"must hold 2 answers, not {len(responses)}")
    yield Task(
        id=identity,
        kind="pairwise",
        question=question.replace("<image>", "").strip(),
        images=(_image(row),),
        responses=tuple(responses),
        gold=_better(row),
        source=f"vl-rewardbench/{(group := _group(row, identity))}",
        meta=Meta(published_id=identity, group={"category": group}, **_rest(row)).as_dict(),
    )


def _image(row: Row) -> str:
    """Embedded, or in the JSONL form a path that is relative to the file's own folder."""
    return replace(row, root=None).picture("image_path") if row.get("image") is None else row.picture("image")


def _better(row: Row) -> int:
    """Number of the better answer: `human_ranking` gives each one's rank, 0 is best."""
    field = "answer" if row.get("human_ranking") is None and row.get("answer") is not None else "human_ranking"
    ranking = row.items(field, of=int)
    if sorted(ranking) != [0, 1]:
        raise row.fail(field, f"must be [0, 1] or [1, 0] (the rank of each answer, 0 is best), not {ranking}")
    return ranking.index(0) + 1


def _group(row: Row, identity: str) -> str:
    if row.get("category") is not None and (category := row.text("category").strip().lower()) in _BY_FOLDER.values():
        return category
    folder = str(row.get("image_path") or "").split("/")
    if len(folder) > 2 and folder[-2] in _BY_FOLDER:
        return _BY_FOLDER[folder[-2]]
    return _BY_FOLDER[_folder(identity)]


def _folder(identity: str) -> str:
    return _FOLDERS.get(re.split("[_-]", identity)[0].lower(), "vlfeedback")


def _rest(row: Row) -> dict[str, Any]:
    rest = row.there("models", "judge", "rationale", "query_source", "ground_truth")
    return {name: value for name, value in rest.items() if value not in ("", [])}


GROUPS = ("general", "hallucination", "reasoning")

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


def orders(item: Item) -> list[list[Answer]]:
    """The votes of the first presented order, then, where there is one, those of the second."""
    found: dict[tuple[int, ...], list[Answer]] = {}
    for answer in item.answers:
        found.setdefault(answer.trajectory.order, []).append(answer)
    return list(found.values())


def outcome(item: Item) -> Outcome:
    """What more than half of the votes of the first order say; a tie or an unreadable vote is neither side's."""
    winner = _majority(item.votes)
    return "other" if winner is None else "agree" if winner == item.task.gold else "reject"


def _majority(votes: Sequence[Answer | Trajectory]) -> int | None:
    for number in (1, 2):
        if sum(vote.decision == number for vote in votes) > len(votes) / 2:
            return number
    return None


def _without_repeats(items: Sequence[Item]) -> list[Item]:
    """`cal.py` pools rows with the same id, question and set of answers, up to K votes: the first of them stays."""
    found: dict[tuple[str, ...], Item] = {}
    for item in items:
        found.setdefault((str(item.published_id), item.task.question, *sorted(item.task.responses)), item)
    return list(found.values())


def _unread(items: Sequence[Item]) -> Figure:
    votes = [[vote.decision is None for vote in item.votes] or [True] for item in items]
    return mean([sum(unread) / len(unread) for unread in votes])


def _consistency(items: Sequence[Item]) -> Figure:
    both = [(_majority(a), _majority(b)) for a, b, *_ in (o for o in map(orders, items) if len(o) > 1)]
    return share([a is not None and a == b for a, b in both])


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The predictions as `inference.py` writes and `cal.py` reads them, one line a vote."""
    return {"vl-rewardbench.jsonl": jsonl(_line(item, vote) for item in items for vote in item.answers)}


def _line(item: Item, vote: Answer) -> dict[str, Any]:
    task, order = item.task, vote.trajectory.order
    published, meta = str(item.published_id), Meta.of(task)
    shown = order.index(vote.decision) + 1 if vote.decision in (1, 2) else -1
    status = "doesntMatch" if shown < 0 else "agree" if vote.decision == task.gold else "reject"
    return {
        "id": published,
        # Only its second part is read: the folder tells the group.
        "image_path": f"images/{_folder(published)}/{published}.jpg",
        "query": task.question,
        "response": list(task.responses),
        "ranking": [0, 1] if task.gold == 1 else [1, 0],
        "models": meta.models,
        "judge": meta.judge,
        "rationale": meta.rationale,
        "meta": {
            # Its regular expression reads this text again.
            "filter_choice": f"Overall Judgment: Answer {shown} is better." if shown > 0 else "",
            "filter_number": shown,
            "random_number": 0 if order == (1, 2) else 1,
            "flag_status": status,
        },
    }


def _columns(item: Item) -> dict[str, Any]:
    """`answer` is the published ranking: 0 is the better one's."""
    return {"answer": str([0, 1] if item.task.gold == 1 else [1, 0]), "category": item.group["category"]}


def kit_verdict(task: Task, decision: Decision | None) -> str:
    """What both kits read as the verdict: they number the answers in their own order, `lenparity`; empty for none."""
    [shown] = presented(task, "lenparity")
    return f"Overall Judgment: Answer {shown.index(int(decision)) + 1} is better." if decision in (1, 2) else ""


BENCHMARK = Benchmark(
    name="vl-rewardbench",
    main="acc_parsed",
    score=score,
    official=official,
    vlmevalkit=_columns,
    kit_text=lambda item: kit_verdict(item.task, item.decision),
    order="hash",
    dataset=DataSet(
        title="pairs of answers about an image, ranked by people: general, hallucination, reasoning",
        licence="MIT",
        tasks=_tasks,
        files=("data/test-*.parquet", "**/test*.parquet", "**/*.parquet", "**/*.tsv", "**/*.jsonl"),
        hub="MMInstruction/VL-RewardBench",
        counts={"all": 1247},
        seen="schema as published; the first rows of the repository's data.jsonl were read by eye, without images",
        notes=(
            "An older revision has 1250 rows; the revision is not pinned.",
            "The group of a row is its category (TSV), its image's folder (JSONL), else the first part of its id.",
        ),
    ),
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
