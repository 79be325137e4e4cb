"""The judgments of a batch that somebody disagrees with, as files for `armlite view`; and whether labels are older than
the judge.
"""

import json
import os
import shutil
import warnings
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from armlite.batch.ranking import PAIR
from armlite.batch.written import VERDICTS
from armlite.data.files import Unreadable, read_file
from armlite.journal import SETTINGS
from armlite.judge import TRAJECTORIES
from armlite.models.places import folders_of
from armlite.store import image_path, read, save


def keep(batch: Path, ids: Collection[str], out: Path) -> int:
    """Copy the judgments of some tasks, with their pictures, of a panel those of all its models; returns how many.

    Raises:
        ArmliteError: the batch has no judgments, or the folder cannot be written to.
    """
    source, target = batch / TRAJECTORIES, out / TRAJECTORIES
    tasks = ((row, row.trajectory.task) for row in read(source if source.is_file() else batch))
    rows = [row for row, task in tasks if task.id in ids or (task.numbers and PAIR.sub("", task.id) in ids)]
    for file, info in {info.file: (row.path, info) for row in rows for info in row.trajectory.images}.values():
        old, new = image_path(file, info), image_path(target, info)
        if old.exists() and not new.exists():
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(os.path.realpath(old), new)
    save(target, rows)
    return len(rows)


def warn_of_age(batch: Path, labels: Path) -> str:
    """Warn where labels are older than a local judge's weights, which may have been trained on them, or verdicts are.

    Returns:
        When labels were given (by their column `time`, else by the file's time), verdicts and weights were made.
    """
    given = _times(labels)
    said = [f"labels of {_day(given[0])}" + (f" to {_day(given[-1])}" if _day(given[0]) != _day(given[-1]) else "")]
    verdicts = batch / VERDICTS if batch.is_dir() else batch
    journal = verdicts.with_name(TRAJECTORIES)  # verdicts are written anew whenever a batch goes on
    judged = (journal if journal.is_file() else verdicts).stat().st_mtime
    said.append(f"verdicts of {_day(judged)}")
    settings = verdicts.with_name(SETTINGS)
    model = json.loads(settings.read_text(encoding="utf-8")).get("model") if settings.is_file() else None
    if model and Path(model).exists():
        weights = [f for folder in folders_of(model) for f in folder.iterdir() if f.suffix in (".safetensors", ".bin")]
        made = max((file.stat().st_mtime for file in weights), default=0.0)
        said.append(f"weights of {_day(made)}")
        if older := sum(when < made for when in given):
            share = "are all" if older == len(given) else f"are in part ({older:,} of {len(given):,})"
            warnings.warn(
                f"the labels {share} older than the weights of {model}, which may have been trained on them",
                UserWarning,
                stacklevel=2,
            )
        if judged < made:
            warnings.warn(
                f"the verdicts are older than the weights of {model}: judge again to compare it as it is now",
                UserWarning,
                stacklevel=2,
            )
    return ", ".join(said)


def _times(labels: Path) -> list[float]:
    """When each label was given, in seconds, in order; all at the file's time where it does not say."""
    rows = [row for row in read_file("labels", labels) if not isinstance(row, Unreadable)]
    found = []
    for row in rows:
        try:
            found.append(datetime.fromisoformat(str(row.get("time"))).timestamp())
        except ValueError:
            found.append(labels.stat().st_mtime)
    return sorted(found)


def _day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")
