"""Playing each task several times in our own loop, in batches; the core of the difficulty filter, in training and
before it, and of the making of traces. It keeps nothing and decides nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from armlite.episode import Episode, EpisodeSettings, presented_order
from armlite.errors import ArmliteError
from armlite.loop import ChatModel, play
from armlite.rewards import is_right
from armlite.types import StopReason, Task


@dataclass(frozen=True)
class Played:
    """A task with its episodes, all of them stopped."""

    task: Task
    episodes: tuple[Episode, ...]
    fault: str | None = None
    """Why the task could not be played (a picture that cannot be read); then there are no episodes."""

    @property
    def unasked(self) -> str | None:
        """What the model's server complained about, where it could not be asked."""
        lost = (e for e in self.episodes if e.stop is StopReason.MODEL_ERROR)
        return next((e.steps[-1].turn.text for e in lost), None)

    @property
    def pass_rate(self) -> float:
        """Share of the episodes that were right."""
        return sum(bool(is_right(self.task, e.decision)) for e in self.episodes) / len(self.episodes)


def rollouts(
    tasks: Sequence[Task],
    k: int,
    load: Callable[[], ChatModel],
    settings: EpisodeSettings,
    root: Path,
    seed: int,
    first: int = 0,
    batch: int = 64,
) -> Iterator[list[Played]]:
    """Play `k` rollouts of each task, some tasks at a time.

    Args:
        load: gives the model; called only if there is something to play, after the first tasks were opened.
        root: folder that the tasks' paths are relative to.
        seed: of the presented orders, which are the same in all rollouts of a task.
        first: number of the first rollout; it names the stream of randomness.
        batch: episodes in flight.
    """
    share, model = max(1, batch // k), None
    for start in range(0, len(tasks), share):
        part = [_opened(task, k, settings, root, seed, first) for task in tasks[start : start + share]]
        model = model or load()
        play([episode for played in part for episode in played.episodes], model)
        yield part


def _opened(task: Task, k: int, settings: EpisodeSettings, root: Path, seed: int, first: int) -> Played:
    order = presented_order(task, seed)
    try:
        episodes = tuple(Episode.open(task, settings, root, order, first + i) for i in range(k))
    except ArmliteError as error:
        return Played(task, (), str(error))
    return Played(task, episodes)
