"""Rows whose verdict is made of judgments on tasks of their own: the comparisons of a ranking, a rubric's criteria."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from armlite.episode import EpisodeSettings
from armlite.journal import Key
from armlite.runner import Job
from armlite.store import Saved
from armlite.types import Task, Verdict


class Complete(NamedTuple):
    """A row that has its verdict."""

    task: Task
    verdict: Verdict
    rows: list[Saved]
    """Its judgments."""
    more: Mapping[str, Any] = {}
    """Further columns of its line."""


class Parts(Protocol):
    """How such rows are judged, and what has been made of them so far."""

    columns: tuple[str, ...]
    """Further ones of the table."""
    spared: int
    """Judgments that `asked` counted and that were not needed."""

    def asked(self, task: Task) -> int | None:
        """How many judgments a row takes at most; None: it is judged as it is."""

    def row_of(self, task: Task) -> str | None:
        """The id of the row that a task is part of; None: it is a row of its own."""

    def add(self, name: str, row: Saved) -> Complete | None:
        """Take a judgment on a part of a row; the last one completes it."""

    def jobs(self, task: Task, settings: EpisodeSettings, root: Path, done: set[Key]) -> Iterator[Job]:
        """The judgments of a row that depend on no others and are not done."""

    def rounds(self, settings: EpisodeSettings, root: Path, done: set[Key]) -> Iterable[list[Job]]:
        """Those that do, a list each time; the next one depends on what came of it."""
