"""What a run leaves out since its files cannot be opened, or its prompt does not fit: found before the first stage,
told, and kept in the run.

A run that is resumed leaves out the same, whatever has become of the files.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from armlite.data.inputs import unreadable_tasks, unreadable_traces
from armlite.data.traces import read_traces
from armlite.errors import ArmliteError
from armlite.recipe import Recipe
from armlite.store import read_json, write_atomic
from armlite.train.lengths import long_prompts
from armlite.types import Task

FILE = "unreadable.json"
Unreadable = dict[str, dict[str, str]]
"""`tasks` and `traces`: name -> what is wrong with a file of it."""


def find_unreadable(recipe: Recipe, tasks: Sequence[Task], root: Path, traces: bool) -> Unreadable:
    """What cannot be opened of the files of a recipe's tasks and traces, and prompts that are too long; told on stderr.

    Args:
        traces: the cold start's traces are read in this run.

    Raises:
        ArmliteError: more than half of the tasks or traces, so that something else must be wrong.
    """
    data, found = recipe.data, Unreadable(tasks={}, traces={})
    counts = {"tasks": len(tasks), "traces": 0}
    if data.tasks != "pocket":
        found["tasks"] = unreadable_tasks(tasks, root)
        if not recipe.model.pocket:  # which is made for its tasks, and after this
            found["tasks"] |= long_prompts(recipe, [task for task in tasks if task.id not in found["tasks"]], root)
    if traces:
        found["traces"] = unreadable_traces(data.traces)
        counts["traces"] = len(read_traces(data.traces))
    for what, some in found.items():
        if 2 * len(some) > counts[what]:
            why = next(iter(some.values()))
            raise ArmliteError(f"data.{what}: {len(some)} of {counts[what]} cannot be used: {why}")
        for name, why in some.items():
            print(f"data.{what}: {name} is left out: {why}", file=sys.stderr, flush=True)
    return found


def write_unreadable(run: Path, found: Mapping[str, Mapping[str, str]] | None) -> None:
    """Keep it in a run directory."""
    write_atomic(run / FILE, json.dumps(found or {}, indent=2, ensure_ascii=False) + "\n")


def read_unreadable(run: Path) -> Unreadable | None:
    """What a run has left out from its beginning; None: it has not begun."""
    return read_json(run / FILE)
