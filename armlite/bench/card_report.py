"""What `armlite bench --card` ends with: goals met and missed, how far the plan is off, and what that says to change.

Text from a report's plain data; nothing is measured here.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from armlite.bench.parts import PARTS
from armlite.bench.workloads import TABLE
from armlite.plan.cards import card_named
from armlite.plan.seconds import Profile, profile_of, rates_for
from armlite.plan.shapes import known_shape
from armlite.recipe import Recipe

NOTABLE = 0.1
"""Share by which a part of memory may differ from the plan before that is worth a change."""
Report = dict[str, Any]


def card_lines(report: Report, recipe: Recipe | None = None) -> Iterator[str]:
    """The whole of it.

    Args:
        recipe: whose plan it is compared with; None: of small models there is none of seconds.
    """
    yield f"{report.get('model', 'nothing measured yet')} on {report.get('device', 'this machine')}"
    yield ""
    yield from _goals(report)
    yield ""
    yield from _errors(report)
    yield ""
    yield from changes(report, recipe)
    if report["left"]:
        yield ""
        yield "not measured yet: " + "; ".join(f"{work} ({why})" for work, why in report["left"].items())
        yield "the same command goes on"


def _goals(report: Report) -> Iterator[str]:
    """A line a goal: of the small models, whose rows have none, a line a row."""
    words = {True: "met", False: "missed", None: "not measured"}
    for row in report["rows"]:
        values = {str(goal): goal.value(row) for goal in TABLE[row["work"]].goals}
        for goal, met in row["goals"].items():
            value = values.get(goal)
            yield f"{row['work']:8} {goal:42} {'' if value is None else f'{value:10.4g}':>10}  {words[met]}"
        if not row["goals"]:
            yield f"{row['work']:8} {_main_figure(row)}"


def _main_figure(row: dict[str, Any]) -> str:
    """Of a row without goals: the figure that its workload is about."""
    figures = {goal.figure: goal.value(row) for goal in TABLE[row["work"]].goals}
    told = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
    return ", ".join(told) or "done"


def _errors(report: Report) -> Iterator[str]:
    """The plan's error for each part, over all workloads in which the part was measured."""
    found = part_errors(report)
    if not found:
        yield "no part of memory was measured"
        return
    yield "plan against measured   median      least       most   workloads"
    for part, errors in found.items():
        low, high = min(errors.values()), max(errors.values())
        works = ", ".join(errors)
        yield f"{part:20} {median(errors.values()):+9.1%} {low:+10.1%} {high:+10.1%}   {works}"


def part_errors(report: Report) -> dict[str, dict[str, float]]:
    """Part -> work -> by what share of the measured the plan is above it."""
    rows = [(row["work"], row["memory"]) for row in report["rows"] if "memory" in row]
    found = {part: {work: memory[part]["error"] for work, memory in rows if part in memory} for part in PARTS}
    return {part: errors for part, errors in found.items() if errors}


def changes(report: Report, recipe: Recipe | None) -> Iterator[str]:
    """What the figures say to change: seconds that the recipe's profile now has, parts that the plan gets wrong."""
    profile = profile_of(report)
    if profile is not None:
        yield from _rates(profile, recipe)
    wrong = {part: median(errors.values()) for part, errors in part_errors(report).items()}
    wrong = {part: error for part, error in wrong.items() if abs(error) > NOTABLE}
    for part, error in wrong.items():
        way = "more than it takes" if error > 0 else "less than it takes"
        yield f"armlite/plan/memory.py: {part} are planned {abs(error):.0%} {way}"
    if not wrong and part_errors(report):
        yield f"armlite/plan/memory.py: no part is more than {NOTABLE:.0%} off"


def _rates(profile: Profile, recipe: Recipe | None) -> Iterator[str]:
    """Measured rates, beside those that `armlite plan` estimates without a profile."""
    shape = known_shape(recipe.model.path) if recipe is not None else None
    card = card_named(profile.device)
    estimated = rates_for(recipe, shape, card, None) if recipe and shape and card else None
    for name, rate in profile.rates.items():
        told = f", estimated {estimated[0][name]:.4g}" if estimated and name in estimated[0] else ""
        yield f"profile: {name.replace('_', ' ')} {rate:.4g}{told}"


def profile_path(recipe: Path) -> Path:
    """Where `armlite plan` looks for what was measured of a recipe."""
    return recipe.with_suffix(".bench.json")
