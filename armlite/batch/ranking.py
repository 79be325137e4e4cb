"""Rows that are ranked: a tournament each, round by round, made again of the journal when a batch goes on."""

import re
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from armlite.batch.parts import Complete
from armlite.episode import EpisodeSettings
from armlite.journal import Key
from armlite.jsonl import read_records
from armlite.runner import Job
from armlite.store import Saved
from armlite.tournament import EXACT, Tournament, method_for, most_comparisons
from armlite.types import Task

AT_ONCE = 64
"""Rows whose sorts are in play at once: each of their rounds is one play, and their votes are in memory."""
PAIR = re.compile(r": \d+ vs \d+$")
"""How ids of comparisons end, and no row's own."""


class Rankings:
    """The tournaments of a batch.

    Args:
        tasks: file of the rows.
        votes: of each presented order of a comparison.
        only: ids of the rows to judge; None: all.
    """

    columns = ()

    def __init__(self, tasks: Path, votes: int, only: Collection[str] | None = None):
        self._tasks, self._votes, self._only = tasks, votes, only
        self._places: dict[str, int] = {}
        """Row id -> where its line begins, of rows that are ranked."""
        self._open: dict[str, tuple[Tournament, list[Saved]]] = {}
        self._over: set[str] = set()
        self.spared = 0
        """Judgments that were counted beforehand, and that no tournament needed."""
        with tasks.open("rb") as lines:
            at = 0
            for line in lines:
                if is_ranked(task := Task.from_json(line)):
                    self._places[task.id] = at
                at += len(line)

    def asked(self, task: Task) -> int | None:
        """Judgments of a row's tournament, at most; None: it is not ranked."""
        if not is_ranked(task):
            return None
        count = len(task.responses)
        return 2 * self._votes * most_comparisons(method_for(count, whole=True), count)

    def row_of(self, task: Task) -> str | None:
        """The id of the row that a comparison is part of; None: it is a row of its own."""
        name = PAIR.sub("", task.id)
        return name if task.numbers and name in self._places else None

    def add(self, name: str, row: Saved) -> Complete | None:
        """Take a judgment on a comparison of a row; the last one completes the row's verdict."""
        if name in self._over:
            return None
        game, rows = self._game(name)
        rows.append(row)
        game.add(row.trajectory)
        if game.due:
            return None
        del self._open[name]
        self._over.add(name)
        self.spared += (self.asked(game.task) or 0) - len(rows)
        return Complete(game.task, game.verdict(), rows)

    def jobs(self, task: Task, settings: EpisodeSettings, root: Path, done: set[Key]) -> Iterator[Job]:
        """The judgments of a row that has one round only."""
        return iter(()) if is_sorted(task) else self._due(task, settings, root, done)

    def _due(self, task: Task, settings: EpisodeSettings, root: Path, done: set[Key]) -> Iterator[Job]:
        """The judgments of a row that can be made now."""
        if task.id in self._over:
            return
        for pair in self._game(task.id)[0].due:
            for rollout, order in enumerate([(1, 2), (2, 1)] * self._votes):
                job = Job(pair, settings, root, order, rollout)
                if job.key not in done:
                    yield job

    def rounds(self, settings: EpisodeSettings, root: Path, done: set[Key]) -> Iterator[list[Job]]:
        """The judgments of rows that are sorted, a list a round of as many rows as are in play at once."""
        rows = (task for _, task in read_records(self._tasks, Task) if is_ranked(task) and is_sorted(task))
        rows = (task for task in rows if self._only is None or task.id in self._only)
        while group := list(islice(rows, AT_ONCE)):
            while jobs := [job for task in group for job in self._due(task, settings, root, done)]:
                yield jobs

    def _game(self, name: str) -> tuple[Tournament, list[Saved]]:
        if name not in self._open:
            with self._tasks.open("rb") as file:
                file.seek(self._places[name])
                task = Task.from_json(file.readline())
            self._open[name] = Tournament(task, method_for(len(task.responses), whole=True), 2 * self._votes), []
        return self._open[name]


def is_ranked(task: Task) -> bool:
    """Whether `--rank` puts a row's responses in order; a pair is judged as any other."""
    return task.kind == "listwise" and len(task.responses) > 2


def is_sorted(task: Task) -> bool:
    """Whether a ranked row has several rounds, each of which depends on those before."""
    return len(task.responses) > EXACT
