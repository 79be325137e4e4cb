"""The picture of claims: accuracy and calls of each variant after each stage, seeds as thin lines, and how far each
check is beyond its border.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from armlite.stages import CHECKPOINTS

COLOURS = {"holds": "tab:green", "does not hold": "tab:red", "undecided": "tab:orange"}


def draw(file: Path, judged: Mapping[str, Any]) -> None:
    """Draw the picture of `armlite.claims.report.judge_claims`' data into a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    reached = {name for v in judged["variants"].values() for run in v["runs"].values() for name in run["eval"]}
    places = [name for name in CHECKPOINTS if name in reached]
    checks = [(claim["id"], row) for claim in judged["claims"] for row in claim["checks"] if "difference" in row]
    heights = 3.9, 0.9 + 0.32 * len(checks)
    figure = plt.figure(figsize=(11, sum(heights)), layout="constrained", facecolor="white")  # words stay dark on dark
    above, below = figure.subfigures(2, 1, height_ratios=heights)
    pair = above.subplots(1, 2)
    for axes, name, label in zip(pair, ("accuracy", "calls"), ("greedy accuracy", "calls a task, greedy"), strict=True):
        _draw_variants(axes, judged["variants"], name, places)
        axes.set(xlabel="checkpoint", ylabel=label)
        axes.set_xticks(range(len(places)), places)
        axes.grid(alpha=0.25)
    handles, labels = pair[0].get_legend_handles_labels()
    if handles:
        above.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False)
    _draw_checks(below.subplots(), checks)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _draw_variants(axes: Any, variants: Mapping[str, Any], figure: str, places: Sequence[str]) -> None:
    for number, (name, variant) in enumerate(variants.items()):
        lines = [line for run in variant["runs"].values() if (line := _line(run, figure, places))]
        style = {"color": f"C{number % 10}", "linestyle": "-" if number < 10 else "--"}
        if len(lines) > 1:
            for line in lines:
                axes.plot(*zip(*line.items(), strict=True), linewidth=0.6, alpha=0.5, **style)
        mean = {x: sum(line[x] for line in lines) / len(lines) for x in (lines[0] if lines else ())}
        if mean:
            axes.plot(*zip(*mean.items(), strict=True), linewidth=2, marker="o", markersize=4, label=name, **style)


def _line(run: Mapping[str, Any], figure: str, places: Sequence[str]) -> dict[int, float]:
    """Place of a checkpoint -> its figure; a run that ends with its cold start is drawn to the right edge, where the
    time that it took is spent.
    """
    found = {name: rounds.get("greedy", {}).get(figure) for name, rounds in run["eval"].items()}
    line = {places.index(name): value for name, value in found.items() if value is not None}
    if list(found)[-1] == "sft" and line:
        line[len(places) - 1] = line.pop(max(line))
    return line


def _draw_checks(axes: Any, checks: list[tuple[str, Mapping[str, Any]]]) -> None:
    for y, (_, row) in enumerate(checks):
        value, span = row["difference"]["value"], row["difference"]["ci95"]
        colour = COLOURS[row["verdict"]]
        axes.plot([value], [y], "o", color=colour)
        if span is not None:
            axes.plot(span, [y, y], color=colour, linewidth=2)
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(checks)), [f"{name}: {row['check']}" for name, row in checks], fontsize=7)
    axes.set_ylim(len(checks) - 0.4, -0.6)
    axes.set_xlabel("beyond the border of the check by (95 %): right of 0 it holds")
    axes.grid(alpha=0.25, axis="x")
