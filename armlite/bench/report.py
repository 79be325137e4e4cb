"""A bench from the user's words to a report: checks them, measures row by row, and keeps the file up to date.

Called by `armlite bench`. The report is plain data: what was measured on what, and a row a workload.
"""

import json
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from armlite.bench.workloads import DEFAULT, POCKET, Workload, chosen
from armlite.errors import ArmliteError, nearest
from armlite.recipe import Recipe, load_recipe
from armlite.store import write_atomic

if TYPE_CHECKING:
    from armlite.bench.models import Measured

SIZES = ("pocket", "middle", "miniature")
PHASES = ("vision", "prefill", "decode", "tools", "score", "update")


@dataclass(frozen=True)
class Wanted:
    """What to measure: the options of `armlite bench`."""

    recipe: Path | None
    overrides: Sequence[str]
    random_weights: bool
    cap: float | None
    against: str | None
    size: str
    work: str
    repetitions: int
    out: Path | None
    parts: bool = False


def measure(
    wanted: Wanted,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    notify: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure and report.

    Raises:
        ArmliteError: a word that is not known, or a combination that cannot be measured.
    """
    check(wanted)
    works = chosen(wanted.work)
    loaded = load_recipe(wanted.recipe, list(wanted.overrides)) if wanted.recipe is not None else None
    from armlite.models.loading import without_developers_warnings

    with without_developers_warnings():
        return _measured(wanted, works, loaded, on_row, notify)


def _measured(
    wanted: Wanted,
    works: list[Workload],
    loaded: Recipe | None,
    on_row: Callable[[dict[str, Any]], None],
    notify: Callable[[str], None],
) -> dict[str, Any]:
    """As `measure`, of what was checked."""
    from armlite.bench.run import cap_memory, run

    if wanted.cap is not None:
        cap_memory(wanted.cap)
    if loaded is None or loaded.model.pocket:
        default = DEFAULT if wanted.size == "middle" else POCKET
        works = [default if w is DEFAULT else w.scaled() for w in works]
    elif wanted.size == "miniature":
        works = [w.scaled() for w in works]
    rows: list[dict[str, Any]] = []
    report = {"model": "", **_surroundings(), "cap_gib": wanted.cap, "rows": rows}
    for model, group in groupby(works, key=lambda work: work.model):
        measured = _made(wanted, loaded, model)
        report["model"] = report["model"] or measured.name
        against = wanted.against == "trl"
        for row in run(measured, list(group), loaded, against, wanted.repetitions, notify, wanted.parts):
            rows.append(row if model is None else {**row, "model": measured.name})
            if wanted.out is not None:
                write_atomic(wanted.out, json.dumps(report, indent=1) + "\n")
            on_row(rows[-1])
    return report


def check(wanted: Wanted) -> None:
    """See whether the words go together.

    Raises:
        ArmliteError: they do not.
    """
    if wanted.against not in (None, "trl"):
        raise ArmliteError(f"--against is {wanted.against!r}; it can be trl")
    if wanted.size not in SIZES:
        raise ArmliteError(f"--size is {wanted.size!r}.{nearest(wanted.size, SIZES)} Sizes: {', '.join(SIZES)}")
    if wanted.recipe is None and (wanted.overrides or wanted.random_weights or wanted.size == "miniature"):
        raise ArmliteError("--random-weights, --size miniature and key=value are for a recipe: give --recipe FILE")


def _made(wanted: Wanted, recipe: Recipe | None, model: str | None) -> "Measured":
    """The model to measure, or another one of known sizes, with its tokenizer and random weights."""
    from armlite.bench.folders import MINIATURE, write_folder
    from armlite.bench.models import of_recipe, small

    if recipe is None:
        return small(wanted.size)  # type: ignore[arg-type]
    layers = MINIATURE if wanted.size == "miniature" else None
    if model is None:
        return of_recipe(recipe, wanted.random_weights or layers is not None, layers)
    with TemporaryDirectory(prefix="armlite-bench-") as folder:
        other = write_folder(model, recipe.model.path, Path(folder) / model.rpartition("/")[2])
        settings = recipe.model.model_copy(update={"path": str(other)})
        return of_recipe(recipe.model_copy(update={"model": settings}), True, layers)


def count(
    recipe: Path | None, overrides: Sequence[str], show_lines: Callable[[str], None] | None = None
) -> list[dict[str, Any]]:
    """Operators of a decode step of the recipe's model, or of the models that are counted by default.

    Args:
        show_lines: called with the table of each.

    Raises:
        ArmliteError: a key or a model that is not known.
    """
    if recipe is None and overrides:
        raise ArmliteError("key=value is for a recipe: give --recipe FILE")
    loaded = load_recipe(recipe, list(overrides)) if recipe is not None else None
    from armlite.bench.operators import operator_lines, operator_rows, wanted_of

    rows = []
    for wanted in wanted_of(loaded):
        rows += operator_rows([wanted])
        if show_lines is not None:
            show_lines("\n".join([*operator_lines(rows[-1]), ""]))
    return rows


def _surroundings() -> dict[str, Any]:
    """Where and with what it was measured."""
    from armlite.train.provenance import environment

    found = environment()
    return {
        "device": found["gpu"] or f"{platform.machine()} CPU, {found['threads']} threads",
        "date": date.today().isoformat(),
        "versions": found["versions"],
        "command": "armlite " + shlex.join(sys.argv[1:]),
    }


def summary(row: dict[str, Any]) -> str:
    """A row in a few lines of text."""
    lines = [f"{row['work']}: {row['what']}", "  " + ", ".join(f"{k} {v}" for k, v in row["settings"].items())]
    for name in ("ours", "stock"):
        figures = row.get(name, {})
        if not figures:
            continue
        times = [f"{p} {figures[f'{p}_seconds']['median']:.2f}" for p in PHASES if f"{p}_seconds" in figures]
        if times:
            lines.append(f"  {name:5} seconds of {', '.join(times)}")
        rest = {k: v for k, v in figures.items() if k.removesuffix("_seconds") not in PHASES}
        lines += [f"  {name:5} {k} {v['median']:.4g} ({v['min']:.4g} to {v['max']:.4g})" for k, v in rest.items()]
    for name, value in row.get("ratio", {}).items():
        each = ", ".join(f"{v:.2f}" for v in row["ratios"][name])
        lines.append(f"  {name}: {value:.2f} times the stock loop's speed ({each})")
    words = {True: "met", False: "missed", None: "not measured"}
    for part, found in row.get("memory", {}).items():
        gib = f"{found['measured_gib']:.3g} GiB, planned {found['planned_gib']:.3g} ({found['error']:+.0%})"
        lines.append(f"  memory of {part}: {gib}")
    lines += [f"  goal {goal}: {words[met]}" for goal, met in row["goals"].items()]
    return "\n".join(lines)
