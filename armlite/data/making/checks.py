"""Pointwise checks: of each pair one response, to be judged right or wrong."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

from armlite.data.making.output import Counts, begin, finish
from armlite.data.tasks import moved, read_tasks
from armlite.store import file_digest
from armlite.types import Task


def make_checks(file: Path, out: Path, seed: int = 0) -> Counts:
    """Write a pointwise task for each pair of `file`: half of them (one less where the number is odd) show the better
    response, whose gold is True, the others the worse one. `meta["check_of"]` names the pair.

    Raises:
        ArmliteError: the tasks cannot be read, `out` exists or was begun otherwise.
    """
    tasks = read_tasks(file)
    journal = begin(out, {"tasks": file_digest(file), "seed": seed})
    pairs = [task for task in tasks if task.kind == "pairwise" and task.gold in (1, 2)]
    good = [i < len(pairs) // 2 for i in range(len(pairs))]
    random.Random(f"checks/{seed}").shuffle(good)
    made = [_check(task, right, file, out) for task, right in zip(pairs, good, strict=True)]
    fit = {task.id for task in pairs}
    rejects: list[dict[str, Any]] = [
        {"id": t.id, "why": "is no pair with a better response"} for t in tasks if t.id not in fit
    ]
    finish(journal, out, (task.to_json() + "\n" for task in made), rejects)
    more = {"right": sum(good), "wrong": len(good) - sum(good)}
    return Counts(len(tasks), len(made), Counter(row["why"] for row in rejects), {"gold": more})


def _check(task: Task, right: bool, file: Path, out: Path) -> Task:
    shown = task.gold - 1 if right else 2 - task.gold  # type: ignore[operator]
    changes = {
        "id": f"{task.id}-check",
        "kind": "pointwise",
        "responses": (task.responses[shown],),
        "gold": right,
        "numbers": (),
        "meta": {**task.meta, "check_of": task.id},
    }
    return moved(task, file.parent, out.parent).model_copy(update=changes)
