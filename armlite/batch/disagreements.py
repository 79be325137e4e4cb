"""The judgments of a batch that somebody disagrees with, as files for `armlite view`; and whether labels are older than
the judge.
"""

import json
import os
import shutil
import warnings
from collections.abc import Collection
from pathlib import Path

from armlite.batch.ranking import PAIR
from armlite.journal import SETTINGS
from armlite.judge import TRAJECTORIES
from armlite.models.places import folders_of
from armlite.store import image_path, read, save


def keep(batch: Path, ids: Collection[str], out: Path) -> int:
    """Copy the judgments of some tasks, with their pictures; returns how many.

    Raises:
        ArmliteError: the batch has no judgments, or the folder cannot be written to.
    """
    source, target = batch / TRAJECTORIES, out / TRAJECTORIES
    tasks = ((row, row.trajectory.task) for row in read(source))
    rows = [row for row, task in tasks if task.id in ids or (task.numbers and PAIR.sub("", task.id) in ids)]
    for info in {info.file: info for row in rows for info in row.trajectory.images}.values():
        old, new = image_path(source, info), image_path(target, info)
        if old.exists() and not new.exists():
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(os.path.realpath(old), new)
    save(target, rows)
    return len(rows)


def warn_of_age(batch: Path, labels: Path) -> None:
    """Say where labels are older than a local judge's weights: it may have been trained on them."""
    settings = batch / SETTINGS
    model = json.loads(settings.read_text(encoding="utf-8")).get("model") if settings.is_file() else None
    if not model or not Path(model).exists():
        return
    made = max((file.stat().st_mtime for folder in folders_of(model) for file in folder.iterdir()), default=0.0)
    if labels.stat().st_mtime < made:
        warnings.warn(f"{labels} is older than {model}, which may have been trained on it", UserWarning, stacklevel=2)
