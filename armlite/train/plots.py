"""The plots of a run's report, from `metrics.jsonl` and the evaluations; what a stage does not have is absent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from armlite.evals.figures import Figure
from armlite.stages import CHECKPOINTS
from armlite.train.needed import ROUNDS

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Plot:
    """One picture: of each label the pieces of its line, one a stage, none across the border between two."""

    name: str
    title: str
    ylabel: str
    xlabel: str = "GRPO step"
    lines: dict[str, list[tuple[list[float], list[float]]]] = field(default_factory=dict)
    borders: tuple[tuple[float, str], ...] = ()
    """Where a stage begins, and its name."""


GRPO = (
    ("accuracy", "Accuracy of rollouts", "share that is right", {"accuracy": "accuracy"}),
    ("tools", "Tool calls of rollouts", "calls per task; share of calls",
     {"tools/call_frequency": "calls per task", "tools/failure_frequency": "share that failed"}),
    ("length", "Length of completions", "tokens", {"completions/mean_length": "mean"}),
    ("entropy", "Entropy of the policy", "nats per token", {"entropy": "entropy"}),
    ("kl", "Distance to the policy without its adapter", "KL, nats per token", {"kl": "kl"}),
    ("zero_std", "Groups without advantage", "share of groups", {"frac_reward_zero_std": "all rewards alike"}),
)  # fmt: skip
"""Name, title, y axis, and key of `metrics.jsonl` -> label."""


def draw_plots(
    run: Path,
    rows: Rows,
    found: Mapping[str, Mapping[str, Any]],
    calls: Mapping[str, Mapping[str, Figure]],
) -> list[tuple[str, str]]:
    """Draw into `plots/`; returns (title, file) of each.

    Args:
        run: the run directory.
        rows: of `metrics.jsonl`.
        found: checkpoint -> its evaluation, in the order of the stages.
        calls: tasks -> checkpoint -> tool calls a task.
    """
    made = [_stages(run, found, ROUNDS)] if found else []
    made += [_calls(run, calls)] if calls else []
    return made + [_draw(run, plot) for plot in plots(rows)]


def plots(rows: Rows) -> list[Plot]:
    """The plots that these metrics have figures for; sorted by step, as a stage run alone adds its lines last."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: (r["stage"], r["step"])):
        stages.setdefault(row["stage"], []).append(row)
    sft = {name: found for name, found in stages.items() if name.startswith("sft")}
    grpo = {name: found for name, found in stages.items() if name.startswith("grpo")}
    parts = {
        k: k[len("rewards/") : -len("/mean")]
        for s in grpo.values()
        for r in s
        for k in r
        if fnmatch(k, "rewards/*/mean")
    }
    wanted = [
        _plot(sft, "sft_loss", "Loss of the cold start", "nats per token", {"loss": "loss"}, "SFT step"),
        _plot(grpo, "rewards", "Reward", "mean of rollouts", {"reward": "total", **parts}),
        *(_plot(grpo, *each) for each in GRPO),
    ]
    return [plot for plot in wanted if plot.lines]


def _plot(
    stages: Mapping[str, Rows], name: str, title: str, ylabel: str, series: Mapping[str, str], xlabel: str = "GRPO step"
) -> Plot:
    lines: dict[str, list[tuple[list[float], list[float]]]] = {}
    borders, begin = [], 0
    for stage, rows in stages.items():
        borders.append((begin + 0.5, stage))
        for key, label in series.items():
            points = [(begin + i, row[key]) for i, row in enumerate(rows, 1) if row.get(key) is not None]
            # A part that its reward does not have is logged as 0 throughout.
            if points and not (key.startswith("rewards/") and not any(y for _, y in points)):
                lines.setdefault(label, []).append(([x for x, _ in points], [y for _, y in points]))
        begin += len(rows)
    return Plot(name, title, ylabel, xlabel, lines, tuple(borders) if len(borders) > 1 else ())


def _draw(run: Path, plot: Plot) -> tuple[str, str]:
    figure, axes = new_axes(plot.title, plot.xlabel, plot.ylabel)
    for number, (label, pieces) in enumerate(plot.lines.items()):
        style = {"color": f"C{number}", "linewidth": 2.2 if label == "total" else 1.4}
        for at, (x, y) in enumerate(pieces):
            axes.plot(x, y, label=label if not at else None, marker="." if len(x) < 3 else "", **style)
    for x, stage in plot.borders:
        axes.axvline(x, color="grey", linestyle=":", linewidth=1)
        axes.annotate(stage, (x, 1), xycoords=("data", "axes fraction"), xytext=(3, -10), textcoords="offset points",
                      color="dimgrey", fontsize=8)  # fmt: skip
    if len(plot.lines) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return keep_plot(run, figure, plot.name, plot.title)


def _stages(run: Path, found: Mapping[str, Mapping[str, Any]], rounds: Mapping[str, str]) -> tuple[str, str]:
    """Accuracy on held-out tasks after each stage, with 95 % intervals."""
    title = "Accuracy after each stage, with 95 % intervals"
    figure, axes = new_axes(title, "checkpoint", "share that is right")
    series = {}
    for key, label in rounds.items():
        known = {name: s.get(key, {}).get("figures", {}).get("accuracy") for name, s in found.items()}
        series[label] = {name: Figure.model_validate(value) for name, value in known.items() if value is not None}
    draw_points(axes, list(found), series)
    axes.set_ylim(-0.03, 1.03)
    return keep_plot(run, figure, "stages", title)


def _calls(run: Path, calls: Mapping[str, Mapping[str, Figure]]) -> tuple[str, str]:
    """Tool calls a task at each checkpoint that was evaluated."""
    title = "Tool calls a task over the stages, with 95 % intervals"
    figure, axes = new_axes(title, "checkpoint", "calls of a greedy judgment")
    draw_points(axes, [name for name in CHECKPOINTS if any(name in of for of in calls.values())], calls)
    top = max(0.1, axes.get_ylim()[1])
    axes.set_ylim(-0.04 * top, top)
    return keep_plot(run, figure, "calls", title)


def draw_points(axes: Any, names: Sequence[str], series: Mapping[str, Mapping[str, Figure]]) -> None:
    """Points with intervals side by side at each checkpoint, as there is nothing between two stages."""
    for number, (label, of) in enumerate(series.items()):
        points = []
        for x, name in enumerate(names):
            value = of[name].value if name in of else None
            if value is not None:
                low, high = of[name].ci95 or (value, value)
                place = x + min(0.12, 0.8 / len(series)) * (number - (len(series) - 1) / 2)
                points.append((place, value, max(0.0, value - low), max(0.0, high - value)))
        if points:
            x_, y, down, up = zip(*points, strict=True)
            axes.errorbar(x_, y, yerr=(down, up), fmt="o", capsize=3, label=label, color=f"C{number}")
    axes.set_xticks(range(len(names)), list(names))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def new_axes(title: str, xlabel: str, ylabel: str) -> tuple[Any, Any]:
    """A figure as all plots of a report are, and its axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.2))
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.25)
    return figure, axes


def keep_plot(run: Path, figure: Any, name: str, title: str) -> tuple[str, str]:
    """Write a figure to `plots/NAME.png` and close it; returns its title and file."""
    import matplotlib.pyplot as plt

    figure.tight_layout()
    file = run / "plots" / f"{name}.png"
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return title, f"plots/{file.name}"
