"""Writes an evaluation's judgments down in a thread of its own, beside the requests: all that have come meanwhile at
once, since a disk takes as long to be sure of one row as of thirty.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread
from types import TracebackType
from typing import Self

from PIL import Image

from armlite.errors import InputError
from armlite.images import image_source, is_as_stored, open_image
from armlite.journal import Journal
from armlite.memory import image_file
from armlite.store import Saved, relative
from armlite.types import Trajectory

WAITING = 64
"""Judgments that may wait to be written; then judging waits for the disk."""


class Writer:
    """Use as a context: at its end everything is written, also where it ends by an error or an interrupt.

    Args:
        journal: of the evaluation; nobody else writes to it meanwhile.
    """

    def __init__(self, journal: Journal):
        self._journal = journal
        self._given: SimpleQueue[tuple[Saved, Mapping[str, Image.Image], Path] | None] = SimpleQueue()
        self._places = BoundedSemaphore(WAITING)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._work, name="armlite-writer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given.put(None)
        self._thread.join()
        if error is None:
            self._check()

    def add(self, row: Saved, images: Mapping[str, Image.Image], root: Path) -> None:
        """Keep a judgment.

        Args:
            images: file name -> pixels.
            root: folder that the task's paths are relative to.

        Raises:
            ArmliteError: an earlier one could not be written.
        """
        self._check()
        self._places.acquire()
        self._given.put((row, images, root))

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        over = False
        while not over:
            batch = [self._given.get()]
            while not self._given.empty():
                batch.append(self._given.get())
            over = batch[-1] is None
            wanted = [entry for entry in batch if entry is not None]
            for _ in wanted:
                self._places.release()
            try:
                if wanted and self._error is None:
                    self._write(wanted)
            except BaseException as error:  # raised again in the thread that judges
                self._error = error

    def _write(self, batch: list[tuple[Saved, Mapping[str, Image.Image], Path]]) -> None:
        for row, _, root in batch:
            link_pictures(row.trajectory, root, self._journal.folder)
        images = {name: image for _, given, _ in batch for name, image in given.items()}
        self._journal.add_all([row for row, _, _ in batch], images)


def link_pictures(trajectory: Trajectory, root: Path, folder: Path) -> None:
    """Let the run's `images/` point to the task's own files where these hold the very pixels of the record.

    A PNG of each would double a large benchmark's size and take longer than some judgments; pictures that were turned
    or flattened on opening, and file systems without links, get one all the same.
    """
    infos = {info.id: info for info in trajectory.images}
    for path, name in zip(trajectory.task.images, trajectory.prompt_images, strict=False):
        target = folder / "images" / infos[name].file
        if target.is_symlink() and not target.exists():
            target.unlink()  # its file has gone: what is written now must not be written there
        if target.exists():
            continue
        source = image_source(root, path)
        with suppress(OSError, InputError):  # no links here, or the picture has gone meanwhile
            if is_as_stored(source) and image_file(open_image(source)) == infos[name].file:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(relative(source, target.parent))
