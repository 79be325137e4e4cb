"""Plots of a run by its tasks: accuracy and calls by how many calls they need, calls made against calls needed, and how
often tasks were right before the difficulty filter and after it.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from armlite.data.tasks import calls_needed
from armlite.evals.figures import Figure
from armlite.stages import CHECKPOINTS
from armlite.store import read, read_json
from armlite.train.plots import draw_points, keep_plot, new_axes

BINS = 10
"""Of the histogram of pass rates."""
Found = Mapping[str, Mapping[str, Any]]
"""Checkpoint -> round -> its summary."""
Made = list[tuple[str, str]]
"""(title, file) of plots."""


def draw_task_plots(run: Path, found: Found) -> Made:
    """Draw into `plots/` what the run has figures for; returns (title, file) of each.

    Args:
        run: the run directory.
        found: its evaluations, in the order of the stages.
    """
    return [*_by_needs(run, found), *_confusions(run, found), *_pass_rates(run)]


def _by_needs(run: Path, found: Found) -> Made:
    """Two plots over the checkpoints, a series for each number of needed calls; greedy."""
    greedy = {name: rounds["greedy"]["figures"] for name, rounds in found.items() if "greedy" in rounds}
    needs = sorted({key.partition("/")[2] for figures in greedy.values() for key in figures if "_by_needs/" in key})
    made = []
    for what, ylabel, title in (
        ("accuracy", "share that is right", "Accuracy by calls needed, greedy, with 95 % intervals"),
        ("calls", "calls of a greedy judgment", "Calls made by calls needed, with 95 % intervals"),
    ):
        series = {}
        for n in needs:
            known = {name: figures.get(f"{what}_by_needs/{n}") for name, figures in greedy.items()}
            series[f"needs {n}"] = {name: Figure.model_validate(one) for name, one in known.items() if one is not None}
        if needs:
            figure, axes = new_axes(title, "checkpoint", ylabel)
            draw_points(axes, list(greedy), series)
            if what == "calls":
                for number, n in enumerate(needs):
                    axes.axhline(float(n), color=f"C{number}", linestyle=":", linewidth=1)
            made.append(keep_plot(run, figure, f"{what}_by_needs", title))
    return made


def _confusions(run: Path, found: Found) -> Made:
    """Calls made against calls needed, at each checkpoint: numbers of tasks, the shade of a row's share."""
    counts = {name: n for name in CHECKPOINTS if name in found and (n := confusion(run, name))}
    if not counts:
        return []
    rows = sorted({needs for of in counts.values() for needs, _ in of})
    columns = list(range(max(max(calls, needs) for of in counts.values() for needs, calls in of) + 1))
    title = "Calls made against calls needed, greedy: numbers of tasks"
    figure, _ = new_axes("", "", "")
    figure.clear()
    figure.suptitle(title)
    for number, (name, of) in enumerate(counts.items(), 1):
        axes = figure.add_subplot(1, len(counts), number)
        totals = {needs: sum(n for (row, _), n in of.items() if row == needs) for needs in rows}
        shares = [[of[needs, calls] / max(1, totals[needs]) for calls in columns] for needs in rows]
        axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for y, needs in enumerate(rows):
            for x, calls in enumerate(columns):
                colour = "white" if shares[y][x] > 0.5 else "black"
                axes.text(x, y, of[needs, calls], ha="center", va="center", fontsize=8, color=colour)
        axes.set(title=name, xlabel="calls made", ylabel="calls needed" if number == 1 else "")
        axes.set_xticks(columns, columns)
        axes.set_yticks(range(len(rows)), rows)
    return [keep_plot(run, figure, "confusion", title)]


def confusion(run: Path, checkpoint: str) -> Counter[tuple[int, int]]:
    """(calls needed, calls made) -> number of tasks, of first greedy judgments; empty where tasks do not say."""
    file = run / "eval" / checkpoint / "greedy.jsonl"
    first: dict[str, tuple[int, tuple[int, int]]] = {}
    for row in read(file) if file.is_file() else ():
        task, rollout = row.trajectory.task, row.trajectory.rollout
        needs = calls_needed(task)
        if needs is not None and (task.id not in first or rollout < first[task.id][0]):
            first[task.id] = rollout, (needs, len(row.trajectory.calls))
    return Counter(pair for _, pair in first.values())


def _pass_rates(run: Path) -> Made:
    """Of each stage that was filtered a histogram: the tasks before, and those that were left to learn from."""
    made = []
    for file in sorted((run / "filter").glob("*.json")):
        known = read_json(file)
        rates = [rate for task, rate in known["pass_rate"].items() if task not in known.get("faults", {})]
        if not rates:
            continue
        bins = min(BINS, known["rollouts"]) + 1
        kept = [rate for rate in rates if rate < 1]
        title = f"How often tasks were right before {file.stem}, of {known['rollouts']} rollouts"
        figure, axes = new_axes(title, "pass rate", "tasks")
        axes.hist([rates, kept], bins=bins, range=(-0.5 / (bins - 1), 1 + 0.5 / (bins - 1)), color=["C0", "C1"],
                  label=[f"before the filter: {len(rates)}", f"after it: {len(kept)}"])  # fmt: skip
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        made.append(keep_plot(run, figure, f"pass_rate_{file.stem}", title))
    return made
