"""The benchmark that any file of tasks with gold answers is, the pocket world's included: accuracy and its parts."""

from collections.abc import Sequence

from armlite.data.tasks import calls_needed, family
from armlite.evals.benchmarks.shares import share
from armlite.evals.figures import Benchmark, Figure, Figures, Item
from armlite.evals.intervals import mean_interval
from armlite.rewards import is_right
from armlite.votes import most_say

POCKET = "pocket"


def score(items: Sequence[Item]) -> Figures:
    """Figures of the tasks that have a gold answer; of several votes on the first presented order what most say.

    Returns:
        `accuracy` (a task that could not be judged is not right), the same as `accuracy/FAMILY`, `accuracy_judged`
        (of the tasks that were judged), `not_judged` (share that was not, also as `not_judged/REASON` where there are
        some; `split`: the votes are even) and `tool_calls_per_task` (of the first judgment alone). Of tasks that say
        how many calls they need (`meta["needs"]`): `accuracy_by_needs/N` and `calls_by_needs/N`.
    """
    marked = [item for item in items if item.task.gold is not None]
    said = {item.task.id: most_say(item.task.kind, item.votes)[0] for item in marked}
    right = {item.task.id: bool(is_right(item.task, said[item.task.id])) for item in marked}
    figures: Figures = {"accuracy": share(list(right.values()))}
    for name in sorted({family(item.task) for item in marked}):
        figures[f"accuracy/{name}"] = share([right[i.task.id] for i in marked if family(i.task) == name])
    figures["accuracy_judged"] = share([right[name] for name, decision in said.items() if decision is not None])
    figures["not_judged"] = share([decision is None for decision in said.values()])
    stops = [None if said[item.task.id] is not None else _why_not(item) for item in marked]
    for stop in sorted({stop for stop in stops if stop is not None}):
        figures[f"not_judged/{stop}"] = share([found == stop for found in stops])
    figures["tool_calls_per_task"] = _calls(items)
    for needs in sorted({n for item in marked if (n := calls_needed(item.task)) is not None}):
        own = [item for item in marked if calls_needed(item.task) == needs]
        figures[f"accuracy_by_needs/{needs}"] = share([right[item.task.id] for item in own])
        figures[f"calls_by_needs/{needs}"] = _calls(own)
    return figures


def _calls(items: Sequence[Item]) -> Figure:
    """Tool calls a task, of first judgments."""
    calls = [float(len(item.answers[0].trajectory.calls)) for item in items]
    return Figure(value=sum(calls) / len(calls) if calls else None, n=len(calls), ci95=mean_interval(calls))


def _why_not(item: Item) -> str:
    """Why there is no decision: the first vote's reason, or that the votes are even."""
    if any(vote.decision is not None for vote in item.votes):
        return "split"
    return item.votes[0].stop.value


def is_tasks(name: str) -> bool:
    """Whether a word for a benchmark is `pocket` or a file of tasks."""
    return name == POCKET or name.endswith(".jsonl")


ACCURACY = Benchmark(
    name="tasks",
    main="accuracy",
    score=score,
    dataset=None,
    order="seeded_both",
    notes=("Pairs are judged in a seeded order and in its reverse; only the swap consistency is of both.",),
)
"""Of `pocket` and of any file of tasks."""
