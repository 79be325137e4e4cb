"""Several seeds of a recipe, each with its control (the time of GRPO spent on more SFT instead), in one table."""

import json
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.recipe import Recipe
from armlite.store import read_json, write_atomic
from armlite.train.provenance import environment
from armlite.train.report import read_baselines, summaries, value_of
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
        train(seeded, run, resume=run.is_dir(), notify=notify)
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


def results_table(path: Path) -> list[str]:
    """The Markdown table of a results file: means over the seeds, and the smallest and largest.

    Raises:
        ArmliteError: there is no such file.
    """
    if not path.is_file():
        raise ArmliteError(f"{path} does not exist; armlite train RECIPE --seeds 0,1,2 makes it")
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    lines = [
        "| after | with tools, rollout temperature | with tools, greedy | zoom | document | instruction "
        "| without tools | calls per task |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in [n for n in ("base", "sft", "control", "grpo1", "grpo2") if n in runs[0]["eval"]]:
        found = [r["eval"][name] for r in runs]
        cells = [
            _spread(found, "rollout", "accuracy"),
            _spread(found, "greedy", "accuracy"),
            *(_spread(found, "greedy", f"accuracy/{family}") for family in ("zoom", "document", "instruction")),
            _spread(found, "no_tools", "accuracy"),
            f"{statistics.mean(value_of(f['rollout'], 'tool_calls_per_task') for f in found):.2f}",
        ]
        lines.append(f"| {LABELS[name]} | {' | '.join(cells)} |")
    return lines


LABELS = {
    "base": "nothing (untrained)",
    "sft": "SFT cold start",
    "control": "the same time on more SFT instead",
    "grpo1": "GRPO stage 1",
    "grpo2": "GRPO stage 2",
}


def _spread(found: list[dict[str, Any]], label: str, name: str) -> str:
    values = [value_of(f[label], name) for f in found]
    mean, low, high = statistics.mean(values), min(values), max(values)
    return f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"
