"""Labels that a person gives in a terminal (`armlite label`): blind, by single keys, each on the disk at once.

Who labels sees neither known answers nor verdicts nor ids, and responses in an order of his own; what is written names
them as the file does, for `armlite agree`.
"""

import csv
import io
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from armlite.data.files import Unreadable, read_file
from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ArmliteError, InputError
from armlite.types import StopReason, Task, Trajectory
from armlite.view.terminal import draw_task

FIELDS = ("id", "label", "rater", "time", "seconds", "shown")
"""Columns: the row's id; number of the better response, `tie`, `true`, `false`, a rating, or nothing (skipped); who;
when (UTC); how long he looked; the responses' numbers in the order in which he saw them."""
KINDS = ("pairwise", "listwise", "pointwise", "rating")
SUFFIXES = (".csv", ".jsonl")
QUIT = ("q", "Q", "\x1b", "\x03", "\x04")
HELP = {
    "pairwise": "1 or 2 the better one · t tie",
    "listwise": "number of the best one (of ten or more: and Enter) · t tie",
    "pointwise": "y correct · n not",
    "rating": "1 to 9, and 0 for 10",
}
COMMON = " · s skip · b back · q quit · ? help"
MORE = (
    "Every label is kept at once; the same command goes on where you stopped. A skipped row is not shown again, unless "
    "you go back to it now. Going back and labelling again replaces a label."
)


class Labels:
    """A file of labels, appended to.

    Args:
        file: CSV or JSONL; perhaps with labels of this rater and others.
        rater: who labels.

    Raises:
        ArmliteError: the file is of no such kind, or holds something else.
    """

    def __init__(self, file: Path, rater: str):
        if file.suffix.lower() not in SUFFIXES:
            raise ArmliteError(f"--out {file} must end in {' or '.join(SUFFIXES)}")
        self.file, self.rater = file, rater
        self.given: dict[str, str] = {}
        """Id -> this rater's label; the empty one: skipped."""
        self._fields: Sequence[str] = FIELDS
        if not file.is_file() or not file.stat().st_size:
            return
        self._fields = _header(file)
        if not {"id", "label", "rater"} <= set(self._fields):
            raise ArmliteError(f"{file} holds no labels (id, label, rater): give another --out")
        self._mend()
        for row in read_file("labels", file):
            if isinstance(row, Unreadable):
                raise row.error
            if str(row.get("rater") or "") == rater:
                self.given[row.text("id")] = str(row.get("label") or "")

    def _mend(self) -> None:
        """End the last line where it has no end, or take it out where a power cut has left a part of it."""
        content = self.file.read_bytes()
        if content.endswith(b"\n"):
            return
        whole, _, last = content.rpartition(b"\n")
        if self.file.suffix.lower() == ".jsonl":
            complete = last.rstrip().endswith(b"}")
        else:
            complete = not whole or len(last.split(b",")) >= len(self._fields)
        with self.file.open("r+b") as file:
            if complete:
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
            else:
                file.truncate(len(whole) + bool(whole))

    def add(self, task: Task, label: str, seconds: float, shown: Sequence[int]) -> None:
        """Keep a label; it is on the disk when this returns.

        Raises:
            ArmliteError: the file cannot be written to.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        places = " ".join(map(str, shown))
        row = dict(zip(FIELDS, (task.id, label, self.rater, now, round(seconds, 1), places), strict=True))
        if self.file.suffix.lower() == ".jsonl":
            text = json.dumps(row, ensure_ascii=False) + "\n"
        else:
            lines = io.StringIO(newline="")
            writer = csv.DictWriter(lines, self._fields, extrasaction="ignore")
            if not self.file.exists() or not self.file.stat().st_size:
                writer.writeheader()
            writer.writerow(row)
            text = lines.getvalue()
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as target:
                target.write(text.encode())
                target.flush()
                os.fsync(target.fileno())
        except OSError as error:
            raise ArmliteError(f"cannot write {self.file}: {error.strerror or error}") from error
        self.given[task.id] = label


def _header(file: Path) -> Sequence[str]:
    """Names of the columns; none where the file is something else."""
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        first = next(lines, "")
    if file.suffix.lower() == ".csv":
        return next(csv.reader([first]), [])
    try:
        found = json.loads(first)
    except ValueError:
        return ()
    return tuple(found) if isinstance(found, dict) else ()


def order_of(task: Task, rater: str, seed: int = 0) -> tuple[int, ...]:
    """The responses' numbers in the order in which a rater sees them."""
    order = list(range(1, len(task.responses) + 1))
    random.Random(f"label/{seed}/{rater}/{task.id}").shuffle(order)
    return tuple(order)


def label_of_key(task: Task, key: str, order: Sequence[int]) -> str | None:
    """What a key, or a typed number, says of a task; None: nothing."""
    if task.kind in ("pairwise", "listwise"):
        if key == "t":
            return "tie"
        return str(order[int(key) - 1]) if key.isdecimal() and 1 <= int(key) <= len(order) else None
    if task.kind == "pointwise":
        return {"y": "true", "n": "false"}.get(key)
    return {"0": "10"}.get(key, key) if len(key) == 1 and key.isdecimal() else None


@dataclass
class Tally:
    """What came of a session."""

    labelled: int = 0
    skipped: int = 0
    left: int = 0
    unshown: list[str] = field(default_factory=list)
    """Why rows cannot be shown."""


@dataclass
class Session:
    """Asks for labels until there is nothing left or the person has had enough.

    Args:
        console: where rows are drawn.
        keys: as they are pressed; at its end the session ends.
        labels: where they go.
        root: folder that the tasks' paths are relative to.
        seed: of the order of responses.
    """

    console: Console
    keys: Iterator[bytes]
    labels: Labels
    root: Path
    seed: int = 0

    def run(self, tasks: Sequence[Task]) -> Tally:
        """Go through the tasks that have no label of this rater."""
        tally = Tally()
        done = [task for task in tasks if task.id in self.labels.given]
        path = [*done, *(task for task in tasks if task.id not in self.labels.given)]
        at = len(done)
        while at < len(path):
            step = self._one(path[at], f"{at + 1} of {len(path)}")
            if step == "quit":
                break
            if step in ("next", "back"):
                at = max(0, at - 1) if step == "back" else at + 1
            else:
                tally.unshown.append(step)
                path.pop(at)
        known = [self.labels.given.get(task.id) for task in tasks]
        tally.labelled, tally.skipped = sum(bool(label) for label in known), sum(label == "" for label in known)
        tally.left = len(tasks) - tally.labelled - tally.skipped - len(tally.unshown)
        return tally

    def _one(self, task: Task, place: str) -> str:
        """Show a row and take its label: `next`, `back` or `quit`, or why it cannot be shown."""
        order = order_of(task, self.labels.rater, self.seed)
        self.console.file.write("\x1b[H\x1b[2J")
        try:
            self._draw(task, order, place)
        except InputError as error:
            return str(error)
        start, typed = time.monotonic(), ""
        while True:
            self._prompt(task, typed)
            key = next(self.keys, b"q").decode("utf-8", "replace")
            if key in QUIT:
                self._say("\n")
                return "quit"
            if key in ("b", "s", "?"):
                if key == "?":
                    self._say(f"\r\x1b[2K{MORE}\n")
                    continue
                if key == "s":
                    self.labels.add(task, "", time.monotonic() - start, order)
                return "back" if key == "b" else "next"
            if len(order) > 9 and key != "t":  # a number of two digits, ended by Enter
                if key not in "\r\n":
                    typed = typed[:-1] if key in "\x7f\b" else (typed + key)[:3] if key.isdecimal() else typed
                    continue
                key, typed = typed, ""
            if (label := label_of_key(task, key, order)) is not None:
                self.labels.add(task, label, time.monotonic() - start, order)
                return "next"

    def _draw(self, task: Task, order: Sequence[int], place: str) -> None:
        """The row without anything that tells an answer."""
        blind = task.model_copy(
            update={
                "id": place,
                "responses": tuple(task.responses[number - 1] for number in order),
                "gold": None,
                "source": "",
                "meta": {},
            }
        )
        memory = Episode.open(blind, EpisodeSettings(tools=()), self.root).memory
        if blind.document is not None:  # as whoever labels would open it
            blind = blind.model_copy(update={"document": os.path.relpath(self.root / blind.document)})
        drawn = Trajectory(
            task=blind,
            order=tuple(range(1, len(order) + 1)),
            prompt_images=tuple(memory.images),
            images=tuple(memory.infos.values()),
            stop=StopReason.NO_ANSWER,
        )
        draw_task(self.console, drawn, lambda info: memory.images[info.id], shown=None)

    def _prompt(self, task: Task, typed: str) -> None:
        now = self.labels.given.get(task.id)
        known = "" if now is None else f" · so far: {now or 'skipped'}"
        self._say(f"\r\x1b[2K{typed or HELP[task.kind] + COMMON + known}"[: self.console.width + 4])

    def _say(self, words: str) -> None:
        with suppress(BrokenPipeError):
            self.console.file.write(words)
            self.console.file.flush()
