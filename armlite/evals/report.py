"""What an evaluation leaves to be read: `summary.json`, `report.md`, the official files and the exports.

Called at the end of a run; everything is made anew from the run's folder. Undefined figures are null, or "n/a".
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from armlite.data.convert import REJECTS
from armlite.data.dataset import DataSet
from armlite.errors import ArmliteError
from armlite.evals.conduct import conduct, failures
from armlite.evals.exports import write_exports
from armlite.evals.figures import Benchmark, Figure, Figures
from armlite.evals.folder import EvalRun
from armlite.evals.likeness import reference_runner, unlike
from armlite.store import write_atomic

SUMMARY, REPORT = "summary.json", "report.md"
OFFICIAL = "official"
"""Folder of the files that the benchmark's own scripts read."""
REASONS = 5
"""Reasons for failures that are told, the most frequent first."""


def summarise(benchmark: Benchmark, run: EvalRun) -> dict[str, Any]:
    """The figures of a run as plain data.

    Returns:
        `benchmark`, `main` (name of the figure that papers quote), `figures` (name -> `value`, `n`, `ci95`), `items`,
        `judgments`, `failed` (judgments that could not be made), `failures` (reason -> count), `no_verdict` (judgments
        that were made and gave no decision), `unjudged` and `rejected` (rows that are no items), `settings`, `notes`,
        `unlike_reference` (each setting that differs from the evaluation of ARM-Thinker; empty where nothing is known
        of it).
    """
    failed, judged = failures(run.items), [a.trajectory for item in run.items for a in item.answers]
    figures = all_figures(benchmark, run)
    return {
        "benchmark": run.settings.benchmark,
        "model": run.settings.model,
        "main": benchmark.main,
        "figures": {name: figure.model_dump(mode="json") for name, figure in figures.items()},
        "items": len(run.items),
        "judgments": len(judged),
        "failed": sum(failed.values()),
        "failures": dict(list(failed.items())[:REASONS]),
        "no_verdict": sum(t.decision is None and t.fault is None for t in judged),
        "unjudged": run.unjudged,
        "rejected": _lines(run.folder / REJECTS),
        "settings": run.settings.model_dump(mode="json"),
        "notes": [*benchmark.notes, *departures(benchmark, run)],
        "unlike_reference": unlike(run.settings),
    }


def all_figures(benchmark: Benchmark, run: EvalRun) -> Figures:
    """The benchmark's own figures, then those of conduct; where both have a name the benchmark's counts.

    A plain number of a `@benchmark` is a figure of all items.

    Raises:
        ArmliteError: the benchmark's main figure is not among them.
    """
    made = benchmark.score(run.items)
    own = {name: v if isinstance(v, Figure) else Figure(value=v, n=len(run.items)) for name, v in made.items()}
    if benchmark.main not in own:
        raise ArmliteError(f"benchmark {benchmark.name}: main is {benchmark.main!r}; its figures are {', '.join(own)}")
    others = conduct(run.items, run.settings.votes, run.seconds)
    return {**own, **{name: figure for name, figure in others.items() if name not in own}}


def departures(benchmark: Benchmark, run: EvalRun) -> list[str]:
    """How the settings of this run differ from the official protocol."""
    said = []
    if run.settings.votes != benchmark.votes:
        said.append(f"votes: {run.settings.votes} here, {benchmark.votes} in the official protocol")
    if run.settings.order != benchmark.order:
        said.append(f"order: {run.settings.order} here, {benchmark.order} unless told otherwise")
    if run.settings.n is not None:
        said.append(f"only the first {run.settings.n} items")
    return said


def write_results(benchmark: Benchmark, run: EvalRun, summary: dict[str, Any]) -> None:
    """Write all of it below the run's folder; `summary.json` comes last, so that it stands for the whole."""
    if benchmark.official is not None:
        for name, content in benchmark.official(run.items).items():
            write_atomic(run.folder / OFFICIAL / name, content)
    if benchmark.dataset is not None:
        write_exports(benchmark, run)
    write_atomic(run.folder / REPORT, "\n".join(report(benchmark.dataset, summary, run)) + "\n")
    write_atomic(run.folder / SUMMARY, json.dumps(summary, indent=2, allow_nan=False) + "\n")


def report(dataset: DataSet | None, summary: dict[str, Any], run: EvalRun) -> list[str]:
    """The lines of `report.md`."""
    lines = [f"# {summary['benchmark']}: {summary['model']}", ""]
    lines += [f"{dataset.title}. Licence of the data: {dataset.licence}.", ""] if dataset is not None else []
    figures = [
        (f"**{name}**" if name == summary["main"] else name, shown(name, Figure.model_validate(value)), value["n"])
        for name, value in summary["figures"].items()
    ]
    lines += [*markdown_table(("figure", "value (95 % interval)", "n"), figures), "", _counts(summary)]
    if summary["failures"]:
        lines += ["", *(f"- {count} failed: {' '.join(why.split())}" for why, count in summary["failures"].items())]
    settings = {name: value for name, value in summary["settings"].items() if name not in ("benchmark", "model")}
    lines += ["", "## Settings", "", *(f"- {name}: {_plain(value)}" for name, value in settings.items())]
    title = "Notes" if dataset is None else "How this departs from the official protocol"
    lines += ["", f"## {title}", "", *([f"- {note}" for note in summary["notes"]] or ["- not known to depart"])]
    if reference_runner(run.settings.benchmark) and dataset is not None:
        different = [f"- {setting}" for setting in summary["unlike_reference"]]
        lines += ["", "## How this differs from ARM-Thinker's evaluation", ""]
        lines += [*(different or ["- in no setting"]), "- beside settings: see `armlite docs reference`"]
    if dataset is not None:
        lines += ["", "## The data", "", f"- what the reader has been tried on: {dataset.seen}"]
        lines += [f"- {note}" for note in dataset.notes]
    return [*lines, "", f"Every judgment is on disk: `armlite view {run.folder}`."]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in (header, *rows)]
    return [lines[0], "|---" * len(header) + "|", *lines[1:]]


def shown(name: str, figure: Figure) -> str:
    """`67.8 % (65.1 to 70.4)`; what is counted per item without percent; `n/a` for what is undefined."""
    if figure.value is None:
        return "n/a"
    counted = name.endswith(("_per_item", "_per_task")) or name.startswith("calls_by_needs/")
    scale, unit = (1, "") if counted or not -1 <= figure.value <= 1.02 else (100, " %")
    digits = 2 if scale == 1 else 1
    span = "" if figure.ci95 is None else " ({:.{d}f} to {:.{d}f})".format(*(scale * v for v in figure.ci95), d=digits)
    return f"{scale * figure.value:.{digits}f}{unit}{span}"


def _counts(summary: dict[str, Any]) -> str:
    said = f"{summary['items']} items, {summary['judgments']} judgments, {summary['failed']} of them failed"
    if summary["unjudged"]:
        said += f"; {summary['unjudged']} items are not judged yet, so these figures are not those of the whole set"
    if summary["rejected"]:
        said += f"; {summary['rejected']} rows could not be read (`{REJECTS}` says why) and are in no figure"
    return f"{said}."


def _plain(value: Any) -> str:
    return "all" if value is None else str(value)


def _lines(file: Path) -> int:
    if not file.is_file():
        return 0
    with file.open("rb") as rows:
        return sum(1 for _ in rows)
