"""Judgments that were made before: by content of the task, the model's fingerprint, and every setting that decides.

One JSONL file for each model and its settings, appended to; pictures beside it. What cannot be read in it, as a line
that a kill cut off, is judged again. Nothing is ever taken out: delete the folder to make room.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import ValidationError

from armlite.errors import ArmliteError
from armlite.evals.writer import Writer
from armlite.images import is_data_url
from armlite.journal import Journal, Key
from armlite.runner import Job
from armlite.store import Saved, file_digest, image_path
from armlite.types import StopReason

BESIDE = ("file", "digest", "columns", "n", "swap", "votes", "rate", "rank", "rubric")
"""Settings of a batch that a single judgment does not depend on: what they decide is in the task and its order."""
CONTENT = {"kind", "question", "responses", "options", "constraints", "numbers"}
"""Of a task, beside its files."""


class Cache:
    """What is known of one model under one set of rules.

    Args:
        folder: of all caches.
        settings: of the batch.
        model: as the user names it, a server's address included.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], model: str):
        own = {name: value for name, value in settings.items() if name not in BESIDE} | {"model": model}
        self._warm = bool(own["temperature"])
        self.file = folder / f"{_hash(own)[:32]}.jsonl"
        self._places: dict[str, tuple[int, int]] = {}
        """Key -> where its line begins and how long it is."""
        if self.file.is_file():
            with self.file.open("rb") as lines:
                at = 0
                for line in lines:
                    with suppress(ValueError, KeyError, TypeError):
                        self._places[json.loads(line[: line.index(b",")] + b"}")["key"]] = at, len(line)
                    at += len(line)

    def key(self, job: Job) -> str | None:
        """What a judgment is known by; None: a file of the task cannot be read.

        Its random stream is part of it only where there is one.
        """
        task, root = job.task, Path(job.root)
        content = task.model_dump(mode="json", include=CONTENT)
        try:
            content["images"] = [image if is_data_url(image) else _digest(root / image) for image in task.images]
            if task.document is not None:
                content["document"] = [Path(task.document).stem, _digest(root / task.document)]
        except (OSError, ArmliteError):
            return None
        return _hash([content, list(job.order), [task.id, job.rollout] if self._warm else None])

    def get(self, job: Job, key: str | None, out: Path) -> Saved | None:
        """The judgment as one of this job; its pictures come into the folder of `out`. None: there is none."""
        if key is None or key not in self._places:
            return None
        start, length = self._places[key]
        with self.file.open("rb") as file:
            file.seek(start)
            line = file.read(length)
        try:
            saved = Saved.from_json(json.dumps(json.loads(line)["saved"]))
        except (ValueError, KeyError, ValidationError):
            return None
        infos = [info for info in saved.trajectory.images if info.file]
        for info in infos:
            kept, target = image_path(self.file, info), image_path(out, info)
            if not os.path.lexists(target) and kept.exists():
                _link(kept, target)
            if not target.exists() and info.id not in saved.trajectory.prompt_images:
                return None  # somebody has tidied up
        mine = {"task": job.task, "rollout": job.rollout}
        return saved.model_copy(update={"trajectory": saved.trajectory.model_copy(update=mine), "cached": True})

    def put(self, known: Iterable[tuple[str, Saved]], file: Path) -> None:
        """Keep judgments that stand in a journal's file, with its pictures, but those that failed or were cut short."""
        lines = []
        for key, row in known:
            vote = row.trajectory
            if key in self._places or vote.fault is not None or vote.stop == StopReason.MODEL_ERROR or vote.cut_short:
                continue
            for info in row.trajectory.images:
                source, target = image_path(file, info), image_path(self.file, info)
                if not target.exists() and source.is_file() and not source.is_symlink():
                    _link(source, target)
            lines.append(f'{{"key":{json.dumps(key)},"saved":{row.to_json()}}}\n'.encode())
        if lines:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as target_file:
                target_file.write(b"".join(lines))


class CachingWriter(Writer):
    """A writer that keeps what it writes in a cache, too.

    Args:
        journal: as for `Writer`.
        cache: None: none.
    """

    def __init__(self, journal: Journal, cache: Cache | None):
        super().__init__(journal)
        self._cache = cache
        self.keys: dict[Key, str | None] = {}
        """Task id and rollout -> key, of judgments that are to be kept."""

    def _write(self, batch: list[tuple[Saved, Mapping[str, Image.Image], Path]]) -> None:
        super()._write(batch)
        if self._cache is not None:
            rows = [(self.keys.pop((r.trajectory.task.id, r.trajectory.rollout), None), r) for r, _, _ in batch]
            self._cache.put([(key, row) for key, row in rows if key is not None], self._journal.file)


def _hash(value: Any) -> str:
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ).hexdigest()


def _digest(path: Path) -> str:
    """Hash of a file, or of a folder's files."""
    if path.is_dir():
        return _hash([[file.name, _digest(file)] for file in sorted(path.iterdir()) if file.is_file()])
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _file_digest(path: Path, size: int, time: int) -> str:
    """Of a file as it was at a time: several rows may show one picture."""
    return file_digest(path)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        try:
            os.link(source, target)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, target)
