"""Which trajectories to look at, and where their pixels are; mistakes in the choice are the user's."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from armlite import store
from armlite.errors import ArmliteError, nearest
from armlite.store import Saved
from armlite.types import ImageInfo

RowPixels = Callable[[Saved, ImageInfo], Image.Image]
"""Opens the pixels of an image of a row; raises ArmliteError where they are gone."""


def load(path: Path | None, demo: bool = False) -> tuple[list[Saved], RowPixels]:
    """All rows below a path, or the demo's, and how to open their images.

    Raises:
        ArmliteError: nothing to read.
        DataError: a row that breaks its schema.
    """
    if demo:
        if path is not None:
            raise ArmliteError(f"--demo shows its own trajectory; leave out {path}")
        from armlite.view.demo import demo as make

        row, images = make()
        return [row], lambda _, info: images[info.file]
    if path is None:
        raise ArmliteError("name a trajectory file or a run directory, or use --demo")
    rows = list(store.read(path))
    if not rows:
        raise ArmliteError(f"{path} holds no trajectories")
    return rows, from_disk


def from_disk(row: Saved, info: ImageInfo) -> Image.Image:
    """Open an image of a row that `store.read` gave."""
    if row.path is None:
        raise ValueError("this row was not read from a file")
    return store.open_image(row.path, info)


def choose(rows: Sequence[Saved], index: int | None = None, id: str | None = None) -> list[Saved]:
    """The row with a number (from 1), all rows of a task id (its rollouts), or everything.

    Raises:
        ArmliteError: no such number, no such id, or both asked for.
    """
    if index is not None and id is not None:
        raise ArmliteError("use either --index or --id")
    if index is not None:
        if not 1 <= index <= len(rows):
            raise ArmliteError(f"--index {index} is out of range; there are trajectories 1 to {len(rows)}")
        return [rows[index - 1]]
    if id is None:
        return list(rows)
    found = [row for row in rows if row.trajectory.task.id == id]
    if not found:
        raise ArmliteError(f"no trajectory has the id {id!r}.{nearest(id, {row.trajectory.task.id for row in rows})}")
    return found
