"""Mixing task files into one: weights, caps, no task twice; the same recipe and files always give the same mix.

Tasks are the same when their normalised question, what they show (content hashes) and their sets of responses, options
and constraints are equal; the earlier source of the recipe keeps them. A source that has less than it was asked for
gives what it has: the table says so, and nothing else is put in its place.
"""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from armlite.data.making.contamination import document_digest
from armlite.data.making.output import Counts, begin, finish
from armlite.data.making.rollouts import WHY, Progress
from armlite.data.making.similarity import normalised
from armlite.data.tasks import moved, read_tasks
from armlite.errors import InputError
from armlite.images import image_source, open_image
from armlite.journal import Journal, Row
from armlite.memory import image_file
from armlite.settings import Settings, read_yaml, validated
from armlite.store import file_digest
from armlite.types import Kind, Task


class Source(Settings):
    """A file of tasks, and how much of it is wanted: all, `n`, or by weight a share of the recipe's `total`."""

    path: Path
    """JSONL file of tasks, relative to where the command runs."""
    name: str = ""
    """In the table; the file's name if not given."""
    n: int | None = Field(None, gt=0)
    weight: float | None = Field(None, gt=0)
    cap: int | None = Field(None, gt=0)
    """At most so many tasks with the same `Task.source`."""
    kinds: tuple[Kind, ...] = ()
    """Take only tasks of these kinds; empty: all."""


class Mix(Settings):
    """The recipe of a mix."""

    seed: int = 0
    total: int | None = Field(None, gt=0)
    """Tasks in all, where sources have weights; those with an `n` count into it."""
    sources: tuple[Source, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> "Mix":
        if any(s.n is not None and s.weight is not None for s in self.sources):
            raise ValueError("a source has either n or weight")
        weighted = [s for s in self.sources if s.weight is not None]
        if weighted and self.total is None:
            raise ValueError("weights need a total")
        if self.total is not None:
            if any(s.n is None and s.weight is None for s in self.sources):
                raise ValueError("with a total every source needs n or weight")
            asked = sum(s.n or 0 for s in self.sources)
            if asked > self.total or (asked != self.total and not weighted):
                raise ValueError(f"the sources' n add up to {asked}, total is {self.total}")
        names = Counter(name_of(s) for s in self.sources)
        if twice := [name for name, times in names.items() if times > 1]:
            raise ValueError(f"two sources are called {twice[0]}: give each a name")
        return self


def name_of(source: Source) -> str:
    return source.name or source.path.stem


def load_mix(path: Path) -> Mix:
    """Read the recipe of a mix.

    Raises:
        ArmliteError: missing or malformed, a key that is not known (names the nearest), a value out of range.
    """
    return validated(Mix, read_yaml("mix", path), f"mix {path}")


@dataclass
class _Taken:
    """What became of a source's tasks: those that were taken, and a reject for each of the others."""

    source: Source
    asked: int | None
    read: int
    tasks: list[Task] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, task: Task, why: str, **more: str) -> None:
        self.rejects.append({"id": task.id, "source": name_of(self.source), "why": why, **more})

    def row(self) -> dict[str, Any]:
        why = Counter(row["why"] for row in self.rejects)
        names = {
            "other kind": "of another kind",
            "unreadable": WHY["data"],
            "duplicates": "a duplicate",
            "over the cap": "over the cap",
        }
        found = {name: why[reason] for name, reason in names.items()}
        taken = {"available": self.read - sum(found.values()), "not needed": why["not needed"]}
        start = {"source": name_of(self.source), "asked": self.asked, "read": self.read}
        return {**start, **found, **taken, "taken": len(self.tasks)}


def mix_tasks(recipe: Mix, out: Path, on_task: Progress | None = None) -> Counts:
    """Write the mix of a recipe, shuffled; an id that two sources share gets the later source's name behind it.

    Returns:
        Counts over all tasks read; `more["sources"]`: a row for each source, which adds up likewise.

    Raises:
        ArmliteError: a source cannot be read; `out` exists or was begun otherwise.
    """
    read = [(source, read_tasks(source.path)) for source in recipe.sources]
    setup = {"mix": recipe.model_dump(mode="json"), "sources": [file_digest(s.path) for s in recipe.sources]}
    journal = begin(out, setup)
    keys = _keys(read, journal, on_task)
    asked, seen = _asked(recipe), {}
    taken = [_take(*found, asked[number], keys, seen, recipe.seed) for number, found in enumerate(read)]
    rejects = [reject for part in taken for reject in part.rejects]
    mixed = _named_apart(taken, out)
    random.Random(f"mix/{recipe.seed}").shuffle(mixed)
    finish(journal, out, (task.to_json() + "\n" for task in mixed), rejects)
    counts = Counter(row["why"] for row in rejects)
    return Counts(sum(t.read for t in taken), len(mixed), counts, {"sources": [t.row() for t in taken]})


def _take(
    source: Source,
    tasks: list[Task],
    asked: int | None,
    keys: dict[str, Row],
    seen: dict[str, str],
    seed: int,
) -> _Taken:
    """A source's share: tasks in shuffled order that nobody has yet, until there are enough."""
    name = name_of(source)
    found = _Taken(source, asked, len(tasks))
    groups: Counter[str] = Counter()
    fresh = []
    for task in tasks:
        key, detail = (keys[f"{name}/{task.id}"].get(part) for part in ("key", "detail"))
        if source.kinds and task.kind not in source.kinds:
            found.reject(task, "of another kind", kind=task.kind)
        elif key is None:
            found.reject(task, WHY["data"], detail=str(detail))
        elif key in seen:
            found.reject(task, "a duplicate", of=seen[key])
        else:
            seen[key] = f"{name}/{task.id}"
            fresh.append(task)
    random.Random(f"mix/{seed}/{name}").shuffle(fresh)
    for task in fresh:
        if source.cap is not None and groups[task.source] >= source.cap:
            found.reject(task, "over the cap", group=task.source)
            continue
        groups[task.source] += 1
        if asked is not None and len(found.tasks) >= asked:
            found.reject(task, "not needed")
        else:
            found.tasks.append(task)
    return found


def _asked(recipe: Mix) -> list[int | None]:
    """How many each source is to give; weights share what the others leave of the total, largest remainders first."""
    rest = (recipe.total or 0) - sum(s.n or 0 for s in recipe.sources)
    whole = sum(s.weight or 0 for s in recipe.sources)
    shares = {i: rest * s.weight / whole for i, s in enumerate(recipe.sources) if s.weight is not None}
    counts = {i: int(share) for i, share in shares.items()}
    by_remainder = sorted(shares, key=lambda i: (counts[i] - shares[i], i))
    for i in by_remainder[: rest - sum(counts.values())] if shares else []:
        counts[i] += 1
    return [counts.get(i, s.n) for i, s in enumerate(recipe.sources)]


def _keys(read: list[tuple[Source, list[Task]]], journal: Journal, on_task: Progress | None) -> dict[str, Row]:
    """`source/id` -> `key`, what makes a task the same as another; None: its files cannot be read, as `detail` says.

    Pictures are opened here, so this is kept as it goes.
    """
    jobs = [(f"{name_of(source)}/{task.id}", task, source.path.parent) for source, tasks in read for task in tasks]
    left = [job for job in jobs if (job[0], 0) not in journal.done]
    for number, (name, task, root) in enumerate(left, len(jobs) - len(left) + 1):
        try:
            journal.add({"id": name, "key": _key(task, root)})
        except InputError as error:
            journal.add({"id": name, "key": None, "detail": str(error)})
        if on_task is not None:
            on_task(number, len(jobs))
    return {row["id"]: row for row in journal.rows()}


def _key(task: Task, root: Path) -> str:
    document = document_digest(root / task.document) if task.document else None
    images = sorted(image_file(open_image(image_source(root, path))) for path in task.images)
    texts = [sorted(map(normalised, group)) for group in (task.responses, task.options.values())]
    constraints = sorted(c.text for c in task.constraints)
    return json.dumps([normalised(task.question), images, document, *texts, constraints])


def _named_apart(taken: list[_Taken], out: Path) -> list[Task]:
    """All tasks with paths as seen from the output and ids of their own."""
    used: set[str] = set()
    mixed = []
    for part in taken:
        for task in part.tasks:
            name, number = task.id, 1
            while name in used:
                name = f"{task.id}@{name_of(part.source)}" + (f"#{number}" if number > 1 else "")
                number += 1
            used.add(name)
            mixed.append(moved(task, part.source.path.parent, out.parent).model_copy(update={"id": name}))
    return mixed
