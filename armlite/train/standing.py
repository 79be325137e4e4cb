"""How a run stands on its benchmarks beside the paper: its figures in the paper's four cells, and what differs in each.

Made from the run directory alone; `armlite.train.report` and the model's card put it into words.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from armlite.evals.benchmarks import MODULES, get_benchmark
from armlite.evals.conduct import CALLS
from armlite.evals.figures import Figure
from armlite.evals.folder import EvalSettings
from armlite.evals.paper import BASE, TRAINED, Row, differing, rows_of, same_model
from armlite.evals.report import markdown_table, shown
from armlite.recipe import BenchmarkSettings, Recipe
from armlite.stages import CHECKPOINTS
from armlite.store import read_json
from armlite.train.benchmarks import results_of, stamp_of

CELLS = {
    "base": (False, "no_tools", "base"),
    "base_tools": (False, "tools", "base, with tools"),
    "trained": (True, "no_tools", "trained"),
    "trained_tools": (True, "tools", "trained, with tools"),
}
"""Cell -> whether it is of the trained model, how it was judged, and what it is called."""


def standing(recipe: Recipe, run: Path, trained: str | None = None) -> list[dict[str, Any]]:
    """What is known of each benchmark of a run, in the recipe's order, as plain data.

    Args:
        trained: the checkpoint that the cells of the trained model are of; None: the last that was judged.

    Returns:
        Of each `benchmark` (its name in the run), `figure` (the name of what is quoted), `rows` that were read of so
        many that are `published` (null: not known), `cells` (name as in `CELLS` -> `checkpoint`, `figure`, `n`, and,
        where the paper has a number for it, `paper`: `model`, `value` in percent, `where`, `differs`), and `stages`
        (checkpoint -> `tools` and `no_tools` -> `figure`, `n`, `calls`: of one judgment).
    """
    results = results_of(run)
    judged = [name for name in CHECKPOINTS if name != "base" and name in results]
    trained = trained or (judged[-1] if judged else None)
    found = []
    for own in recipe.evaluation.benchmarks:
        stages = {at: of[own.called] for at, of in results.items() if own.called in of}
        if stages:
            rows = read_json(stamp_of(run, own.called), {}).get("counts", {}).get("in")
            cells = {key: _cell(recipe, own, key, stages, trained, rows) for key in CELLS}
            summary = next(iter(next(iter(stages.values())).values()))
            found.append(
                {
                    "benchmark": own.called,
                    "figure": summary["main"],
                    "rows": rows,
                    "published": published(own),
                    "cells": {key: cell for key, cell in cells.items() if cell is not None},
                    "stages": {at: {way: _told(s) for way, s in ways.items()} for at, ways in stages.items()},
                }
            )
    return found


def called(recipe: Recipe) -> str:
    """The model that a recipe trains, without the folders of this machine."""
    path = Path(recipe.model.path).expanduser()
    return "/".join(path.parts[-3:]) if path.exists() else recipe.model.path


def published(own: BenchmarkSettings) -> int | None:
    """Rows that a benchmark was published with; None: not known, or it is no published one."""
    if own.name not in MODULES:
        return None
    dataset = get_benchmark(own.name).dataset
    return dataset.counts.get("all") if dataset is not None else None


def _told(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The figure that is quoted, how many tasks it is of, and the tool calls of one judgment."""
    figures, orders = summary["figures"], summary["judgments"] / summary["items"]
    calls = Figure.model_validate(figures[CALLS])
    span = calls.ci95 and (calls.ci95[0] / orders, calls.ci95[1] / orders)
    once = Figure(value=None if calls.value is None else calls.value / orders, n=calls.n, ci95=span)
    return {"figure": figures[summary["main"]], "n": summary["items"], "calls": once.model_dump(mode="json")}


def _cell(
    recipe: Recipe,
    own: BenchmarkSettings,
    key: str,
    stages: Mapping[str, Any],
    trained: str | None,
    rows: int | None,
) -> dict[str, Any] | None:
    """One of the four cells; None: neither the run nor the paper has it."""
    is_trained, way, _ = CELLS[key]
    checkpoint = trained if is_trained else "base"
    summary = stages.get(checkpoint or "", {}).get(way)
    model = TRAINED if is_trained else BASE
    row = next((r for r in rows_of(own.name) if r.model == model and r.tools == (way == "tools")), None)
    if summary is None and row is None:
        return None
    cell: dict[str, Any] = {"checkpoint": checkpoint, "figure": None, "n": None}
    if summary is not None:
        cell |= {"figure": summary["figures"][summary["main"]], "n": summary["items"]}
    if row is not None:
        differs = [] if summary is None else _differs(recipe, own, summary, row, rows)
        cell["paper"] = {"model": row.model, "value": row.value, "where": row.where, "differs": differs}
    return cell


def _differs(
    recipe: Recipe, own: BenchmarkSettings, summary: Mapping[str, Any], row: Row, rows: int | None
) -> list[str]:
    """What differs between a cell of the run and the paper's number, the model first."""
    settings, dataset = EvalSettings.model_validate(summary["settings"]), get_benchmark(own.name).dataset
    base = settings.model_copy(update={"model": recipe.model.path})
    said = []
    if not same_model(base, Row(row.bench, BASE, row.value, row.tools, row.where)):
        said.append(f"base model: {called(recipe)} here, {BASE} there")
    in_all = published(own)
    if rows is not None and in_all is not None and rows < in_all:
        said.append(f"items: the first {rows:,} of {in_all:,} rows here, all there")
    elif in_all is None and settings.n is not None:
        said.append(f"items: the first {settings.n:,} here, all there")
    said += [word for word in differing(settings, row) if not word.startswith(("model: ", "items: the first"))]
    for name in ("hub", "config", "split"):
        if dataset is not None and (ours := getattr(own, name)) not in (None, getattr(dataset, name)):
            said.append(f"{name}: {ours} here, {getattr(dataset, name)} as published")
    lost = {"rejected": "rows could not be read", "failed": "judgments failed", "unjudged": "items are not judged yet"}
    return said + [f"{summary[key]} {word} here" for key, word in lost.items() if summary[key]]


def paper_lines(found: Sequence[Mapping[str, Any]], recipe: Recipe) -> list[str]:
    """The section of a report: the table, and what differs."""
    known = [row for row in found if any("paper" in cell for cell in row["cells"].values())]
    last = next((c["checkpoint"] for row in found for k, c in row["cells"].items() if CELLS[k][0]), None)
    trained = f"trained is its checkpoint `{last}`" if last else "no trained checkpoint has been judged"
    text = [
        f"Base is `{called(recipe)}` as it was before training; {trained}. Judged greedily by the rules of the "
        "recipe, with 95 % intervals where there are enough tasks for one. A dash: no figure is known, or the "
        "benchmark's tasks are shown no tool."
    ]
    if known:
        text += [
            "",
            f"Below this run's figures stand those of the ARM-Thinker paper (arXiv 2512.05111): {BASE} for base, and "
            f"for trained {TRAINED}, which was made of it with data, steps and hardware of its own.",
        ]
    lines = ["## Beside the paper" if known else "## Benchmarks", "", *text, "", *_table(found), ""]
    return lines + (_differences(found, known) if known else [])


def _table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for row in found:
        cells = row["cells"]
        ours = [_percent(row["figure"], cells.get(key)) for key in CELLS]
        rows.append((f"**{row['benchmark']}** ({row['figure']})", _counted(row), "this run", *ours))
        if any("paper" in cell for cell in cells.values()):
            theirs = [cells.get(key, {}).get("paper") for key in CELLS]
            rows.append(("", "", "paper", *("–" if cell is None else f"{cell['value']:.1f} %" for cell in theirs)))
    return markdown_table(("benchmark", "tasks", "", *(name for _, _, name in CELLS.values())), rows)


def _counted(row: Mapping[str, Any]) -> str:
    """How many tasks were judged, and of how many rows where not all were read."""
    counts = sorted({cell["n"] for cell in row["cells"].values() if cell["n"] is not None})
    said = " or ".join(f"{n:,}" for n in counts) or "–"
    rows, in_all = row["rows"], row["published"]
    return f"{said} ({rows:,} of {in_all:,} rows)" if rows and in_all and rows < in_all else said


def _percent(name: str, cell: Mapping[str, Any] | None) -> str:
    if cell is None or cell["figure"] is None:
        return "–"
    return shown(name, Figure.model_validate(cell["figure"]))


def _differences(found: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs from the paper's setting: in all cells, in those of a benchmark, and in each."""
    both = {row["benchmark"]: _compared(row) for row in known}
    everywhere = _common([said for cells in both.values() for said in cells.values()])
    lines = ["### What differs from the paper's setting", ""]
    if everywhere:
        lines += ["- **in every cell with both**", *(f"  - {word}" for word in everywhere)]
    for name, cells in both.items():
        if not cells:
            lines.append(f"- **{name}**: no figure of this run stands beside one of the paper")
            continue
        own = [word for word in _common(list(cells.values())) if word not in everywhere]
        rest = {CELLS[key][2]: [w for w in said if w not in everywhere + own] for key, said in cells.items()}
        if not own and not any(rest.values()):
            lines.append(f"- **{name}**: nothing {'else ' if everywhere else ''}that is known")
            continue
        lines += [f"- **{name}**", *(f"  - {word}" for word in own)]
        lines += [f"  - {cell}: {'; '.join(said)}" for cell, said in rest.items() if said]
    if others := [f"`{row['benchmark']}`" for row in found if row not in known]:
        lines.append(f"- the paper has no number for {', '.join(others)}")
    return [*lines, ""]


def _compared(row: Mapping[str, Any]) -> dict[str, list[str]]:
    """Cell -> what differs in it, where both the run and the paper have a figure."""
    cells = row["cells"].items()
    return {key: cell["paper"]["differs"] for key, cell in cells if "paper" in cell and cell["figure"] is not None}


def _common(said: Sequence[Iterable[str]]) -> list[str]:
    return [word for word in said[0] if all(word in other for other in said)] if said else []


def stage_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The benchmarks over the checkpoints, where more than two were judged; else nothing."""
    names = [at for at in CHECKPOINTS if any(at in row["stages"] for row in found)]
    if len(names) < 3:
        return []
    rows = []
    for row in found:
        for way, label in (("no_tools", "without"), ("tools", "with")):
            told = [row["stages"].get(at, {}).get(way) for at in names]
            if any(told):
                rows.append((row["benchmark"], label, *(_percent(row["figure"], cell) for cell in told)))
    return ["## Benchmarks over the stages", "", *markdown_table(("benchmark", "tools", *names), rows), ""]


def calls_of(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Figure]]:
    """Benchmark -> checkpoint -> tool calls of a judgment with tools, where it was judged with them."""
    calls: dict[str, dict[str, Figure]] = {}
    for row in found:
        for at, ways in row["stages"].items():
            if "tools" in ways:
                calls.setdefault(row["benchmark"], {})[at] = Figure.model_validate(ways["tools"]["calls"])
    return calls
