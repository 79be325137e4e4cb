"""An evaluation as a user asks for it: a model by name, tasks by name, one summary."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError
from armlite.evals.tasks import evaluate, summarise
from armlite.judge import Judge
from armlite.store import write_atomic
from armlite.types import Task

POCKET_TASKS = 300
"""How many pocket tasks an evaluation makes unless told otherwise."""


def evaluate_tasks(
    model: str,
    tasks: str,
    n: int | None = None,
    seed: int = 0,
    with_tools: bool = True,
    temperature: float = 0.0,
    swap: bool = True,
    batch: int = 64,
    out: Path | None = None,
    on_batch: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Judge tasks and summarise.

    Args:
        model: anything that `Judge.load` takes; a run directory brings its own limits.
        tasks: `pocket`, or a JSONL file.
        out: folder for the trajectories and the summary.
        on_batch: called with (episodes done, of how many).

    Raises:
        ArmliteError: the tasks or the model cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        found, root = _tasks(tasks, n, seed, Path(scratch))
        judge = Judge.load(model, temperature=temperature, seed=seed)
        rules = judge.settings if with_tools else judge.settings.model_copy(update={"tools": ()})
        total = len(found) + (sum(t.kind == "pairwise" for t in found) if swap else 0)
        trajectories = evaluate(
            found,
            judge.model,
            rules,
            root,
            seed,
            batch,
            swap,
            out / "trajectories.jsonl" if out else None,
            on_batch=(lambda done: on_batch(done, total)) if on_batch else None,
        )
    summary = summarise(trajectories)
    if out is not None:
        write_atomic(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _tasks(tasks: str, n: int | None, seed: int, scratch: Path) -> tuple[list[Task], Path]:
    if tasks == "pocket":
        from armlite.pocket.world import generate

        return list(generate("test", n or POCKET_TASKS, seed, scratch)), scratch
    found = read_tasks(tasks)[:n]
    if not any(t.gold is not None for t in found):
        raise ArmliteError(f"{tasks}: no task has a gold answer, so there is nothing to score")
    return found, Path(tasks).parent
