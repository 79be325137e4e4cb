"""Several seeds of a recipe, each with its control (the time of GRPO spent on more SFT instead), in one table."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from armlite.recipe import Recipe
from armlite.store import read_json, write_atomic
from armlite.train.provenance import environment
from armlite.train.report import read_baselines, summaries
from armlite.train.run import NOTES, Notify, run_control, train


def run_seeds(recipe: Recipe, folder: Path, seeds: list[int], notify: Notify) -> dict[str, Any]:
    """Run a recipe with its control for several seeds.

    Args:
        folder: each run is `<folder>-seed<n>`.

    Returns:
        The figures of all runs, as `recipes/<name>.results.json` keeps them.
    """
    rows = []
    for seed in seeds:
        seeded = recipe.model_copy(update={"seed": seed})
        run = folder.with_name(f"{folder.name}-seed{seed}")
        train(seeded, run, resume=(run / "recipe.yaml").is_file(), notify=notify)
        run_control(seeded, run, notify)
        rows.append({"seed": seed, **_figures(run)})
    return {
        "recipe": recipe.name,
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment(),
        "runs": rows,
    }


def _figures(run: Path) -> dict[str, Any]:
    notes = read_json(run / NOTES)
    return {
        "seconds": {name: values["seconds"] for name, values in notes.items()},
        "eval": summaries(run),
        "baselines": read_baselines(run),
    }


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Keep the figures beside the recipe."""
    write_atomic(path, json.dumps(results, indent=1) + "\n")
