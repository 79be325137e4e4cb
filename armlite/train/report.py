"""`report.md` of a run: what each stage did, in tables and plots, made from the run directory alone."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from armlite.curation.rounds import round_rows
from armlite.evals.conduct import CALLS
from armlite.evals.figures import Figure
from armlite.evals.paper import PAPER_CALLS
from armlite.evals.report import markdown_table, shown
from armlite.recipe import saved_recipe
from armlite.stages import CHECKPOINTS
from armlite.store import read_json, write_atomic
from armlite.train.health import health_lines
from armlite.train.needed import ROUNDS, needs_lines

HELD_OUT = "held-out tasks"


def summaries(run: Path) -> dict[str, dict[str, Any]]:
    """Checkpoint name -> its evaluation, in the order of the stages."""
    return {name: found for name in CHECKPOINTS if (found := read_json(run / "eval" / name / "summary.json"))}


def write_report(run: Path) -> None:
    """Write `report.md`, `report.json` with its figures, and `plots/*.png` below a run directory."""
    from armlite.train.metrics import MetricsFile
    from armlite.train.plots import draw_plots
    from armlite.train.standing import calls_of, paper_lines, stage_lines, standing
    from armlite.train.task_plots import draw_task_plots

    rows = MetricsFile(run / "metrics.jsonl").read()
    found, recipe = summaries(run), saved_recipe(run / "recipe.yaml")
    stands = standing(recipe, run)
    calls = {**_held_out_calls(found), **calls_of(stands)}
    plots = [*draw_plots(run, rows, found, calls), *draw_task_plots(run, found)]
    text = [f"# {run.name}", "", *_made_with(run, rows), ""]
    text += [*paper_lines(stands, recipe), *stage_lines(stands)] if stands else []
    text += ["## Accuracy on held-out tasks", ""]
    if blind := read_baselines(run):
        said = ", ".join(f"{name} {100 * value:.1f} %" for name, value in blind.items())
        text += [f"Policies that do not read the question, on the family they are made for: {said}.", ""]
    text += [*_accuracy_table(found), "", "## Use of tools", "", *_tool_table(found), "", *_call_lines(calls)]
    text += needs_lines(found)
    if made := round_table(run):
        text += ["## Traces of the cold start", "", *made, ""]
    text += ["## Stages", "", *_stage_table(run), ""]
    if said := health_lines(rows):
        text += ["## Health of the stages", "", *said, ""]
    for title, file in plots:
        text += [f"## {title}", "", f"![{title}]({file})", ""]
    text += ["## Every trajectory", "", "They are on disk; in this folder:", "", "```bash", *commands(run), "```", ""]
    told = {
        "run": run.name,
        "environment": read_json(run / "environment.json", {}),
        "recipe": recipe.model_dump(mode="json"),
        "benchmarks": stands,
        "held_out": found,
        "baselines": blind,
        "stages": read_json(run / "stages.json", {}),
    }
    write_atomic(run / "report.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    write_atomic(run / "report.md", "\n".join(text))


def _held_out_calls(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Figure]]:
    """The greedy judgments of held-out tasks: checkpoint -> tool calls a task."""
    calls = {name: s["greedy"]["figures"].get("tool_calls_per_task") for name, s in found.items() if "greedy" in s}
    there = {name: Figure.model_validate(figure) for name, figure in calls.items() if figure is not None}
    return {HELD_OUT: there} if there else {}


def _call_lines(calls: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """Tool calls a task over the checkpoints, greedy and with tools, and what the paper says of them."""
    names = [name for name in CHECKPOINTS if any(name in of for of in calls.values())]
    if not names:
        return []
    rows = [(what, *(shown(CALLS, of[at]) if at in of else "–" for at in names)) for what, of in calls.items()]
    text = "Tool calls a task, greedy, with 95 % intervals. " + PAPER_CALLS
    return [text, "", *markdown_table(("tasks", *names), rows), ""]


def commands(run: Path) -> list[str]:
    """Commands that look at a run, as they can be typed in its folder."""
    found = ["armlite view .", "armlite view . --html trajectories.html"]
    stages = [name for name in summaries(run) if name != "base"]
    if len(stages) > 1:
        found.append(f"armlite view . --compare {stages[0]} {stages[-1]}")
    return found


def _made_with(run: Path, steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Model, seed, versions, machine and time of a run, as far as its files tell."""
    recipe = yaml.safe_load(text) if (text := _text(run / "recipe.yaml")) else {}
    around = read_json(run / "environment.json", {})
    model = recipe.get("model", {})
    versions = ", ".join(f"{name} {number}" for name, number in around.get("versions", {}).items())
    machine = around.get("gpu") or f"CPU, {around.get('threads', '?')} threads"
    seconds = sum(stage["seconds"] for stage in read_json(run / "stages.json", {}).values())
    rows = [
        (
            "model",
            f"{model.get('path', '?')}, quantize {model.get('quantize', '?')}, backend {model.get('backend', '?')}",
        ),
        ("seed", str(recipe.get("seed", "?"))),
        ("versions", f"Python {around.get('python', '?')}, {versions}"),
        ("machine", f"{machine}; {around.get('platform', '?')}"),
        ("git revision", str(around.get("git") or "?")),
        ("training of the stages", f"{seconds:,.0f} s"),
    ]
    if total := _span(steps):
        rows.append(("first step to last, evaluations between", f"{total:,.0f} s ({total / 3600:.2f} h)"))
    return markdown_table(("made with", ""), rows)


def _span(steps: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds from the first step to the last that tell their time; a run that was interrupted counts its pause."""
    times = [datetime.fromisoformat(step["time"]) for step in steps if "time" in step]
    return (max(times) - min(times)).total_seconds() if len(times) > 1 else None


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


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


def round_table(run: Path) -> list[str]:
    """Of each round of traces that was made for a run: how many rollouts pass each screen, and what is kept."""
    found = read_json(run / "data" / "build.json")
    rows = []
    for row in round_rows(found) if found else ():
        shares = [f"{100 * row[screen]:.1f} %" for screen in ("format", "verdict", "tool")]
        said = ", ".join(f"{family} {n}" for family, n in row["families"].items())
        rows.append((row["round"], row["judged"], *shares, row["passed"], row["kept"], said))
    header = ("round", "rollouts", "format", "verdict", "a tool helped", "pass all", "learnt from", "of these")
    return markdown_table(header, rows) if rows else []


def _stage_table(run: Path) -> list[str]:
    rows = []
    for name, values in read_json(run / "stages.json", {}).items():
        rest = ", ".join(f"{k.replace('_', ' ')}: {v}" for k, v in values.items() if k != "seconds")
        rows.append((name, values["seconds"], rest))
    return markdown_table(("stage", "seconds", "learnt from"), rows)
