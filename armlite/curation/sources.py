"""The steps of one source: rows to tasks, what must not be trained on left out, pairs and checks made."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from armlite.curation.recipe import Origin, SourceSettings
from armlite.curation.steps import Steps
from armlite.data.convert import MISSING, REJECTS, Converted, convert
from armlite.data.making.contamination import Benchmarks
from armlite.data.making.output import Counts, rejects_of, write_rejects
from armlite.data.making.pairs import RULES, good_answer
from armlite.data.making.rollouts import WHY, Progress
from armlite.data.tasks import moved, read_tasks, write_tasks
from armlite.errors import ArmliteError
from armlite.pocket.world import SPLITS, generate
from armlite.store import file_digest, pieces_digest
from armlite.types import Task

MISSING_FILES = "its files are missing"
"""Why a row is rejected that names pictures or documents which are not there."""
POCKET = 300
"""Tasks of the pocket world where a recipe does not say how many."""


def origin_inputs(origin: Origin, before: dict[str, Any]) -> dict[str, Any]:
    """What decides the rows of a source: where they are from, and a digest of the files or the hub's commit.

    Args:
        before: the inputs that the step was begun with: the commit of then is kept, and rows stay what they were.

    Raises:
        ArmliteError: there is nothing at the path, or the hub has no such set.
    """
    inputs = origin.model_dump(mode="json", include=set(Origin.model_fields))
    if origin.set == "pocket":
        return inputs
    if origin.path is not None:
        if not origin.path.exists():
            raise ArmliteError(f"{origin.path}, which is to hold {origin.set}, does not exist")
        files = [origin.path] if origin.path.is_file() else [f for f in origin.path.rglob("*") if f.is_file()]
        return inputs | {"content": pieces_digest(files, origin.path if origin.path.is_dir() else origin.path.parent)}
    dataset = origin.dataset()
    if dataset.hub is None:
        raise ArmliteError(f"{origin.set} is on no hub that is known: give its folder as `path`")
    if dataset.revision is None and {k: v for k, v in before.items() if k != "revision"} == inputs:
        return before
    from armlite.data.hub import revision_of

    return inputs | {"revision": dataset.revision or revision_of(dataset.hub)}


def rows_step(
    steps: Steps,
    step: str,
    origin: Origin,
    name: str,
    out: Path,
    seed: int,
    on_row: Progress = lambda done, total: None,
) -> None:
    """Read the rows of a source into a file of tasks, as a step that is done once for what is at its place.

    Raises:
        ArmliteError: as `origin_inputs` and `read_rows`.
    """
    before = steps.before(step)
    inputs = origin_inputs(origin, before)
    if origin.set == "pocket":
        inputs["seed"] = seed
    # Asked for by its commit from the first, a set would lack in the cache the name that is looked up offline.
    begun = inputs.get("revision") if inputs.get("revision") == before.get("revision") else None
    steps.run(step, inputs, [out], lambda: read_rows(origin, name, out, begun, seed, on_row))


def read_rows(origin: Origin, name: str, out: Path, revision: str | None, seed: int, on_row: Progress) -> Counts:
    """Turn the rows of a source into a file of tasks, its images in `images/` beside it.

    Args:
        revision: commit of the hub that an earlier try has read; None: the set's own, or the newest.

    Raises:
        ArmliteError: the rows cannot be had, or there are fewer usable ones than were asked for.
    """
    if origin.set == "pocket":
        split = origin.split or "train"
        if split not in SPLITS:
            raise ArmliteError(f"source {name}: the pocket world has no split {split!r}; it has {', '.join(SPLITS)}")
        made = write_tasks(out, generate(split, origin.rows or POCKET, seed, out.parent))
        write_rejects(out, [])
        return Counts(made, made, more={"tasks": made})
    if origin.set == "file":
        return _tasks_of_file(origin, name, out)
    dataset = origin.dataset() if revision is None else replace(origin.dataset(), revision=revision)
    published = dataset.counts.get("all")
    if origin.rows is not None and published is not None and origin.rows > published:
        raise _too_few(name, origin.rows, f"{origin.set} was published with {published}")
    found = convert(dataset, origin.path, out, origin.rows, on_row=lambda rows: on_row(rows, published or 0))
    rejects = _rejects_of_rows(out, name)
    if origin.rows is not None and found.tasks < origin.rows:
        out.unlink()
        where = origin.path or dataset.hub
        raise _too_few(name, origin.rows, f"{found.rows} rows of {origin.set} at {where} give {found.tasks}")
    write_rejects(out, rejects)
    return _row_counts(found, rejects)


def _tasks_of_file(origin: Origin, name: str, out: Path) -> Counts:
    assert origin.path is not None
    tasks = read_tasks(origin.path)
    if origin.rows is not None and origin.rows > len(tasks):
        raise _too_few(name, origin.rows, f"{origin.path} holds {len(tasks)}")
    kept = write_tasks(out, (moved(task, origin.path.parent, out.parent) for task in tasks[: origin.rows]))
    write_rejects(out, [])
    return Counts(kept, kept, more={"tasks": kept})


def _too_few(name: str, asked: int, there: str) -> ArmliteError:
    return ArmliteError(f"source {name}: {asked} rows are asked for, but {there}: ask for fewer")


def _rejects_of_rows(out: Path, name: str) -> list[dict[str, Any]]:
    """What `convert` has left out, under reasons that can be counted; its own files beside go."""
    file, missing = out.parent / REJECTS, out.parent / MISSING
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    rows = [json.loads(line) for line in lines]
    file.unlink(missing_ok=True)
    if missing.is_file():
        os.replace(missing, out.with_name(f"{name}.missing.txt"))
    return [
        {
            "row": row["row"],
            "file": row["file"],
            "why": MISSING_FILES if row["field"] == "(file)" else "breaks its schema",
            "detail": f"{row['field']}: {row['why']}",
        }
        for row in rows
    ]


def _row_counts(found: Converted, rejects: list[dict[str, Any]]) -> Counts:
    kept = found.rows - found.bad - found.incomplete
    return Counts(found.rows, kept, Counter(row["why"] for row in rejects), {"tasks": found.tasks})


def screen(file: Path, out: Path, source: SourceSettings, benchmarks: list[Path]) -> Counts:
    """Leave out tasks of other kinds, without a gold answer, and those that a benchmark holds.

    The others get the source's name as `meta["data"]`.

    Raises:
        ArmliteError: a file of tasks cannot be read, or nothing is left.
    """
    held, kept, rejects = Benchmarks(benchmarks), [], []
    for task in read_tasks(file):
        why = _unwanted(task, source) or _held(task, file.parent, held)
        if why:
            rejects.append({"id": task.id, **why})
        else:
            kept.append(task.model_copy(update={"meta": {**task.meta, "data": source.called}}))
    counts = Counts(len(kept) + len(rejects), len(kept), Counter(row["why"] for row in rejects))
    write_rejects(out, rejects)
    check_left(f"source {source.called}", counts, rejects_of(out))
    write_tasks(out, kept)
    return counts


def check_left(what: str, counts: Counts, rejects: Path) -> None:
    """See that a step leaves something to go on with.

    Raises:
        ArmliteError: it does not; says why most were left out.
    """
    if not counts.kept:
        why, number = next(iter(counts.rejected.most_common(1)), ("nothing came in", 0))
        raise ArmliteError(f"{what}: none of {counts.taken_in} tasks is left ({number}: {why}); {rejects} says why")


def _unwanted(task: Task, source: SourceSettings) -> dict[str, str] | None:
    if source.kinds and task.kind not in source.kinds:
        return {"why": "of another kind", "detail": task.kind}
    if source.make == "ready":
        return {"why": "has no gold answer"} if task.gold is None else None
    try:
        good_answer(task)
    except ArmliteError as error:
        return {"why": str(error)}
    return None


def _held(task: Task, root: Path, held: Benchmarks) -> dict[str, str] | None:
    try:
        rule = held.rule(task, root)
    except ArmliteError as error:
        return {"why": WHY["data"], "detail": str(error)}
    return None if rule is None else {"why": RULES[rule]}


def digests(*files: Path) -> list[str]:
    """Content hashes of files, as the inputs of a step."""
    return [file_digest(file) for file in files]
