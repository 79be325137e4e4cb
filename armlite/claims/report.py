"""`claims.md`, `claims.json` and two pictures: what became of each claim, and each variant's figures, from the runs."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from armlite.claims.checks import Values, judge_check, overall
from armlite.claims.curves import curve_of, draw_curves
from armlite.claims.figures import values_of
from armlite.claims.plots import draw
from armlite.claims.runs import is_finished, run_of
from armlite.claims.settings import Claims
from armlite.errors import ArmliteError
from armlite.evals.report import markdown_table
from armlite.store import read_json, write_atomic
from armlite.train.provenance import environment
from armlite.train.report import summaries, value_of
from armlite.train.run import NOTES

RULE = """\
A claim holds where all of its checks hold, does not hold where one does not, and is undecided else. A check holds where
the 95 % interval of its difference lies on the right side as a whole, does not hold where it lies on the other side.
Differences are paired: the same tasks, the same seed. The interval is Student's over the seeds' means, and never
narrower than the paired interval over the tasks of these seeds; of one seed it is the latter, and says nothing of
others."""


def judge_claims(claims: Claims, folder: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """What became of each claim, and the figures of the variants.

    Args:
        folder: of the runs.
        seeds: those that count; runs that are not finished are left out.

    Returns:
        Plain data: `name`, `text`, `rule`, `date`, `seeds`, `environment`, `claims` (`id`, `text`, `verdict`, `checks`:
        rows of `judge_check`) and `variants` (name -> `text`, `runs`: seed -> `seconds` by stage, `eval`: checkpoint ->
        round -> `accuracy`, `calls`).
    """
    recipes = {variant.name: variant.recipe for variant in claims.variants}
    done = {
        (name, seed): run
        for name, recipe in recipes.items()
        for seed in seeds
        if is_finished(run := run_of(folder, seed, name), recipe)
    }

    @cache
    def look(path: str) -> Values | None:
        name, *rest = path.split("/")
        found = {seed: values_of(done[name, seed], *rest) for seed in seeds if (name, seed) in done}
        return {seed: values for seed, values in found.items() if values is not None} or None

    rows = []
    for claim in claims.claims:
        try:
            checks = [row for check in claim.checks for row in judge_check(check, look)]
        except ArmliteError as error:
            raise ArmliteError(f"claim {claim.id}: {error}") from error
        rows.append({"id": claim.id, "text": claim.text, "verdict": overall(checks), "checks": checks})
    variants = {}
    for variant in claims.variants:
        runs = {str(seed): _figures(done[variant.name, seed]) for seed in seeds if (variant.name, seed) in done}
        variants[variant.name] = {"text": variant.text, "runs": runs}
    return {
        "name": claims.name,
        "text": claims.text,
        "rule": " ".join(RULE.split()),
        "date": datetime.now(UTC).date().isoformat(),
        "seeds": list(seeds),
        "environment": environment(),
        "claims": rows,
        "variants": variants,
    }


def write_claims(folder: Path, judged: Mapping[str, Any]) -> None:
    """Write `claims.md`, `claims.json`, `claims.png` and `claims-training.png` below the folder of the runs."""
    curves = {
        name: {seed: curve_of(run_of(folder, int(seed), name)) for seed in variant["runs"]}
        for name, variant in judged["variants"].items()
    }
    drawn = draw_curves(folder / "claims-training.png", curves)
    draw(folder / "claims.png", judged)
    write_atomic(folder / "claims.json", json.dumps(judged, indent=1) + "\n")
    write_atomic(folder / "claims.md", "\n".join(_page(judged, drawn)) + "\n")


def summary_rows(judged: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(id, claim, verdict, what was measured) of each claim."""
    rows = []
    for claim in judged["claims"]:
        measured = "; ".join(_measured(row) for row in claim["checks"])
        rows.append((claim["id"], claim["text"], claim["verdict"], measured))
    return rows


def _measured(row: Mapping[str, Any]) -> str:
    if row["verdict"] == "not run":
        return "not run"
    return f"{row['left']:.3g} and {row['right']:.3g}, {_span(row['difference'])}"


def _span(difference: Mapping[str, Any]) -> str:
    low, high = difference["ci95"] or (None, None)
    return f"{difference['value']:+.3f}" + (f" ({low:+.3f} to {high:+.3f})" if low is not None else "")


def _figures(run: Path) -> dict[str, Any]:
    found = {}
    for checkpoint, summary in summaries(run).items():
        found[checkpoint] = {
            name: {"accuracy": value_of(one, "accuracy"), "calls": value_of(one, "tool_calls_per_task")}
            for name, one in summary.items()
            if isinstance(one, dict) and "figures" in one
        }
    notes = read_json(run / NOTES, {})
    return {"seconds": {name: values["seconds"] for name, values in notes.items()}, "eval": found}


def _page(judged: Mapping[str, Any], drawn: bool) -> list[str]:
    lines = [f"# Claims: {judged['name']}", "", *([judged["text"], ""] if judged["text"] else [])]
    lines += [origin(judged), "", *verdict_lines(judged)]
    lines += ["", judged["rule"], "", "![Variants and claims](claims.png)", ""]
    lines += ["![Training curves](claims-training.png)", ""] if drawn else []
    lines += ["## Checks", "", *check_lines(judged), "", "## Variants", ""]
    lines += [f"- **{name}**: {variant['text']}" for name, variant in judged["variants"].items() if variant["text"]]
    lines += ["", "Greedy, held-out tasks; mean over the seeds (lowest to highest).", ""]
    return [*lines, *variant_lines(judged)]


def origin(judged: Mapping[str, Any]) -> str:
    """Seeds, date and machine, as a sentence."""
    environment = judged["environment"]
    machine = environment.get("gpu") or f"CPU, {environment['threads']} threads"
    return f"Seeds {', '.join(map(str, judged['seeds']))}; {judged['date']}; {machine}; {environment['platform']}."


def verdict_lines(judged: Mapping[str, Any]) -> list[str]:
    """A table of the claims' verdicts, in Markdown."""
    return markdown_table(("", "claim", "verdict"), [row[:3] for row in summary_rows(judged)])


def check_lines(judged: Mapping[str, Any]) -> list[str]:
    """A table of what was compared for them."""
    header = ("claim", "check", "left", "right", "beyond by (95 %)", "seeds", "pairs", "verdict")
    return markdown_table(header, _check_rows(judged))


def variant_lines(judged: Mapping[str, Any]) -> list[str]:
    """A table of each variant's checkpoints."""
    header = ("variant", "checkpoint", "accuracy", "without tools", "calls a task", "training, s", "seeds")
    return markdown_table(header, _variant_rows(judged))


def _check_rows(judged: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for claim in judged["claims"]:
        for row in claim["checks"]:
            if row["verdict"] == "not run":
                rows.append((claim["id"], f"`{row['check']}`", *"–––––", "not run"))
            else:
                sides = (f"{row['left']:.3f}", f"{row['right']:.3f}", _span(row["difference"]))
                rows.append((claim["id"], f"`{row['check']}`", *sides, row["seeds"], row["n"], row["verdict"]))
    return rows


def _variant_rows(judged: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for name, variant in judged["variants"].items():
        runs = list(variant["runs"].values())
        for checkpoint in runs[0]["eval"] if runs else ():
            own = [run["eval"][checkpoint] for run in runs if checkpoint in run["eval"]]
            seconds = [run["seconds"][checkpoint] for run in runs if checkpoint in run["seconds"]]
            rows.append(
                (
                    name,
                    checkpoint,
                    _range([one.get("greedy", {}).get("accuracy") for one in own], 100, " %"),
                    _range([one.get("no_tools", {}).get("accuracy") for one in own], 100, " %"),
                    _range([one.get("greedy", {}).get("calls") for one in own], 1, "", 2),
                    _range(seconds, 1, "", 0),
                    len(own),
                )
            )
    return rows


def _range(values: Sequence[float | None], scale: float, unit: str, digits: int = 1) -> str:
    known = [scale * value for value in values if value is not None]
    if not known:
        return "–"
    mean = f"{sum(known) / len(known):.{digits}f}{unit}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.{digits}f} to {max(known):.{digits}f})"
