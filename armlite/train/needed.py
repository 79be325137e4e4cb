"""The part of a run's report on calls that were needed: accuracy and calls by how many calls a task needs, and the
transfer split beside the ordinary one.
"""

from collections.abc import Mapping
from typing import Any

from armlite.evals.report import markdown_table

ROUNDS = {"rollout": "rollout temperature", "greedy": "greedy", "no_tools": "greedy, no tools"}
Summaries = Mapping[str, Mapping[str, Any]]
"""Checkpoint -> round -> its summary."""


def needs_lines(found: Summaries) -> list[str]:
    """Accuracy and calls made, by calls needed; nothing where tasks do not say how many they need."""
    known = sorted({n for s in found.values() for r in s.values() for n in _needs(r)})
    if not known:
        return []
    rows = []
    for name, summary in found.items():
        for key, label in ROUNDS.items():
            figures = summary[key]["figures"]
            cells = [_cell(figures, n) for n in known]
            rows.append((name, label, *cells, _number(figures["tool_calls_per_task"], "{:.2f}")))
    header = ("checkpoint", "decoding", *(f"needs {n}" for n in known), "calls a task")
    text = "Accuracy, and calls made a task, by how many calls the tasks need:"
    return ["## Calls made against calls needed", "", text, "", *markdown_table(header, rows), "", *_transfer(found)]


def _transfer(found: Summaries) -> list[str]:
    rows = []
    for name, summary in found.items():
        if "transfer" in summary:
            pair = [summary[key]["figures"] for key in ("greedy", "transfer")]
            rows.append((name, *(_number(f["accuracy"], "{:.1%}", True) for f in pair), *map(_calls, pair)))
    if not rows:
        return []
    header = ("checkpoint", "ordinary split (95 %)", "transfer split (95 %)", "calls", "calls, transfer")
    text = "Places, topics, constraints and chains that no stage has seen, greedy, beside the ordinary split:"
    return ["## Transfer", "", text, "", *markdown_table(header, rows), ""]


def _needs(summary: Mapping[str, Any]) -> list[str]:
    return [name.partition("/")[2] for name in summary["figures"] if name.startswith("calls_by_needs/")]


def _cell(figures: Mapping[str, Any], needs: str) -> str:
    accuracy, calls = (figures.get(f"{what}_by_needs/{needs}", {}) for what in ("accuracy", "calls"))
    return f"{_number(accuracy, '{:.1%}')}, {_number(calls, '{:.2f}')} calls"


def _calls(figures: Mapping[str, Any]) -> str:
    return _number(figures["tool_calls_per_task"], "{:.2f}")


def _number(figure: Mapping[str, Any], form: str, interval: bool = False) -> str:
    """A figure as text; a dash where it is undefined."""
    if figure.get("value") is None:
        return "–"
    said = form.format(figure["value"])
    if interval and figure.get("ci95"):
        said += " (" + " to ".join(form.format(v) for v in figure["ci95"]) + ")"
    return said.replace("%", " %")
