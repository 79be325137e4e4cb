"""The judge as a kit's model: plays what is asked, keeps trajectories if told to, tells what could not be judged."""

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from armlite.adapters.asked import Asked, Pictures, as_pair
from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError
from armlite.judge import TRAJECTORIES, Judge, moved_to
from armlite.lock import hold
from armlite.models.lazy import at_temperature
from armlite.runner import Outcome, run_jobs
from armlite.store import Saved, append
from armlite.types import Task, Trajectory

WRITING = threading.Lock()
"""One for all models of a process, since several may save to one folder."""


class Answerer:
    """Plays a kit's items; safe for threads.

    Args:
        model: anything that `Judge.load` takes.
        tools: show the model the tools that go with what there is to look at.
        pairs: ask about rows of VL-RewardBench and Multimodal RewardBench in our own form, instead of the kit's.
        save: folder that trajectories and their pictures are kept in, for `armlite view`.
        options: further ones of `Judge.load`, as `temperature` or `max_calls`.

    Raises:
        ArmliteError: the model cannot be loaded, or the folder not written to.
    """

    def __init__(self, model: str, tools: bool = True, pairs: bool = True, save: str | None = None, **options: Any):
        self._judge = Judge.load(model, **options).prepare()
        self.rules: EpisodeSettings = self._judge.settings
        if not tools:
            self.rules = self.rules.model_copy(update={"tools": ()})
        self.pairs, self._folder = pairs, None if save is None else Path(save)
        if self._folder is not None:
            self._held = hold(self._folder)

    def ask(self, name: str, prompt: str, row: Mapping[str, Any], pictures: Pictures, rollout: int = 0) -> Asked:
        """What to play for a kit's item.

        Args:
            name: goes into the random stream, with the rollout.
            prompt: the kit's.
            row: of the kit's data, by column; empty where the kit does not hand it over.
            pictures: opens the item's.
            rollout: number of this try at the item.
        """
        found = as_pair(name, row) if self.pairs else None
        if found is None:
            return Asked(Task(id=name, kind="open_qa", question=prompt), self.rules, rollout=rollout, pictures=pictures)
        task, order, verdict = found
        return Asked(task, self.rules, order=order, rollout=rollout, pictures=pictures, verdict=verdict)

    def play(
        self, asked: Iterable[Asked], temperature: float | None = None, in_flight: int | None = None
    ) -> list[tuple[Asked, Trajectory]]:
        """Each item with its trajectory, in order; an item is taken when its turn comes.

        Args:
            temperature: instead of the judge's own.
            in_flight: at most so many at once; None: as many as the model can use.

        Raises:
            ArmliteError: none of several could be judged, since the model could not be asked.
        """
        model = self._judge.model if temperature is None else at_temperature(self._judge.model, temperature)
        taken: list[Asked] = []
        played: dict[int, Trajectory] = {}
        for outcome in run_jobs(_taken(asked, taken), model, in_flight=in_flight):
            self._keep(outcome)
            played[id(outcome.job)] = outcome.trajectory
        faults = [trajectory.fault for trajectory in played.values() if trajectory.fault is not None]
        if len(faults) == len(taken) > 1 and all(fault.whose == "model" for fault in faults):
            raise ArmliteError(f"none of {len(taken)} items could be judged: {faults[0].reason}")
        return [(job, played[id(job)]) for job in taken]

    def _keep(self, outcome: Outcome) -> None:
        if self._folder is None:
            return
        row = Saved(trajectory=moved_to(self._folder, outcome.trajectory), seconds=outcome.seconds)
        with WRITING:
            append(self._folder / TRAJECTORIES, [row], outcome.images)


def _taken(asked: Iterable[Asked], taken: list[Asked]) -> Iterator[Asked]:
    for job in asked:
        taken.append(job)
        yield job


def tell_faults(played: Sequence[Trajectory]) -> None:
    """One line on stderr about what could not be judged, if anything."""
    faults = [trajectory.fault for trajectory in played if trajectory.fault is not None]
    if faults:
        whose = ", ".join(f"{name}: {count}" for name, count in Counter(f.whose for f in faults).items())
        text = f"{len(faults)} of {len(played)} items could not be judged ({whose}) and count as wrong; the first:"
        print(f"armlite: {text} {faults[0].reason}", file=sys.stderr)


def need(kit: str, why: str) -> None:
    """Find out that a kit could not be imported.

    Args:
        why: what its import said; empty: it worked.

    Raises:
        ArmliteError: it did not.
    """
    if why:
        raise ArmliteError(f"{kit} is not installed here ({why}): armlite is a model of it only where it is")
