"""Task records in JSONL files: reading with the line named when one breaks its schema, writing whole files only."""

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from armlite.errors import ArmliteError, DataError
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
                raise DataError(str(path), number, *first_fault(error)) from error
            if task.id in seen:
                raise DataError(str(path), number, "id", f"{task.id!r} stands on an earlier line too")
            seen.add(task.id)
            tasks.append(task)
    if not tasks:
        raise ArmliteError(f"task file {path} is empty")
    return tasks


def first_fault(error: ValidationError) -> tuple[str, str]:
    """The first field that broke a record's schema, and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    return ".".join(map(str, first["loc"])) or "(row)", first["msg"].removeprefix("Value error, ")


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


@contextmanager
def whole_file(path: Path | str) -> Iterator[BinaryIO]:
    """A file to write bit by bit that gets its name at the end of the block, and vanishes if the block raises.

    Raises:
        ArmliteError: the place cannot be written to.
    """
    target = Path(os.path.realpath(path))
    part = target.parent / f".{uuid.uuid4().hex[:12]}.tmp"
    if target.exists() and not target.is_file():
        raise ArmliteError(f"cannot write {path}: it is not a regular file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = open(part, "xb")  # noqa: SIM115
    except OSError as error:
        raise ArmliteError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def family(task: Task) -> str:
    """The group a task is reported under: the last part of its source."""
    return task.source.rsplit("/", 1)[-1] or "all"
