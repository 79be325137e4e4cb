"""The journal of a long job: its settings, and a row for each thing done, appended as it ends.

A job that is killed at any moment and started again goes on: it loses at most what was in flight and writes nothing
twice. What a row means is its writer's business; a journal knows by what it is known, and whether it tells of a fault.
Evaluations, stage evaluations, filters, traces, pairs and mixes all write theirs here.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from PIL import Image

from armlite.errors import ArmliteError, DataError
from armlite.lock import Lock, hold
from armlite.store import TORN, Saved, append, read, write_atomic

Row = dict[str, Any]
Key = tuple[str, int]
"""Task id and rollout."""
SETTINGS = "settings.json"
DIGEST = re.compile(r"[0-9a-f+]{32,}")
"""The hash of a file or folder, or several of them."""
SYNC_EVERY = 1.0
"""Seconds between two syncs of small rows: a sync of each would take longer than what it tells of."""


class Keyed(Protocol):
    """Something to be done, as a `Job`."""

    @property
    def key(self) -> Key: ...


ToDo = TypeVar("ToDo", bound=Keyed)


def is_begun(file: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a journal has been begun with these settings; False: there is none, or nothing was done in it yet.

    Raises:
        ArmliteError: it was begun with others (the first that differs is named), or the folder holds something else.
    """
    saved = file.with_name(SETTINGS)
    if not saved.is_file():
        if file.exists():
            raise ArmliteError(f"{file.parent} holds {file.name} of something else; give another --out")
        return False
    old, new = _read_settings(saved), json.loads(json.dumps(settings))
    changed = differences(old, new)
    if changed and file.is_file():
        key, was, now = changed[0]
        hint = " (hashes: the files have changed since)" if DIGEST.fullmatch(str(was)) else ""
        raise ArmliteError(
            f"{file.parent} was begun with {key} {was!r}, not {now!r}{hint}: give another --out, the same settings to "
            "go on with it, or delete the folder to begin anew"
        )
    return not changed


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(dotted name, value of one, value of the other) where two nested settings disagree; None: it is not there."""
    a, b = _flat(one), _flat(other)
    return [(key, a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for key, value in tree.items():
        rows |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return rows


class Journal:
    """Rows in a JSONL file, beside it `settings.json` and, of trajectories, `images/`.

    Args:
        file: of the rows.
        settings: all that decides them, plain data; files they depend on go in as digests. None: the caller sees to it
            that the same job goes on, and that nobody else writes to the folder.

    Raises:
        ArmliteError: as `is_begun`; another process writes to the folder.
    """

    def __init__(self, file: Path, settings: Mapping[str, Any] | None = None):
        self.file, self.folder = file, file.parent
        self._lock: Lock | None = None
        if settings is not None:
            self._lock = hold(self.folder)
            if not is_begun(file, settings):
                write_atomic(file.with_name(SETTINGS), json.dumps(settings, indent=2) + "\n")
        for torn in self.folder.glob(f"**/{TORN}"):
            torn.unlink()
        _cut_torn_line(file)
        self._synced = 0.0
        self.done = {key_of(row) for row in self.rows()}
        """What there is a row for."""

    def rows(self) -> Iterator[Row]:
        """All rows, in the order in which they were added.

        Raises:
            DataError: a line is none.
        """
        if self.file.is_file():
            with self.file.open("rb") as lines:
                yield from (_row(self.file, number, line) for number, line in enumerate(lines, 1) if line.strip())

    def trajectories(self) -> Iterator[Saved]:
        """All rows of a journal of trajectories.

        Raises:
            DataError: a row is broken.
        """
        return read(self.file) if self.file.is_file() else iter(())

    def add(self, row: Row | Saved, images: Mapping[str, Image.Image] | None = None) -> None:
        """Keep a row. It survives a kill of the process at once, and a power cut a second later at most.

        Args:
            images: of a trajectory: file name -> pixels.
        """
        if isinstance(row, Saved):
            self.add_all([row], images)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab") as file:
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))
            if time.monotonic() - self._synced > SYNC_EVERY:
                file.flush()
                os.fsync(file.fileno())
                self._synced = time.monotonic()
        self.done.add(key_of(row))

    def add_all(self, rows: Sequence[Saved], images: Mapping[str, Image.Image] | None = None) -> None:
        """Keep trajectories, all at once."""
        append(self.file, rows, images)
        self.done |= {(row.trajectory.task.id, row.trajectory.rollout) for row in rows}

    def left(self, jobs: Iterable[ToDo]) -> list[ToDo]:
        """The jobs that there is no row for."""
        return [job for job in jobs if job.key not in self.done]

    def keep(self, wanted: Callable[[Row], bool]) -> None:
        """Take out the rows that are not wanted, and repeats; what they tell of will be done again."""
        kept, dropped, seen = [], False, set[Key]()
        for row in self.rows():
            if key_of(row) in seen or not wanted(row):
                dropped = True
                continue
            seen.add(key_of(row))
            kept.append(row)
        if dropped:
            self._write(kept)
        self.done = seen

    def _write(self, rows: Iterable[Row]) -> None:
        text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
        write_atomic(self.file, text)

    def redo_faults(self, jobs: Iterable[Keyed] | None = None) -> None:
        """Take out the rows that tell of a fault, so that they are done again, and those that are no job's any more."""
        keys = None if jobs is None else {job.key for job in jobs}
        self.keep(lambda row: not is_fault(row) and (keys is None or key_of(row) in keys))

    def sort(self, jobs: Iterable[Keyed]) -> None:
        """Put the rows in the order of the jobs: rows come as jobs end, which is not always in the same order."""
        rows = {key_of(row): row for row in self.rows()}
        self._write([rows[job.key] for job in jobs if job.key in rows])

    def forget(self) -> None:
        """Remove the journal's folder, at once for whoever comes after a kill: what came of it stands elsewhere."""
        trash = self.folder.with_name(f"{self.folder.name}.old")
        shutil.rmtree(trash, ignore_errors=True)
        with suppress(OSError):
            shutil.rmtree(self.folder.rename(trash))
        self._lock = None


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_bytes())
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise ArmliteError(f"{file} is damaged: delete {file.parent} to begin anew")
    return settings


def _row(file: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
        key_of(row)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(str(file), number, "(row)", f"is no row of a journal ({error!r})") from error
    return row


def key_of(row: Row) -> Key:
    """What a row is about: a trajectory's task and rollout, else its `id` and `rollout`."""
    if "trajectory" in row:
        return row["trajectory"]["task"]["id"], row["trajectory"].get("rollout", 0)
    return row["id"], row.get("rollout", 0)


def is_fault(row: Row) -> bool:
    """Whether a row tells of a job that could not be done."""
    vote = row.get("trajectory", row)
    return vote.get("fault") is not None or vote.get("stop") == "model_error"


def _cut_torn_line(file: Path) -> None:
    """Cut what a kill left behind the last line break."""
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
