"""What a scorer gets and gives: judged items in, named figures with intervals out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from armlite.data.dataset import DataSet
from armlite.errors import DataError, first_fault
from armlite.protocol.parse import outside
from armlite.types import Decision, Record, StopReason, Task, Trajectory

Order = Literal["as_published", "hash", "lenparity", "md5_swap", "both", "seeded", "seeded_both"]
"""How responses are presented. `hash`: by a digest of the task's id; `lenparity`: swapped where the responses' lengths
add up to an odd number (the rule of lmms-eval and VLMEvalKit for VL-RewardBench); `md5_swap`: the first changes places
with one that the id decides (the rule of ARM-Thinker's script for RewardBench-2); `both`: as published and reversed;
`seeded`: by the run's seed and the task's id; `seeded_both`: likewise, and of pairs the reverse too."""


@dataclass(frozen=True)
class Answer:
    """One episode of an item."""

    trajectory: Trajectory
    seconds: float | None = None
    """Time from asking to the last turn; None where it was not taken alone."""

    @property
    def decision(self) -> Decision | None:
        """In the publisher's own order; None: no readable answer."""
        return self.trajectory.decision

    @property
    def text(self) -> str:
        """The last turn as the model wrote it. Empty where there is none, and after a fault: the last turn of a model
        that could not be asked is our message, not its text.
        """
        vote = self.trajectory
        failed = vote.fault is not None or vote.stop is StopReason.MODEL_ERROR
        return "" if failed or not vote.steps else vote.steps[-1].turn.text

    @property
    def final(self) -> str | None:
        """Text inside the final `<answer>`."""
        return self.trajectory.answer

    @property
    def said(self) -> str:
        """What stands for an answer where another's script reads it: the text inside the final `<answer>`, else what
        the last turn says beside its thoughts and calls. Empty where there is no such text, and after a fault.
        """
        return outside(self.text) if self.final is None else self.final


class TaskMeta(BaseModel):
    """What a benchmark's reader leaves for its scorer: `Task.meta`, a plain mapping on disk, as a typed record.

    Each benchmark's `Meta` adds its own fields. Keys that are none of its fields are passed over.
    """

    model_config = ConfigDict(frozen=True)

    group: dict[str, str] = {}
    """Scoring groups: kind of group -> name."""
    published_id: int | str | None = None
    """The row's id as published."""
    position: int | None = None
    """The row's place in its set, from 0; None: as many tasks stand before this one in the file of tasks."""

    @classmethod
    def of(cls, task: Task) -> Self:
        """The record of a task.

        Raises:
            DataError: the task's meta is not what the benchmark's reader writes.
        """
        try:
            return cls.model_validate(task.meta)
        except ValidationError as error:
            field, why = first_fault(error)
            raise DataError(task.source or "task", task.id, f"meta.{field}", why) from error

    def as_dict(self) -> dict[str, Any]:
        """For `Task.meta`: the fields that were given."""
        return self.model_dump(exclude_unset=True)


@dataclass(frozen=True)
class Item:
    """A task with all its episodes: the votes of the first presented order, then those of the second."""

    task: Task
    answers: tuple[Answer, ...]

    @property
    def first(self) -> Answer | None:
        """The first vote of the first order, which is all that most scorers count; None: no answer at all."""
        return self.answers[0] if self.answers else None

    @property
    def votes(self) -> tuple[Trajectory, ...]:
        """The episodes of the first presented order."""
        votes = [answer.trajectory for answer in self.answers]
        return tuple(vote for vote in votes if vote.order == votes[0].order)

    @property
    def decision(self) -> Decision | None:
        """Of the first answer; None: there is none, or none that can be read."""
        return self.first.decision if self.first else None

    @property
    def final(self) -> str:
        """Text inside the first answer's final `<answer>`; empty where there is none."""
        return (self.first.final or "") if self.first else ""

    @property
    def group(self) -> Mapping[str, str]:
        """Scoring groups: kind of group -> name."""
        return TaskMeta.of(self.task).group

    @property
    def position(self) -> int | None:
        """The row's place in its set, from 0, where rows before it were left out."""
        return TaskMeta.of(self.task).position

    @property
    def published_id(self) -> int | str:
        """The row's id as published; where the reader left none, the task's."""
        known = TaskMeta.of(self.task).published_id
        return self.task.id if known is None else known


class Figure(Record):
    """A number with what it rests on."""

    value: float | None
    """Shares are between 0 and 1; None: undefined."""
    n: int
    """Items it was computed from."""
    ci95: tuple[float, float] | None = None


Figures = dict[str, Figure]
"""Name -> figure; groups as `acc/NAME`."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark: a data set and its scorer; each stands in a file in `armlite.evals.benchmarks`."""

    name: str
    """Lower case with hyphens."""
    main: str
    """Name of the figure that papers quote."""
    score: Callable[[Sequence[Item]], Figures]
    """Pure. Failures to answer are counted (`parse_failures`) and never scored silently."""
    dataset: DataSet | None
    """Where its rows are and how they are read; it goes by the benchmark's name. None: its tasks stand in a file."""
    official: Callable[[Sequence[Item]], Mapping[str, str]] | None = None
    """The file (name -> content) that the benchmark's own scripts read, from the same items."""
    vlmevalkit: Callable[[Item], Mapping[str, Any]] | None = None
    """Columns that VLMEvalKit's script for the set reads in a row, beside the common ones or in their place."""
    kit_text: Callable[[Item], str] | None = None
    """What VLMEvalKit's and lmms-eval's scripts are to read as an item's answer, where that is not `Answer.said`."""
    order: Order = "as_published"
    """The order that the official protocol presents, where it is one of ours."""
    votes: int = 1
    """Judgments of each presented order, in the official protocol."""
    notes: tuple[str, ...] = ()
    """How our protocol departs from the official one, for the report."""

    def __post_init__(self) -> None:
        if self.dataset is not None:
            object.__setattr__(self, "dataset", replace(self.dataset, name=self.name, use="benchmark"))
