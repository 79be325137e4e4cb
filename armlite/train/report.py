"""`report.md` of a run: what each stage did, in tables and plots, made from the run directory alone."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from armlite.evals.report import markdown_table
from armlite.store import read_json, write_atomic

ROUNDS = {"rollout": "rollout temperature", "greedy": "greedy", "no_tools": "greedy, no tools"}


def summaries(run: Path) -> dict[str, dict[str, Any]]:
    """Checkpoint name -> its evaluation, in the order of the stages."""
    names = ("base", "sft", "control", "grpo1", "grpo2")
    return {name: found for name in names if (found := read_json(run / "eval" / name / "summary.json"))}


def write_report(run: Path) -> None:
    """Write `report.md` and `plots/*.png` below a run directory."""
    from armlite.train.metrics import MetricsFile

    rows = MetricsFile(run / "metrics.jsonl").read()
    found = summaries(run)
    plots = _plots(run, rows, found)
    text = [f"# {run.name}", "", "## Accuracy on held-out tasks", ""]
    if blind := read_baselines(run):
        said = ", ".join(f"{name} {100 * value:.1f} %" for name, value in blind.items())
        text += [f"Policies that do not read the question, on the family they are made for: {said}.", ""]
    text += [*_accuracy_table(found), "", "## Use of tools", "", *_tool_table(found), ""]
    text += ["## Stages", "", *_stage_table(run), ""]
    for title, file in plots:
        text += [f"## {title}", "", f"![{title}]({file})", ""]
    text += ["Every trajectory is on disk: `armlite view " + run.name + "`.", ""]
    write_atomic(run / "report.md", "\n".join(text))


def read_baselines(run: Path) -> dict[str, float]:
    """Accuracy of the pocket world's blind policies, where the run has them."""
    return read_json(run / "eval" / "baselines.json", {})


def value_of(summary: dict[str, Any], name: str) -> float | None:
    """The value of a figure of a round; None: it is undefined or not there."""
    return summary["figures"].get(name, {}).get("value")


def percent(summary: dict[str, Any], name: str, interval: bool = False) -> str:
    """A figure of a round as `91.3 % (88.1 to 93.7)`; a dash for what is undefined."""
    value = value_of(summary, name)
    if value is None:
        return "–"
    span = summary["figures"][name]["ci95"] if interval else None
    return f"{100 * value:.1f} %" + (f" ({100 * span[0]:.1f} to {100 * span[1]:.1f})" if span else "")


def families(summary: dict[str, Any]) -> list[str]:
    """Families of tasks that a round has an accuracy of."""
    return sorted(name.partition("/")[2] for name in summary["figures"] if name.startswith("accuracy/"))


def _accuracy_table(found: dict[str, dict[str, Any]]) -> list[str]:
    names = sorted({f for s in found.values() for r in s.values() for f in families(r)})
    rows = []
    for name, summary in found.items():
        for key, label in ROUNDS.items():
            s = summary[key]
            cells = [percent(s, f"accuracy/{f}") for f in names]
            start = (name, label, s["items"], percent(s, "accuracy", interval=True))
            rows.append((*start, *cells, percent(s, "format_rate")))
    return markdown_table(("checkpoint", "decoding", "n", "accuracy (95 %)", *names, "format"), rows)


def _tool_table(found: dict[str, dict[str, Any]]) -> list[str]:
    rows = []
    for name, summary in found.items():
        for key in ("rollout", "greedy"):
            s = summary[key]
            rates = percent(s, "tool_success_rate"), percent(s, "swap_consistency")
            rows.append((name, ROUNDS[key], f"{value_of(s, 'tool_calls_per_task'):.2f}", *rates))
    header = ("checkpoint", "decoding", "calls per task", "calls that succeed", "same in both orders")
    return markdown_table(header, rows)


def _stage_table(run: Path) -> list[str]:
    rows = []
    for name, values in read_json(run / "stages.json", {}).items():
        rest = ", ".join(f"{k.replace('_', ' ')}: {v}" for k, v in values.items() if k != "seconds")
        rows.append((name, values["seconds"], rest))
    return markdown_table(("stage", "seconds", "learnt from"), rows)


def _plots(run: Path, rows: list[dict[str, Any]], found: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Title and file of each plot made."""
    made = []
    if found:
        ends = {
            label: (list(found), [value_of(found[name][key], "accuracy") for name in found])
            for key, label in ROUNDS.items()
        }
        made.append(_plot(run, "stages", "Accuracy after each stage", ends, marker="o", ylim=(0, 1.02)))
    # By stage, not as they stand: a stage that ran alone has added its lines last.
    grpo = sorted((r for r in rows if r["stage"].startswith("grpo")), key=lambda r: (r["stage"], r["step"]))
    parts = {k: k[len("rewards/") : -len("/mean")] for r in grpo for k in r if fnmatch(k, "rewards/*/mean")}
    pictures = {
        "rewards": ("Reward parts", parts),
        "tools": (
            "Tool calls per task",
            {"tools/call_frequency": "calls", "tools/failure_frequency": "failed share"},
        ),
        "accuracy": ("Accuracy of rollouts", {"accuracy": "accuracy"}),
    }
    border = sum(r["stage"] == "grpo1" for r in grpo)
    for name, (title, series) in pictures.items() if grpo else ():
        points = {label: [(i, r[key]) for i, r in enumerate(grpo, 1) if key in r] for key, label in series.items()}
        lines = {label: ([x for x, _ in some], [y for _, y in some]) for label, some in points.items()}
        line = border if border < len(grpo) else 0
        made.append(_plot(run, name, title, lines, line, xlabel="GRPO step (dotted: stage 2 begins)"))
    return made


def _plot(
    run: Path, name: str, title: str, lines: dict[str, tuple[Any, Any]], border: int = 0, marker: str = "", **axis: Any
) -> tuple[str, str]:
    """Draw label -> (x, y) with a dotted line behind step `border`; returns the title and the file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3))
    for label, (x, y) in lines.items():
        axes.plot(x, y, label=label, marker=marker)
    if border:
        axes.axvline(border + 0.5, color="grey", linestyle=":")
    axes.set(title=title, **axis)
    axes.legend(loc="best")
    figure.tight_layout()
    file = run / "plots" / f"{name}.png"
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return title, f"plots/{file.name}"
