"""Task records in JSONL files: reading with the line named when one breaks its schema, writing whole files only."""

from collections.abc import Iterable
from pathlib import Path

from armlite.errors import ArmliteError, DataError
from armlite.images import is_data_url
from armlite.jsonl import read_records
from armlite.store import relative, whole_file
from armlite.types import Task


def check_tasks(path: Path) -> None:
    """See that there is such a file.

    Raises:
        ArmliteError: there is none.
    """
    if not path.is_file():
        raise ArmliteError(f"task file {path} does not exist")


def read_tasks(path: Path | str) -> list[Task]:
    """All tasks of a JSONL file, or of one JSON array; their paths are relative to its folder.

    Raises:
        ArmliteError: no such file, or an empty one.
        DataError: a line that is no Task; names file, line and field.
    """
    path = Path(path)
    check_tasks(path)
    tasks = []
    seen: set[str] = set()
    for number, task in read_records(path, Task):
        if task.id in seen:
            raise DataError(str(path), number, "id", f"{task.id!r} stands on an earlier line too")
        seen.add(task.id)
        tasks.append(task)
    if not tasks:
        raise ArmliteError(f"task file {path} is empty")
    return tasks


def write_tasks(path: Path | str, tasks: Iterable[Task]) -> int:
    """Write a JSONL file, which appears whole or not at all; returns the number of tasks.

    Tasks are written as they come, so that a generator of many takes little memory.

    Raises:
        ArmliteError: the place cannot be written to.
    """
    made = 0
    with whole_file(path) as file:
        for task in tasks:
            file.write(task.to_json().encode() + b"\n")
            made += 1
    return made


def moved(task: Task, root: Path, folder: Path) -> Task:
    """The task with its paths, relative to `root`, as seen from `folder`."""

    def there(path: str) -> str:
        return path if is_data_url(path) else relative(root / path, folder)

    document = there(task.document) if task.document else None
    return task.model_copy(update={"images": tuple(map(there, task.images)), "document": document})


def family(task: Task) -> str:
    """The group a task is reported and shown under: the last part of its source, else its kind."""
    return task.source.rsplit("/", 1)[-1] or task.kind.replace("_", " ")


def calls_needed(task: Task) -> int | None:
    """The calls without which a task is a guess, where its maker says so in `meta["needs"]`."""
    needs = task.meta.get("needs")
    return needs if isinstance(needs, int) else None
