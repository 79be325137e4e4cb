"""The held-out part: of each source a share, and no picture or document on both sides.

Tasks that show the same picture (equal pixels) or document (equal content) are one group, over all sources; of those
that show nothing, the same question with the same constraints makes a group. A group is held out whole or not at all.
"""

import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from armlite.curation.recipe import HeldOut
from armlite.data.making.contamination import looks
from armlite.data.making.output import Counts, write_rejects
from armlite.data.making.similarity import normalised
from armlite.data.tasks import moved, read_tasks, write_tasks
from armlite.errors import ArmliteError
from armlite.types import Task


def hold_out(file: Path, train: Path, held: Path, how: HeldOut, seed: int) -> Counts:
    """Split the tasks of a file.

    Returns:
        Counts of which those held out are in `more["held_out"]`, by source; `kept` is all.

    Raises:
        ArmliteError: a file cannot be read, or nothing is left to train on.
    """
    tasks = read_tasks(file)
    root = file.parent
    chosen = _chosen(_groups(tasks, root), how, seed)
    left = [task for task in tasks if task.id not in chosen]
    if not left:
        raise ArmliteError("held_out: nothing is left to train on; hold out a smaller share")
    write_rejects(train, [])
    write_tasks(held, (moved(task, root, held.parent) for task in tasks if task.id in chosen))
    write_tasks(train, (moved(task, root, train.parent) for task in left))
    by = Counter(task.meta["data"] for task in tasks if task.id in chosen)
    return Counts(len(tasks), len(tasks), more={"held_out": dict(sorted(by.items()))})


def _groups(tasks: list[Task], root: Path) -> list[list[Task]]:
    """Tasks that are tied by what they show, in the order of their first tasks."""
    parent = list(range(len(tasks)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Any, int] = {}
    for i, task in enumerate(tasks):
        images, _, document = looks(task, root)
        keys: list[Any] = [*images, *([document] if document else [])]
        # A question such as "Which response keeps the constraint?" says little without the constraint.
        asked = normalised(task.question), *sorted(normalised(c.text) for c in task.constraints)
        for key in keys or [("question", *asked)]:
            a, b = find(first.setdefault(key, i)), find(i)
            parent[max(a, b)] = min(a, b)
    groups: dict[int, list[Task]] = defaultdict(list)
    for i, task in enumerate(tasks):
        groups[find(i)].append(task)
    return list(groups.values())


def _chosen(groups: list[list[Task]], how: HeldOut, seed: int) -> set[str]:
    """Ids to hold out: groups that touch a source held out whole, then others while no source gets more than its
    share.
    """
    total = Counter(task.meta["data"] for group in groups for task in group)
    room = {name: int(how.share * n) for name, n in total.items()}
    chosen: set[str] = set()
    groups = list(groups)
    random.Random(f"held out/{seed}").shuffle(groups)
    for group in groups:
        sizes = Counter(task.meta["data"] for task in group)
        if any(name in how.sources for name in sizes):
            chosen |= {task.id for task in group}
        elif all(room[name] >= n for name, n in sizes.items()):
            chosen |= {task.id for task in group}
            for name, n in sizes.items():
                room[name] -= n
    return chosen
