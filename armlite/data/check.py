"""Compares a download of a published set, row by row, with the schema and the published counts; writes nothing.

`armlite data check` prints what `check` finds.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlite.data.convert import outcomes
from armlite.data.dataset import DataSet
from armlite.errors import ArmliteError

LISTED = 1000
"""Problems, and files that are not there, that a report lists; all are counted."""


@dataclass(frozen=True)
class Report:
    """What a check found."""

    set: str
    rows: int
    bad: int
    """Rows that break their schema."""
    missing_images: int
    """Files that rows name and that are not there; no fault of the schema."""
    expected_rows: int | None
    """As published; None: not known."""
    differs: tuple[str, ...]
    """Counts that are not the published ones, in words; no failure."""
    problems: tuple[dict[str, Any], ...]
    """`file`, `row`, `field`, `why` of the bad rows, at most 1,000."""
    missing: tuple[str, ...]
    """The files that are not there, at most 1,000."""
    files: tuple[dict[str, Any], ...]
    """`file`, `rows`, `bad`, and `part`: the name under which its count is published."""
    tasks: int
    repeated_ids: int
    """Tasks whose id an earlier one has; `convert` tells them apart."""
    kinds: dict[str, int]
    templates: dict[str, int]
    """Where the set's rows come in several text templates: how many of each."""


def check(dataset: DataSet, path: Path | None, on_row: Callable[[int], None] = lambda rows: None) -> Report:
    """Read every row of a set as `convert` would.

    Args:
        path: the set's folder, or one of its files; None: the hub.
        on_row: told the number of rows so far.

    Raises:
        ArmliteError: there are no rows, or a file as a whole is damaged.
    """
    rows: Counter[Path] = Counter()
    bad: Counter[Path] = Counter()
    kinds: Counter[str] = Counter()
    templates: Counter[str] = Counter()
    ids: set[str] = set()
    missing: dict[Path, None] = {}
    problems: list[dict[str, Any]] = []
    for number, outcome in enumerate(outcomes(dataset, path, None), 1):
        rows[outcome.file] += 1
        missing.update(dict.fromkeys(outcome.missing))
        if outcome.fault is not None:
            bad[outcome.file] += 1
            problems += [outcome.reject()] if len(problems) < LISTED else []
        kinds.update(task.kind for task in outcome.tasks)
        ids.update(task.id for task in outcome.tasks)
        templates.update(str(task.meta["template"]) for task in outcome.tasks if "template" in task.meta)
        on_row(number)
    if not rows:
        raise ArmliteError(f"{dataset.name} has no rows at {path or dataset.hub}")
    files, expected, differs = _counts(dataset, rows, bad)
    return Report(
        set=dataset.name,
        rows=rows.total(),
        bad=bad.total(),
        missing_images=len(missing),
        expected_rows=expected,
        differs=differs,
        problems=tuple(problems),
        missing=tuple(map(str, list(missing)[:LISTED])),
        files=files,
        tasks=kinds.total(),
        repeated_ids=kinds.total() - len(ids),
        kinds=dict(kinds),
        templates=dict(sorted(templates.items())),
    )


def _counts(
    dataset: DataSet, found: Counter[Path], bad: Counter[Path]
) -> tuple[tuple[dict[str, Any], ...], int | None, tuple[str, ...]]:
    """The files, the number of rows that is published for them, and what differs."""
    files = []
    parts: Counter[str | None] = Counter()
    for file, rows in found.items():
        part = _part(dataset, file)
        parts[part] += rows
        files.append({"file": file.name, "rows": rows, "bad": bad[file], "part": part})
    if None in parts:
        parts, total = Counter({"all": found.total()}), dataset.counts.get("all")
    else:
        total = sum(dataset.counts[part] for part in parts if part)
    different = ((part, rows, dataset.counts.get(str(part), rows)) for part, rows in parts.items())
    differs = (f"{part}: {rows} rows, published are {known}" for part, rows, known in different if rows != known)
    return tuple(files), total, tuple(differs)


def _part(dataset: DataSet, file: Path) -> str | None:
    """Which published count is a file's: by its name, its folder, or what its name begins with (`val-00000`)."""
    names = (file.name, file.stem, file.parent.name, file.name.partition("-")[0])
    return next((name for name in names if name in dataset.counts and name != "all"), None)
