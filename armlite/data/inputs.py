"""Whether the files that tasks name can be opened: asked before long work, in parallel, not amid it.

A picture is read to its end, at an eighth of its size where its format allows; a document is opened, its pages are not
read. What still fails later is a fault of its own job (`armlite.runner`).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from armlite.data.traces import read_traces
from armlite.errors import InputError
from armlite.images import check_image, image_source
from armlite.tools.documents.pages import open_document
from armlite.types import Task


def unreadable_tasks(tasks: Sequence[Task], root: Path) -> dict[str, str]:
    """Task id -> what is wrong with the first of its files that cannot be opened; nothing for all others.

    Args:
        root: folder that the tasks' paths are relative to.
    """
    images = _complaints(check_image, {path: image_source(root, path) for task in tasks for path in task.images})
    documents = _complaints(open_document, {task.document: root / task.document for task in tasks if task.document})
    said = images | documents
    files = {task.id: (*task.images, *([task.document] if task.document else [])) for task in tasks}
    return {task: said[bad[0]] for task, names in files.items() if (bad := [name for name in names if name in said])}


def unreadable_traces(path: Path | str) -> dict[str, str]:
    """`TASK/ROLLOUT` -> what is wrong with the first picture of a trace that cannot be opened."""
    files = {trace.name: trace.files() for trace in read_traces(path)}
    said = _complaints(check_image, {str(file): file for some in files.values() for file in some})
    return {n: said[bad[0]] for n, some in files.items() if (bad := [str(f) for f in some if str(f) in said])}


def _complaints(check: Callable[[Any], Any], files: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with those of some files that cannot be opened."""

    def complaint(path: Any) -> str | None:
        try:
            check(path)
        except InputError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1)), "armlite-inputs") as pool:
        said = dict(zip(files, pool.map(complaint, files.values()), strict=True))
    return {name: why for name, why in said.items() if why is not None}
