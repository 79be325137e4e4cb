"""Task records in JSONL files: reading with the line named when one breaks its schema, writing whole files only."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from armlite.errors import ArmliteError, DataError
from armlite.store import write_atomic
from armlite.types import Task


def read_tasks(path: Path | str) -> list[Task]:
    """All tasks of a JSONL file; their paths are relative to its folder.

    Raises:
        ArmliteError: no such file, or an empty one.
        DataError: a line that is no Task; names file, line and field.
    """
    path = Path(path)
    if not path.is_file():
        raise ArmliteError(f"task file {path} does not exist")
    tasks = []
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                task = Task.from_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"])) or "(row)"
                raise DataError(str(path), number, field, first["msg"].removeprefix("Value error, ")) from error
            if task.id in seen:
                raise DataError(str(path), number, "id", f"{task.id!r} stands on an earlier line too")
            seen.add(task.id)
            tasks.append(task)
    if not tasks:
        raise ArmliteError(f"task file {path} is empty")
    return tasks


def write_tasks(path: Path | str, tasks: Iterable[Task]) -> int:
    """Write a JSONL file at once; returns the number of tasks."""
    lines = [task.to_json() + "\n" for task in tasks]
    write_atomic(path, "".join(lines))
    return len(lines)
