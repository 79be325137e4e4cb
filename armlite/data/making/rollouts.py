"""Several rollouts of each task, as the difficulty filter (before training and within it) and the traces want them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from armlite.episode import EpisodeSettings, presented_order
from armlite.errors import ArmliteError
from armlite.journal import Journal
from armlite.loop import ChatModel
from armlite.rewards import is_right
from armlite.runner import Job, Outcome, run_jobs
from armlite.types import Fault, Task

Progress = Callable[[int, int], None]
"""Called with (tasks done, of how many)."""
GONE = 8
"""So many jobs in a row that a model could not be asked about: its server has gone, not one request gone wrong."""
WHY = {"model": "the model could not be asked", "data": "cannot be read", "user": "a tool cannot work here"}
"""Whose fault -> the reason that rejected rows are counted under."""


def rollout_jobs(
    tasks: Iterable[Task], k: int, settings: EpisodeSettings, root: Path, seed: int, first: int = 0
) -> list[Job]:
    """Jobs for `k` rollouts of each task, all in the same presented order.

    Args:
        seed: of the presented orders.
        first: number of the first rollout; it names the stream of randomness.
    """
    return [Job(task, settings, root, presented_order(task, seed), first + i) for task in tasks for i in range(k)]


def while_reachable(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Outcomes, until the model's server has gone: then the rest is not worth rejecting.

    Raises:
        ArmliteError: `GONE` jobs in a row could not be asked about.
    """
    unasked = 0
    for outcome in outcomes:
        yield outcome
        gone = outcome.fault is not None and outcome.fault.whose == "model"
        unasked = unasked + 1 if gone else 0
        if gone and unasked >= GONE:
            raise ArmliteError(
                f"the model could not be asked {GONE} times in a row ({outcome.fault.reason}); what is done is kept: "  # type: ignore[union-attr]
                "the same command goes on"
            )


class TasksDone:
    """Counts tasks whose jobs have all ended, for a progress bar."""

    def __init__(self, left: Sequence[Job], total: int, on_task: Progress | None):
        self._left, self._total, self._on_task = Counter(job.task.id for job in left), total, on_task

    def __call__(self, task: Task) -> None:
        """A job of a task has ended."""
        self._left[task.id] -= 1
        if not self._left[task.id]:
            del self._left[task.id]
            if self._on_task is not None:
                self._on_task(self._total - len(self._left), self._total)


def pass_rates(
    jobs: Sequence[Job],
    model: ChatModel,
    journal: Journal,
    in_flight: int | None = None,
    on_task: Progress | None = None,
    total: int | None = None,
) -> tuple[dict[str, float], dict[str, Fault]]:
    """Play the jobs that the journal has no row for, and rate all tasks.

    A rollout with a fault has no row, so that another run plays it again.

    Returns:
        Task id -> share of its rollouts that were right, for tasks whose rollouts could all be played; task id -> the
        first fault, for the others.
    """
    left = journal.left(jobs)
    done = TasksDone(left, total or len({job.task.id for job in jobs}), on_task)
    faults: dict[str, Fault] = {}
    for outcome in while_reachable(run_jobs(left, model, in_flight=in_flight)):
        task, rollout = outcome.job.key
        if outcome.fault is not None:
            faults.setdefault(task, outcome.fault)
        else:
            right = bool(is_right(outcome.task, outcome.trajectory.decision))
            journal.add({"id": task, "rollout": rollout, "right": right})
        done(outcome.task)
    marks: dict[str, list[bool]] = {}
    for row in journal.rows():
        marks.setdefault(row["id"], []).append(row["right"])
    return {task: sum(m) / len(m) for task, m in marks.items() if task not in faults}, faults
