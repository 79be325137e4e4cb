"""The folder of one benchmark run: what was asked for, what has been judged, and how long it took.

`settings.json` says whose run it is, `tasks.jsonl` what is judged, `trajectories.jsonl` what came of it, `times.jsonl`
the seconds. Written by `armlite.evals.bench` as it goes; a killed run leaves at most one torn line at each end.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError
from armlite.evals.figures import Answer, Item, Order
from armlite.store import Saved, read, write_atomic
from armlite.types import Record, StopReason, Task, Trajectory

SETTINGS, TASKS, TRAJECTORIES, TIMES = "settings.json", "tasks.jsonl", "trajectories.jsonl", "times.jsonl"
Key = tuple[str, int]
"""Task id and rollout: what a judgment is known by."""


class BenchSettings(Record):
    """All that decides the figures of a run; two runs with equal settings are one run."""

    bench: str
    model: str
    path: str | None = None
    """Folder of the published files; None: from the hub."""
    n: int | None = None
    """The first so many tasks; None: all."""
    tools: bool = True
    votes: int = 1
    """Rollouts of each presented order."""
    order: Order = "as_published"
    temperature: float = 0.0
    seed: int = 0
    max_calls: int = 5
    skip_missing: bool = False
    """Items whose image files are not there were left out."""
    extract: str = "rule"
    """How the decision is read from the answer: by rules, never by another model."""


@dataclass
class BenchRun:
    """A run as it stands in its folder."""

    folder: Path
    settings: BenchSettings
    items: list[Item]
    """In the order of the tasks; those with no judgment yet are left out."""
    seconds: dict[Key, float] = field(default_factory=dict)
    """Of each judgment; in a batch an even share of the batch's time."""
    unjudged: int = 0


def is_begun(folder: Path, settings: BenchSettings) -> bool:
    """Whether the folder holds this run already; False: it is free.

    Raises:
        ArmliteError: it holds a run with other settings (the first that differs is named) or something else.
    """
    file = folder / SETTINGS
    if file.is_file():
        if (why := differences(read_settings(folder), settings)) != []:
            name, old, new = why[0]
            raise ArmliteError(
                f"{folder} holds a run with {name} {old!r}, not {new!r}: give another --out, or the same settings to "
                "go on with it"
            )
        return True
    if folder.exists() and not folder.is_dir():
        raise ArmliteError(f"cannot write to {folder}: it is not a folder")
    if (folder / TRAJECTORIES).exists():
        raise ArmliteError(f"{folder} holds trajectories of something else; give another --out")
    return False


def begin(folder: Path, settings: BenchSettings) -> None:
    """Make the folder this run's, once its tasks are there: a mistake before that leaves it free."""
    write_atomic(folder / SETTINGS, json.dumps(settings.model_dump(mode="json"), indent=2) + "\n")


def read_settings(folder: Path) -> BenchSettings:
    """The settings of a run folder.

    Raises:
        ArmliteError: it is none.
    """
    try:
        return BenchSettings.from_json((folder / SETTINGS).read_bytes())
    except OSError as error:
        raise ArmliteError(f"{folder} holds no benchmark run: there is no {SETTINGS} in it") from error
    except ValidationError as error:
        raise ArmliteError(f"{folder / SETTINGS} is not that of a benchmark run") from error


def differences(one: BenchSettings, other: BenchSettings) -> list[tuple[str, Any, Any]]:
    """(name, value of one, value of the other) of all settings that differ."""
    a, b = one.model_dump(), other.model_dump()
    return [(name, a[name], b[name]) for name in a if a[name] != b[name]]


def mend(folder: Path, wanted: Iterable[Key]) -> set[Key]:
    """Bring the folder of a run that ended early into order, and say what has been judged in it.

    A torn last line is cut. Judgments that failed (the model could not be asked, the item not opened) and those that
    nobody wants are taken out, so that they are made again.

    Raises:
        DataError: a line before the last is broken.
    """
    _cut_torn(folder / TRAJECTORIES)
    _cut_torn(folder / TIMES)
    file, keep, done, dropped = folder / TRAJECTORIES, set(wanted), set[Key](), False
    if not file.is_file():
        return done
    part = folder / ".mended.tmp"
    with part.open("w", encoding="utf-8") as out:
        for row in read(file):
            key = row.trajectory.task.id, row.trajectory.rollout
            if key in keep and key not in done and row.trajectory.stop is not StopReason.MODEL_ERROR:
                done.add(key)
                out.write(row.to_json() + "\n")
            else:
                dropped = True
        out.flush()
        os.fsync(out.fileno())
    if dropped:
        os.replace(part, file)
    else:
        part.unlink()
    return done


def _cut_torn(file: Path) -> None:
    """Cut what follows the last line break."""
    if not file.is_file():
        return
    with file.open("r+b") as rows:
        end = rows.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            rows.seek(start)
            found = rows.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        rows.truncate(end)


def add_times(folder: Path, seconds: Mapping[Key, float], alone: bool) -> None:
    """Note how long judgments took; `alone`: each by itself, else its share of a batch."""
    lines = [
        json.dumps({"task": task, "rollout": rollout, "seconds": round(s, 4), "alone": alone}) + "\n"
        for (task, rollout), s in seconds.items()
    ]
    with (folder / TIMES).open("a", encoding="utf-8") as file:
        file.write("".join(lines))


def read_run(folder: Path) -> BenchRun:
    """A run from its folder.

    Raises:
        ArmliteError: the folder holds none.
        DataError: a record is broken.
    """
    settings = read_settings(folder)
    tasks = read_tasks(folder / TASKS)
    rows = read(folder / TRAJECTORIES) if (folder / TRAJECTORIES).is_file() else iter(())
    seconds, alone = _times(folder / TIMES)
    items = gather(tasks, rows, {k: s for k, s in seconds.items() if k in alone})
    return BenchRun(folder, settings, items, seconds, len(tasks) - len(items))


def gather(tasks: Iterable[Task], rows: Iterable[Saved], seconds: Mapping[Key, float]) -> list[Item]:
    """Items in the order of the tasks, each with its judgments by rollout; tasks without any are left out."""
    found: dict[str, dict[int, Trajectory]] = {}
    for row in rows:
        t = row.trajectory
        found.setdefault(t.task.id, {})[t.rollout] = t
    items = []
    for task in tasks:
        votes = sorted(found.get(task.id, {}).items())
        if votes:
            items.append(Item(task, tuple(Answer(t, seconds.get((task.id, n))) for n, t in votes)))
    return items


def _times(file: Path) -> tuple[dict[Key, float], set[Key]]:
    """Seconds of each judgment, and which of them were taken alone."""
    seconds: dict[Key, float] = {}
    alone: set[Key] = set()
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            key = row["task"], row["rollout"]
            seconds[key] = row["seconds"]
            (alone.add if row["alone"] else alone.discard)(key)
    return seconds, alone
