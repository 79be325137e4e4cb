"""Training curves of variants: figures of GRPO steps, one thin line a seed and a thick one for their mean."""

from collections.abc import Mapping
from pathlib import Path

from armlite.train.metrics import MetricsFile

CURVES = {
    "accuracy": "accuracy of rollouts",
    "tools/call_frequency": "calls a rollout",
    "entropy": "entropy, nats a token",
    "frac_reward_zero_std": "groups without advantage",
}
"""Key of `metrics.jsonl` -> what its axis is called."""
SMOOTH = 5
"""Steps that a point is the mean of."""
Curves = Mapping[str, Mapping[str, Mapping[str, list[float]]]]
"""Variant -> seed -> key of `CURVES` -> a value for each GRPO step, the stages one behind the other."""


def curve_of(run: Path) -> dict[str, list[float]]:
    """The smoothed figures of a run's GRPO steps; a figure that a step lacks is as it was before."""
    rows = [row for row in MetricsFile(run / "metrics.jsonl").read() if "reward" in row]
    rows.sort(key=lambda row: (row["stage"], row["step"]))
    found = {}
    for key in CURVES:
        values: list[float] = []
        for row in rows:
            value = row.get(key)
            values.append(float(value) if value is not None else values[-1] if values else 0.0)
        found[key] = [_mean(values[max(0, i + 1 - SMOOTH) : i + 1]) for i in range(len(values))]
    return found


def draw_curves(file: Path, curves: Curves) -> bool:
    """Draw them into a PNG file; False where no variant has GRPO steps, and then nothing is drawn."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with_steps = {name: runs for name, runs in curves.items() if any(run["accuracy"] for run in runs.values())}
    if not with_steps:
        return False
    figure = plt.figure(figsize=(11, 7), layout="constrained", facecolor="white")  # words stay dark on a dark page
    for axes, (key, label) in zip(figure.subplots(2, 2).flat, CURVES.items(), strict=True):
        for number, (name, runs) in enumerate(with_steps.items()):
            lines = [run[key] for run in runs.values()]
            style = {"color": f"C{number % 10}", "linestyle": "-" if number < 10 else "--"}
            for line in lines if len(lines) > 1 else ():
                axes.plot(range(1, len(line) + 1), line, linewidth=0.6, alpha=0.5, **style)
            mean = [_mean(list(values)) for values in zip(*lines, strict=False)]  # as far as all seeds go
            axes.plot(range(1, len(mean) + 1), mean, linewidth=2, label=name, **style)
        axes.set(xlabel=f"GRPO step (mean of {SMOOTH})", ylabel=label)
        axes.grid(alpha=0.25)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, frameon=False)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return True


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
