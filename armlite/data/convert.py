"""From the rows of a published set to a file of Tasks, with their images beside it.

A row that breaks its schema, or whose image file is missing, is counted, written down with its reason and left out;
nothing else is. `armlite data convert` and the benchmark runs call `convert`; `outcomes` is shared with `check`.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from armlite.data.dataset import DataSet
from armlite.data.files import Unreadable, read, unpack_hint
from armlite.data.pictures import Pictures
from armlite.data.row import Row
from armlite.errors import ArmliteError, DataError, first_fault
from armlite.store import whole_file
from armlite.types import Task

REJECTS = "rejects.jsonl"
"""Beside the task file: `row`, `file`, `field` and `why` of each row that was left out."""
MISSING = "missing.txt"
"""Beside the task file: the files that rows name and that are not there, one a line."""
NAMED = 5
"""Missing files that an error names; all are in `missing.txt`."""


@dataclass(frozen=True)
class Outcome:
    """What became of one row: tasks, or a fault; the tasks are of no use where files are not there."""

    file: Path
    number: int
    tasks: tuple[Task, ...] = ()
    fault: DataError | None = None
    missing: tuple[Path, ...] = ()

    def reject(self) -> dict[str, Any]:
        """The row's line in `rejects.jsonl`."""
        if self.fault is not None:
            return {"row": self.fault.row, "file": self.file.name, "field": self.fault.field, "why": self.fault.why}
        names = ", ".join(map(str, self.missing))
        return {"row": self.number, "file": self.file.name, "field": "(file)", "why": f"there is no file {names}"}


@dataclass(frozen=True)
class Converted:
    """Counts of a conversion: `rows` = rows with tasks + `bad` + `incomplete`."""

    rows: int
    tasks: int
    bad: int
    """Rows that break their schema."""
    incomplete: int
    """Rows that name files which are not there."""
    repeated: int
    """Tasks whose id was taken, so that they got `#2`, `#3` ..."""
    missing: tuple[Path, ...]
    """The files that are not there, each once."""
    lost_documents: int = 0
    """Tasks whose document is not there, so that a picture of its pages is all they have."""


def outcomes(dataset: DataSet, path: Path | None, out: Path | None) -> Iterator[Outcome]:
    """What becomes of each row, in order; ids are the set's own.

    Args:
        path: the set's folder or file; None: the hub.
        out: folder of the task file; None: no image is written.

    Raises:
        ArmliteError: there are no rows to be had, or a file as a whole is damaged.
    """
    pictures = Pictures(out, links=path is None)
    for row in read(dataset, path, pictures):
        if isinstance(row, Unreadable):
            yield Outcome(row.file, int(row.error.row), fault=row.error)
            continue
        pictures.missing.clear()
        try:
            tasks = tuple(_tasks(dataset, row))
        except DataError as fault:
            yield Outcome(row.file, row.number, fault=fault)
            continue
        missing = tuple(dict.fromkeys(pictures.missing))
        yield Outcome(row.file, row.number, tasks, missing=missing)


def _tasks(dataset: DataSet, row: Row) -> Iterator[Task]:
    try:
        yield from dataset.tasks(row)
    except ValidationError as error:  # what the set lets pass and the record does not is still the row's fault
        raise row.fail(*first_fault(error)) from error


def convert(
    dataset: DataSet,
    path: Path | None,
    out: Path,
    n: int | None = None,
    strict: bool = False,
    on_row: Callable[[int], None] = lambda rows: None,
) -> Converted:
    """Write a set's tasks to a JSONL file that appears whole or not at all, images in `images/` beside it.

    Beside it too, where there is something to tell: `rejects.jsonl` and `missing.txt`; those of an earlier conversion
    into the same folder go.

    Args:
        path: the set's folder, or one of its files; None: the hub.
        out: the file to write; paths in the tasks are relative to its folder.
        n: stop after so many tasks.
        strict: stop at the first row that would be left out, and write no task file.
        on_row: told the number of rows so far.

    Raises:
        ArmliteError: no rows, no task, or a place that cannot be written to.
        DataError: strict, and a row breaks its schema or names a file that is not there.
    """
    out = Path(out)
    found = outcomes(dataset, path, out.parent)
    first = next(found, None)  # a wrong folder leaves nothing behind
    tasks, counts = _Ids(), dict.fromkeys(("rows", "bad", "incomplete"), 0)
    missing: dict[Path, None] = {}
    lost = 0
    rejects = out.parent / REJECTS
    with whole_file(out) as file:
        with whole_file(rejects) as refused:
            for outcome in chain([first] if first else [], found):
                counts["rows"] += 1
                on_row(counts["rows"])
                if outcome.fault or outcome.missing:
                    counts["bad" if outcome.fault else "incomplete"] += 1
                    missing.update(dict.fromkeys(outcome.missing))
                    _refuse(dataset, outcome, refused, strict)
                    continue
                behind = dataset.use == "benchmark" and counts["bad"] + counts["incomplete"] > 0
                for task in outcome.tasks[: None if n is None else n - tasks.count]:
                    kept = _placed(task, counts["rows"] - 1) if behind else task
                    file.write(tasks.tell_apart(kept).to_json().encode() + b"\n")
                    lost += bool(task.meta.get("lost_document"))
                if tasks.count == n:
                    break
        result = Converted(
            **counts, tasks=tasks.count, repeated=tasks.repeated, missing=tuple(missing), lost_documents=lost
        )
        _tell(rejects, out.parent / MISSING, result)
        if not tasks.count:
            raise ArmliteError(_nothing(dataset, path, rejects, result))
    return result


def _placed(task: Task, position: int) -> Task:
    """The task with its row's place in the set, which the tasks before it no longer tell."""
    return task.model_copy(update={"meta": {**task.meta, "position": position}})


class _Ids:
    """Numbers the tasks whose id an earlier one has."""

    def __init__(self) -> None:
        self.count = self.repeated = 0
        self._last: dict[str, int] = {}

    def tell_apart(self, task: Task) -> Task:
        """The task with an id that no earlier one has."""
        self.count += 1
        name = task.id
        while name in self._last:
            self._last[task.id] += 1
            name = f"{task.id}#{self._last[task.id]}"
        self._last[name] = 1
        if name == task.id:
            return task
        self.repeated += 1
        return task.model_copy(update={"id": name})


def _refuse(dataset: DataSet, outcome: Outcome, refused: BinaryIO, strict: bool) -> None:
    reject = outcome.reject()
    if strict:
        raise DataError(f"{dataset.name} ({outcome.file.name})", outcome.number, reject["field"], reject["why"])
    refused.write(json.dumps(reject, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def _tell(rejects: Path, listing: Path, counts: Converted) -> None:
    if not rejects.stat().st_size:
        rejects.unlink()
    if counts.missing:
        with whole_file(listing) as file:
            file.writelines(os.fsencode(path) + b"\n" for path in counts.missing)
    else:
        listing.unlink(missing_ok=True)


def missing_words(missing: tuple[Path, ...], path: Path | None) -> str:
    """The first few files that are not there, and how to unpack what lies packed beside (zips were looked into)."""
    named = ", ".join(map(str, missing[:NAMED]))
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return f"{named}{more}.{unpack_hint(path, but=('.zip',))}"


def _nothing(dataset: DataSet, path: Path | None, rejects: Path, counts: Converted) -> str:
    if not counts.rows:
        return f"{dataset.name} has no rows at {path or dataset.hub}"
    said = f"none of the {counts.rows} rows of {dataset.name} became a task"
    if counts.missing:
        return f"{said}; {len(counts.missing)} files are not there: {missing_words(counts.missing, path)}"
    return f"{said}; {rejects} says why, for example: {json.loads(rejects.open(encoding='utf-8').readline())['why']}"
