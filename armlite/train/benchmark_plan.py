"""What the benchmarks of a recipe will take, told beforehand: rows, downloads, judgments, hours. Nothing is read."""

from typing import Any

from armlite.curation.plan import hours_told, judging_hours, said, told_of
from armlite.evals.run import benchmark_of
from armlite.plan.seconds import Profile
from armlite.recipe import Recipe
from armlite.train.benchmarks import judged_at, origins_of


def benchmark_plan(recipe: Recipe, profile: Profile | None = None, sizes: bool = True) -> dict[str, Any]:
    """The plan as plain data; what cannot be known is None. Judgments are at most: with tools and without.

    Args:
        profile: rates that were measured for the recipe's model.
        sizes: ask the hub how large repositories are.

    Returns:
        `at` (checkpoints), `benchmarks` (name -> `set`, `from`, `rows`, `download_gb`, `licence`, `judgments`), and in
        all `download_gb`, `judgments`, `hours`, `hours_on` (what the rates were measured on); where something is not
        known of one, `judgments` and `download_gb` are those of the others, whose number is `known`.

    Raises:
        ArmliteError: there is no such benchmark, or what is said of one does not fit together.
    """
    at, found = judged_at(recipe), {}
    for name, origin in origins_of(recipe).items():
        row = told_of(origin, sizes)
        order = benchmark_of("pocket" if origin.set in ("pocket", "file") else origin.set).order
        orders = 2 if order in ("both", "seeded_both") else 1
        found[name] = {**row, "judgments": None if row["rows"] is None else 2 * len(at) * orders * row["rows"]}
    sums = {key: [row[key] for row in found.values() if row[key] is not None] for key in ("download_gb", "judgments")}
    judgments = sum(sums["judgments"])
    return {
        "at": at,
        "benchmarks": found,
        "download_gb": round(sum(sums["download_gb"]), 2),
        "judgments": judgments,
        "known": {key: len(values) for key, values in sums.items()},
        "hours": judging_hours(judgments, profile),
        "hours_on": profile.device if profile else None,
    }


def benchmark_lines(plan: dict[str, Any]) -> list[str]:
    """A plan as lines of text; none where the recipe has no benchmarks."""
    if not plan["benchmarks"]:
        return []

    lines = [f"benchmarks, read before all else, judged at {', '.join(plan['at'])}, with tools and without; at most"]
    for name, row in plan["benchmarks"].items():
        size = said(row["download_gb"], " GB")
        lines.append(f"  {name}: rows {said(row['rows'])} from {row['from']}, download {size}")
        lines.append(f"    judgments {said(row['judgments'])}; licence: {row['licence']}")
    count = len(plan["benchmarks"])
    parts = []
    for key, unit in (("download_gb", " GB"), ("judgments", "")):
        known = plan["known"][key]
        of = "" if known in (0, count) else f" (of the {known} whose {key.removesuffix('_gb')} is known)"
        parts.append(f"{key.removesuffix('_gb')} {said(plan[key] if known else None, unit)}{of}")
    return [*lines, f"benchmarks in all: {', '.join(parts)}; {hours_told(plan)}"]
