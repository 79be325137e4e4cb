"""What a build will take, told beforehand: rows, downloads, disk, model calls, hours, licences. Nothing is downloaded.

What cannot be known is None: the rows of a set whose number nobody published, the size of a repository without a
network, hours without measured rates. Counts are upper bounds: what rejects a row makes less of what comes after.
"""

from pathlib import Path
from typing import Any

from armlite.curation.recipe import DataRecipe, Origin, SourceSettings, fits_base
from armlite.curation.sources import POCKET
from armlite.data.hub import size_of
from armlite.plan.seconds import Profile, judgment_seconds

OPEN = "nothing in the licences that were found keeps the judge from being shared; read them all the same"
AFTER = "the judge after grpo1"
"""Who makes the second round of traces: the base model with an adapter, as fast as it."""
UNCLEAR = ("unknown", "none declared", "not seen", "see the")


def make_plan(
    recipe: DataRecipe, base: str | None = None, profile: Profile | None = None, sizes: bool = True
) -> dict[str, Any]:
    """The plan of a data recipe as plain data.

    Args:
        base: the model of the training recipe.
        profile: rates that were measured for it.
        sizes: ask the hub how large repositories are.

    Returns:
        `sources` (name -> `set`, `from`, `rows`, `download_gb`, `licence`), `download_gb`, `disk_gb`, `tasks`,
        `held_out`, `calls` (what for -> `model`, `judgments`), `hours`, `hours_on` (what the rates were measured on),
        `licence` (sentences).

    Raises:
        ArmliteError: the recipe asks for the base model, and there is none.
    """
    model = fits_base(recipe, base)
    sources = {source.called: told_of(source, sizes) for source in recipe.sources}
    published = recipe.traces.published if recipe.traces is not None else None
    if published is not None:
        sources["traces"] = told_of(published, sizes)
    tasks = [_most(source, sources[source.called]["rows"]) for source in recipe.sources]
    in_all = _sum(tasks) if recipe.total is None else recipe.total
    held = None if in_all is None else int(recipe.held_out.share * in_all)
    left = None if in_all is None or held is None else in_all - held
    calls = _calls(recipe, sources, left, model)
    gb = _sum([row["download_gb"] for row in sources.values()])
    licences = [row["licence"] for row in sources.values()]
    return {
        "recipe": recipe.name,
        "sources": sources,
        "download_gb": gb,
        "disk_gb": None if gb is None else 2 * gb,
        "tasks": in_all,
        "held_out": held,
        "calls": calls,
        "hours": _hours(calls, model, profile),
        "hours_on": profile.device if profile else None,
        "licence": licence_notes(licences),
    }


def told_of(origin: Origin, sizes: bool = True) -> dict[str, Any]:
    """What is known of a source without reading it.

    Args:
        sizes: ask the hub how large a repository is.
    """
    row = {"set": origin.set, "from": str(origin.path or "here"), "rows": origin.rows, "licence": origin.licence}
    if origin.set == "pocket":
        return row | {"rows": origin.rows or POCKET, "download_gb": 0.0}
    if origin.set == "file" or origin.path is not None:
        return row | {
            "rows": origin.rows or (rows_in(origin.path) if origin.set == "file" else None),
            "download_gb": 0.0,
        }
    dataset = origin.dataset()
    size = size_of(dataset) if sizes else None
    row |= {"rows": origin.rows or dataset.counts.get("all"), "from": dataset.hub}
    return row | {"download_gb": None if size is None else round(size / 1e9, 2)}


def rows_in(path: Path | None) -> int | None:
    """How many rows a JSONL file has; None where there is none."""
    if path is None or not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _most(source: SourceSettings, rows: int | None) -> int | None:
    known = [n for n in (source.n, rows) if n is not None]
    return min(known) if known else None


def _sum(values: list[Any]) -> Any:
    return None if any(value is None for value in values) else sum(values)


def _calls(
    recipe: DataRecipe, sources: dict[str, Any], left: int | None, base: str | None
) -> dict[str, dict[str, Any]]:
    """What each model is asked for, at most."""
    found = {}
    for what, model in recipe.models().items():
        if what == "filter":
            n = None if left is None or recipe.filter is None else left * recipe.filter.k
        elif what == "traces":
            tasks = [t for t in (left, recipe.traces.n if recipe.traces else None) if t is not None]
            n = min(tasks) * recipe.traces.k if tasks and recipe.traces else None
        else:
            n = sources[what.removeprefix("negatives of ")]["rows"]
        found[what] = {"model": base if model == "base" else model, "judgments": n}
    if recipe.traces is not None and recipe.traces.rounds == 2:
        found["traces, round 2"] = {"model": AFTER, "judgments": found["traces"]["judgments"]}
    return found


def _hours(calls: dict[str, dict[str, Any]], model: str | None, profile: Profile | None) -> float | None:
    """Hours on the card that the rates were measured on, if all judgments are the local base model's."""
    counts = [row["judgments"] for row in calls.values()]
    if None in counts or any(row["model"] not in (model, AFTER) for row in calls.values()):
        return None
    return judging_hours(sum(counts), profile)


def judging_hours(judgments: int, profile: Profile | None) -> float | None:
    """Hours of so many judgments of the local model on the card that the rates were measured on; None: none were."""
    if not judgments:
        return 0.0
    if profile is None:
        return None
    return round(judgments * judgment_seconds(profile.rates, 8) / 3600, 2)  # eight at once, as the recipes have it


def licence_notes(licences: list[str]) -> list[str]:
    """What the licences of a mix mean for a judge that learns from it. No legal advice: the words of the licences."""
    notes = []
    upper = [text.upper() for text in licences]
    if any("-NC" in text or "ACADEMIC" in text for text in upper):
        notes.append("a part of the mix is for non-commercial use only: share the judge under the same condition")
    if any("-SA" in text for text in upper):
        notes.append("a part of the mix is to be shared alike: what is made of it goes under the same licence")
    if any(word in text.lower() for text in licences for word in UNCLEAR):
        notes.append("the licence of a part of the mix is not known: ask its authors before the judge is shared")
    return notes or [OPEN]


def said(value: int | float | None, unit: str = "") -> str:
    """A number of a plan in words."""
    return "not known" if value is None else f"{value:,}{unit}"


def hours_told(plan: dict[str, Any]) -> str:
    """The hours of judging of a plan, and where they are known from."""
    where = f" (estimated from rates measured on {plan['hours_on']})" if plan["hours"] and plan["hours_on"] else ""
    return f"hours of judging: {said(plan['hours'])}{where}"


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """A plan as lines of text."""
    lines = [f"data recipe {plan['recipe']}: nothing is downloaded or asked yet; counts are at most"]
    for name, row in plan["sources"].items():
        size = said(row["download_gb"], " GB")
        lines.append(f"  {name}: {row['set']} from {row['from']}; rows {said(row['rows'])}, download {size}")
        lines.append(f"    licence: {row['licence']}")
    lines.append(f"tasks {said(plan['tasks'])}, of which held out {said(plan['held_out'])}")
    lines.append(f"download {said(plan['download_gb'], ' GB')}, disk {said(plan['disk_gb'], ' GB')}")
    for what, row in plan["calls"].items():
        lines.append(f"{what}: {said(row['judgments'])} judgments by {row['model']}")
    lines.append(hours_told(plan))
    return [*lines, *(f"licence of the mix: {note}" for note in plan["licence"])]
