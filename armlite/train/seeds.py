"""Several seeds of a recipe, each with its control (the time of GRPO spent on more SFT instead), in one table."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from armlite.recipe import Recipe
from armlite.store import read_json, write_atomic
from armlite.train.provenance import environment
from armlite.train.report import read_baselines, summaries
from armlite.train.run import NOTES, Notify, run_control, train
from armlite.train.standing import standing


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
        rows.append({"seed": seed, **_figures(seeded, run)})
    found = {
        "recipe": recipe.name,
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment(),
        "runs": rows,
    }
    over = over_seeds([row["benchmarks"] for row in rows])
    return {**found, "benchmarks": over} if over else found


def over_seeds(runs: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The benchmarks of several runs of a recipe in one.

    Args:
        runs: of each run what `armlite.train.standing.standing` tells.

    Returns:
        Of each `benchmark` and its `figure`, checkpoint (`at`) and way (`with`: `tools` or `no_tools`): `mean`,
        `lowest` and `highest` of the runs, and how many (`seeds`) have a value.
    """
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for row in (row for run in runs for row in run):
        for at, ways in row["stages"].items():
            for way, told in ways.items():
                if told["figure"]["value"] is not None:
                    key = row["benchmark"], row["figure"], at, way
                    values.setdefault(key, []).append(told["figure"]["value"])
    names = ("benchmark", "figure", "at", "with")
    return [
        {
            **dict(zip(names, key, strict=True)),
            "mean": sum(of) / len(of),
            "lowest": min(of),
            "highest": max(of),
            "seeds": len(of),
        }
        for key, of in values.items()
    ]


def _figures(recipe: Recipe, run: Path) -> dict[str, Any]:
    notes = read_json(run / NOTES)
    return {
        "seconds": {name: values["seconds"] for name, values in notes.items()},
        "eval": summaries(run),
        "baselines": read_baselines(run),
        "benchmarks": standing(recipe, run),
    }


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Keep the figures beside the recipe."""
    write_atomic(path, json.dumps(results, indent=1) + "\n")
