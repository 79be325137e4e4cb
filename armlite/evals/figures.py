"""What a scorer gets and gives: judged items in, named figures with intervals out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from armlite.types import Decision, Record, Task, Trajectory

Order = Literal["as_published", "hash", "lenparity", "both", "seeded", "seeded_both"]
"""How responses are presented. `hash`: by a digest of the task's id; `lenparity`: swapped where the responses' lengths
add up to an odd number (the rule of lmms-eval and VLMEvalKit for VL-RewardBench); `both`: as published and reversed;
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
        """The last turn as the model wrote it; empty where there is none."""
        return self.trajectory.steps[-1].turn.text if self.trajectory.steps else ""

    @property
    def final(self) -> str | None:
        """Text inside the final `<answer>`."""
        return self.trajectory.answer


@dataclass(frozen=True)
class Item:
    """A task with all its episodes: the votes of the first presented order, then those of the second."""

    task: Task
    answers: tuple[Answer, ...]

    @property
    def group(self) -> Mapping[str, str]:
        """Scoring groups, `task.meta["group"]`."""
        return self.task.meta.get("group", {})


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
    """A benchmark: a data set and its official scorer; each stands in a file in `armlite.evals.benchmarks`."""

    name: str
    """Of the data set."""
    main: str
    """Name of the figure that papers quote."""
    score: Callable[[Sequence[Item]], Figures]
    """Pure. Failures to answer are counted (`parse_failures`) and never scored silently."""
    official: Callable[[Sequence[Item]], Mapping[str, str]] | None = None
    """The file (name -> content) that the benchmark's own scripts read, from the same items."""
    order: Order = "as_published"
    """The order that the official protocol presents, where it is one of ours."""
    votes: int = 1
    notes: tuple[str, ...] = ()
    """How our protocol departs from the official one, for the report."""
