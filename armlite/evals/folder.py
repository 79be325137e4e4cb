"""The folder of one evaluation: what was asked for, what is judged, and what came of it.

`settings.json` says whose run it is, `tasks.jsonl` what is judged, `trajectories.jsonl` what came of it: a journal.
Written by `armlite.evals.run` as it goes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError
from armlite.evals.figures import Answer, Item, Order
from armlite.journal import SETTINGS, Key
from armlite.store import Saved, read
from armlite.types import Record, Task

TASKS, TRAJECTORIES = "tasks.jsonl", "trajectories.jsonl"


class EvalSettings(Record):
    """All that decides the figures of a run; two runs with equal settings are one run."""

    benchmark: str
    """A benchmark's name, `pocket`, or a JSONL file of tasks."""
    model: str
    path: str | None = None
    """Folder of the published files; None: from the hub."""
    digest: str | None = None
    """Hash of the file of tasks, where it is one, or of the published files below `path`."""
    n: int | None = None
    """The first so many tasks; None: all."""
    tools: bool = True
    votes: int = 1
    """Rollouts of each presented order."""
    order: Order = "as_published"
    temperature: float = 0.0
    seed: int = 0
    max_calls: int = 5
    episode: dict[str, Any] = {}
    """The rules of an episode beside `max_calls`: names of tools, limits, how verifiers count, whose words; and whether
    pages without text are read with OCR, and what splits sentences."""
    writer: dict[str, Any] = {}
    """How the model writes beside `temperature` and `seed`: budgets, options, and `digest` of local weights."""
    skip_missing: bool = False
    """Items whose image files are not there were left out."""
    extract: str = "rule"
    """How the decision is read from the answer: by rules, never by another model."""


@dataclass
class EvalRun:
    """A run as it stands in its folder."""

    folder: Path
    settings: EvalSettings
    items: list[Item]
    """In the order of the tasks; those with no judgment yet are left out."""
    seconds: dict[Key, float] = field(default_factory=dict)
    """Of each judgment; of a local model an even share of the time of all."""
    unjudged: int = 0


def read_settings(folder: Path) -> EvalSettings:
    """The settings of a run folder.

    Raises:
        ArmliteError: it is none.
    """
    try:
        return EvalSettings.from_json((folder / SETTINGS).read_bytes())
    except OSError as error:
        raise ArmliteError(f"{folder} holds no evaluation: there is no {SETTINGS} in it") from error
    except ValidationError as error:
        raise ArmliteError(f"{folder / SETTINGS} is not that of an evaluation") from error


def read_run(folder: Path) -> EvalRun:
    """A run from its folder.

    Raises:
        ArmliteError: the folder holds none.
        DataError: a record is broken.
    """
    settings = read_settings(folder)
    tasks = read_tasks(folder / TASKS)
    rows = list(read(folder / TRAJECTORIES)) if (folder / TRAJECTORIES).is_file() else []
    items = gather(tasks, rows)
    seconds = {_key(row): row.seconds for row in rows if row.seconds is not None}
    return EvalRun(folder, settings, items, seconds, len(tasks) - len(items))


def gather(tasks: Iterable[Task], rows: Iterable[Saved]) -> list[Item]:
    """Items in the order of the tasks, each with its judgments by rollout; tasks without any are left out."""
    found: dict[str, dict[int, Answer]] = {}
    for row in rows:
        task, rollout = _key(row)
        found.setdefault(task, {})[rollout] = Answer(row.trajectory, row.seconds if row.alone else None)
    return [
        Item(task, tuple(answer for _, answer in sorted(found[task.id].items()))) for task in tasks if task.id in found
    ]


def _key(row: Saved) -> Key:
    return row.trajectory.task.id, row.trajectory.rollout
