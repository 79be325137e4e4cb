"""What a command leaves behind: a work folder while it runs, then the output, the rejects and the counts.

The work folder `OUT.work/` holds a row for each finished piece of work, so that a command that was killed goes on where
it stopped and loses at most the batch in flight; it goes away when the whole output is there. What a row means is the
commands' own business.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.store import TORN, write_atomic
from armlite.types import Task

GONE = 8
"""So many tasks in a row that a model could not be asked about: its server has gone, not one request gone wrong."""


class Work:
    """The state of one command.

    Args:
        out: the file that will be made.
        settings: what decides the result. Files it depends on go in as `digest(file)`. Going on with other settings is
            refused.

    Raises:
        ArmliteError: `out` exists, or was begun with other settings.
    """

    def __init__(self, out: Path, settings: dict[str, Any]):
        self.out, self.folder = out, out.with_name(out.name + ".work")
        self.file = self.folder / "rows.jsonl"
        if out.exists():
            raise ArmliteError(f"{out} exists; give another --out")
        saved = self.folder / "settings.json"
        settings = json.loads(json.dumps(settings))
        if saved.is_file() and self.file.is_file():
            old = json.loads(saved.read_text(encoding="utf-8"))
            for key in {**old, **settings}:
                if old.get(key) != settings.get(key):
                    raise ArmliteError(
                        f"{out} was begun with {key} {old.get(key)!r}, now it is {settings.get(key)!r}: "
                        f"give another --out, or delete {self.folder} to begin anew"
                    )
        else:
            write_atomic(saved, json.dumps(settings))
        for torn in self.folder.rglob(TORN):
            torn.unlink()
        _cut_torn_line(self.file)
        self._unasked = 0

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows there are, by their `id`."""
        if not self.file.is_file():
            return {}
        with self.file.open("rb") as lines:
            return {row["id"]: row for row in map(json.loads, lines)}

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Keep rows; after this call they survive a kill."""
        with self.file.open("ab") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())

    def check_reach(self, complaints: Iterable[str | None]) -> None:
        """Stop where a model's server has gone, instead of rejecting all that is left.

        Args:
            complaints: for each task of a batch why the model could not be asked, if so.

        Raises:
            ArmliteError: `GONE` tasks in a row could not be asked.
        """
        for complaint in complaints:
            self._unasked = self._unasked + 1 if complaint else 0
            if self._unasked >= GONE:
                raise ArmliteError(
                    f"the model could not be asked {GONE} times in a row ({complaint}); what is done is kept: "
                    "the same command goes on"
                )

    def finish(self, lines: Iterable[str], rejects: Sequence[dict[str, Any]]) -> None:
        """Write the output, after it was written `OUT.rejects.jsonl`, at once each; the work folder goes away."""
        write_atomic(rejects_of(self.out), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rejects))
        write_atomic(self.out, "".join(lines))
        self.forget()

    def forget(self) -> None:
        """Remove the work folder."""
        with suppress(OSError):
            shutil.rmtree(self.folder)


def rejects_of(out: Path) -> Path:
    """`pairs.rejects.jsonl` of `pairs.jsonl`."""
    return out.with_name(out.stem + ".rejects.jsonl")


@dataclass
class Counts:
    """What went in, and what became of it: `in` is `kept` and all reasons of `rejected` together."""

    taken_in: int
    kept: int
    rejected: Counter[str] = field(default_factory=Counter)
    more: dict[str, Any] = field(default_factory=dict)
    """What a command has to say beyond the counts."""

    def __post_init__(self) -> None:
        if self.taken_in != self.kept + sum(self.rejected.values()):
            raise RuntimeError(f"counts do not add up: {self}")

    def as_json(self) -> dict[str, Any]:
        return {"in": self.taken_in, "kept": self.kept, "rejected": dict(self.rejected.most_common()), **self.more}


def digest(file: Path) -> str:
    """Hash of a file's content.

    Raises:
        ArmliteError: it cannot be read.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()[:32]
    except OSError as error:
        raise ArmliteError(f"cannot read {file}: {error.strerror or error}") from error


def moved(task: Task, root: Path, folder: Path) -> Task:
    """The task with its paths, relative to `root`, as seen from `folder`."""

    def there(path: str) -> str:
        return os.path.relpath(root / path, folder)

    document = there(task.document) if task.document else None
    return task.model_copy(update={"images": tuple(map(there, task.images)), "document": document})


def _cut_torn_line(file: Path) -> None:
    """Take away what a kill left after the last whole line."""
    if not file.is_file():
        return
    with file.open("r+b") as torn:
        end = torn.seek(0, os.SEEK_END)
        tail = b""
        while b"\n" not in tail and len(tail) < end:
            size = min(end, len(tail) + 65536)
            torn.seek(end - size)
            tail = torn.read(size)
        torn.truncate(end - len(tail) + tail.rfind(b"\n") + 1)
