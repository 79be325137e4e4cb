"""The rounds of a checkpoint's evaluation: at the rollout temperature, greedy, greedy without tools, and greedy on the
transfer split where the world has one.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from armlite.data.tasks import read_tasks
from armlite.evals.folder import EvalRun, EvalSettings, gather
from armlite.evals.report import SUMMARY, summarise
from armlite.evals.run import jobs_of, judge_jobs
from armlite.evals.tasks import ACCURACY
from armlite.journal import Journal
from armlite.models.loading import load
from armlite.models.local import LocalModel, Sampling
from armlite.recipe import Recipe
from armlite.store import write_atomic
from armlite.types import Task

Notify = Callable[[str, dict[str, Any]], None]


def evaluate_checkpoint(
    recipe: Recipe, name: str, source: str, tasks: Sequence[Task], root: Path, folder: Path, notify: Notify
) -> None:
    """Write `rollout.jsonl`, `greedy.jsonl`, `no_tools.jsonl` (with `data.n_transfer` also `transfer.jsonl`) and
    `summary.json` of a checkpoint, or go on with that.

    Args:
        name: of the checkpoint.
        source: where its weights are.
        tasks: held out, with gold answers; their paths are relative to `root`.
        folder: where the files go.
        notify: told of the progress.
    """
    settings, start = recipe.evaluation, time.monotonic()
    quantize = "4bit" if recipe.model.quantize == "4bit" else None
    model, processor = load(source, quantize=quantize, dtype=recipe.model.dtype, attn=recipe.model.attention)
    blind = recipe.episode.model_copy(update={"tools": ()})
    summary: dict[str, Any] = {}
    rounds = {"rollout": (settings.temperature, recipe.episode), "greedy": (0.0, recipe.episode)}
    rounds["no_tools"] = 0.0, blind
    if recipe.data.n_transfer:
        rounds["transfer"] = 0.0, recipe.episode
    for label, (temperature, rules) in rounds.items():
        own, place = (tasks, root) if label != "transfer" else _transfer(root)
        swap = settings.swap and label == "greedy" and name != "base"
        asked = EvalSettings(
            benchmark="tasks",
            model=name,
            tools=rules.tools != (),
            order="seeded_both" if swap else "seeded",
            temperature=temperature,
            seed=recipe.seed,
            max_calls=rules.max_calls,
        )
        budgets = settings.model_dump(include={"max_new_tokens", "max_context"})
        sampling = Sampling(temperature=temperature, seed=recipe.seed, **budgets)
        chat = LocalModel(model, processor, sampling, recipe.engine, name=name)
        journal = Journal(folder / f"{label}.jsonl")
        jobs = jobs_of(own, rules, place, asked)
        report = {"stage": name, "round": label}
        judge_jobs(
            jobs,
            chat,
            journal,
            settings.batch,
            on_progress=lambda n, total, report=report: notify("evaluation", {**report, "done": n, "total": total}),
        )
        journal.sort(jobs)
        items = gather(own, journal.trajectories())
        summary[label] = summarise(ACCURACY, EvalRun(folder, asked, items))
    write_atomic(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    notify("evaluated", {"stage": name, "seconds": round(time.monotonic() - start, 1), "summary": summary})


def _transfer(root: Path) -> tuple[Sequence[Task], Path]:
    """The tasks of the transfer split, which a run makes beside its held-out ones, and their root."""
    folder = root.parent / "transfer"
    return read_tasks(folder / "tasks.jsonl"), folder
