"""What `armlite eval` does with each benchmark, and prints of it: tables or JSON."""

import collections
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from armlite.cli.screen import Counter, figures_table
from armlite.errors import ArmliteError
from armlite.evals.benchmarks import RETRIEVAL

PIPE_WIDTH = 140
"""Columns of a comparison that no terminal limits."""


def check_benchmarks(names: Sequence[str]) -> None:
    """Find out before anything is run that a benchmark is not known, or that two would share a folder.

    Raises:
        ArmliteError: so it is; names the nearest.
    """
    from armlite.evals.run import benchmark_of

    for name in names:
        if name != RETRIEVAL:
            benchmark_of(name)
    folders = collections.Counter(Path(name).stem for name in names)
    if shared := [folder for folder, times in folders.items() if times > 1]:
        raise ArmliteError(
            f"two of --benchmark have results called {shared[0]}: evaluate one after the other, each with --out"
        )


def run_all(
    names: Sequence[str],
    model: str | None,
    path: Path | None,
    out: Path | None,
    as_json: bool,
    options: dict[str, Any],
    faithfulness: bool = False,
) -> None:
    """Run benchmarks in turn, with `faithfulness` swap their observations. The JSON of several is a mapping by name.
    Exits with 1 where no judgment could be made.

    Raises:
        ArmliteError: as `armlite.evals.run.run_benchmark`.
    """
    if path is not None and not path.exists():
        raise ArmliteError(f"--path {path} does not exist")
    summaries = {}
    for name in names:
        below = path / name if path is not None and len(names) > 1 and (path / name).is_dir() else path
        summaries[name] = _retrieval(below) if name == RETRIEVAL else _judged(name, str(model), below, out, options)
        if not as_json:
            _print_retrieval(summaries[name]) if name == RETRIEVAL else _print_figures(summaries[name])
        if faithfulness:
            from armlite.evals.run import swap_observations

            found = swap_observations(name, str(model), out, **{k: v for k, v in options.items() if k != "workers"})
            summaries[name]["faithfulness"] = found
            if not as_json:
                _print_faithfulness(found)
    if as_json:
        sys.stdout.write(json.dumps(summaries if len(names) > 1 else summaries[names[0]], allow_nan=False) + "\n")
    if any(s.get("failed") and s["failed"] == s["judgments"] for s in summaries.values()):
        raise typer.Exit(1)


def _judged(name: str, model: str, path: Path | None, out: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    from armlite.evals.run import default_folder, run_benchmark

    folder = (out or default_folder(model, options["tools"])) / Path(name).stem
    with Counter(Path(name).stem, kept=True) as counter:
        summary = run_benchmark(name, model, path, out, on_progress=counter.show, **options)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"results: {folder}")
    if summary["rejected"]:
        console.print(f"{summary['rejected']} rows are no items: {folder / 'rejects.jsonl'} says why")
    if summary["no_verdict"]:
        said = f"{summary['no_verdict']} of {summary['judgments']} judgments have no verdict"
        console.print(f"{said}; look at them: armlite view {folder}", markup=False)
    if summary["failed"]:
        console.print(
            f"{summary['failed']} of {summary['judgments']} judgments failed; the same command makes them again"
        )
        for why, count in summary["failures"].items():
            console.print(f"  {count} x {why}", markup=False)
    return summary


def _retrieval(path: Path | None) -> dict[str, Any]:
    from armlite.evals.retrieval import evaluate_retrieval

    if path is None:
        raise ArmliteError("--benchmark retrieval needs --path: a folder with samples.json and documents/*.pdf")
    with Counter(RETRIEVAL) as counter:
        return evaluate_retrieval(path, on_question=counter.show)


def _print_figures(summary: Mapping[str, Any]) -> None:
    from armlite.evals.figures import Figure
    from armlite.evals.report import shown

    title = f"{summary['benchmark']}: {summary['items']} items, {summary['judgments']} judgments"
    table = figures_table(title, "figure", "value (95 % interval)", "n")
    for name, value in summary["figures"].items():
        marked = f"{name} *" if name == summary["main"] else name
        table.add_row(marked, shown(name, Figure.model_validate(value)), str(value["n"]))
    Console().print(table)


def _print_faithfulness(found: Mapping[str, Any]) -> None:
    from armlite.evals.figures import Figure
    from armlite.evals.report import shown

    title = f"observations of {found['judged']} right judgments with a call, swapped for another task's"
    table = figures_table(title, "figure", "value (95 % interval)", "n")
    for name in ("chance_before", "chance_after"):
        table.add_row(name, shown(name, Figure(value=found[name], n=found["judged"])), str(found["judged"]))
    for name in ("follows", "no_verdict", "moved_by_idle"):
        figure = Figure.model_validate(found[name] or {"value": None, "n": 0})
        table.add_row(name, shown(name, figure), str(figure.n))
    Console().print(table)
    said = f"{found['deciding']} observations decided ({found['no_donor']} without one that speaks for the other side)"
    Console(highlight=False, soft_wrap=True).print(f"{said}, {found['idle']} were idle")


def _print_retrieval(summary: Mapping[str, Any]) -> None:
    names = ("recall@1", "recall@3", "recall@5", "any@5")
    table = figures_table("pages found, percent of the evidence", "evidence", "n", *names)
    everything = {"all": {**summary, "n": summary["questions"]}}
    for source, row in (everything | dict(summary["by_source"])).items():
        table.add_row(source, str(row["n"]), *("n/a" if row[k] is None else f"{row[k]:.1f}" for k in names))
    console = Console()
    console.print(table)
    if summary["questions"]:
        console.print(
            f"{1000 * summary['seconds_per_query']:.1f} ms a query, {1000 * summary['seconds_per_page']:.1f} ms a page "
            f"to read and index; OCR: {'yes' if summary['ocr'] else 'no'}",
            highlight=False,
        )


def print_comparison(compared: Sequence[Mapping[str, Any]]) -> None:
    """Tables of `armlite.evals.compare.compare_folders`."""
    from armlite.evals.compare import table, verdict

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    console = Console(highlight=False, markup=False, soft_wrap=True, width=width)
    for row in compared:
        shown = figures_table(row["benchmark"], "figure", "a", "b", "b - a")
        shown.columns[0].no_wrap = True
        for line in table(row):
            shown.add_row(*line)
        console.print(f"a: {row['a']['model']} ({row['a']['folder']})\nb: {row['b']['model']} ({row['b']['folder']})")
        console.print(shown)
        console.print(verdict(row))
        for warning in row["warnings"]:
            console.print(f"warning: {warning}")
        if "paper" in row:
            _print_paper(console, row)


def _print_paper(console: Console, row: Mapping[str, Any]) -> None:
    """The paper's numbers, each with what differs; what differs from all of them is said once."""
    numbers = row["paper"]
    if not numbers:
        console.print(f"the paper has no number for {row['benchmark']}")
        return
    always = {
        side: [d for d in numbers[0][side]["differs"] if all(d in n[side]["differs"] for n in numbers)] for side in "ab"
    }
    for side, said in always.items():
        if said:
            console.print(f"the paper's numbers all differ from {side} in: {'; '.join(said)}")
    for number in numbers:
        tools = ", with tools" if number["tools"] else ""
        console.print(f"paper, {number['where']}: {number['model']}{tools} {number['value']:.1f} %")
        for side in "ab":
            rest = [d for d in number[side]["differs"] if d not in always[side]]
            if rest:
                console.print(f"  differs from {side} in {'; '.join(rest)}")
