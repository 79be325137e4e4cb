"""Knowing before running: what a recipe takes on a card, and what to turn down where that is too much.

Called by `armlite plan`, and by `armlite train` before it loads anything onto a GPU. Figures come from sizes, not from
a run; where a measured profile stands beside the recipe (`RECIPE.bench.json`), its rates are used for the time, and
parts that took more memory than sizes say are raised by that.
"""

from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.plan.cards import Card, find_card, this_card
from armlite.plan.fit import fit, highest, peaks, ways
from armlite.plan.seconds import Course, Profile, rates_for, sft_seconds, step_seconds
from armlite.plan.shapes import known_shape, shape_of
from armlite.recipe import Recipe
from armlite.stages import GrpoSettings
from armlite.store import write_atomic

LARGEST_ON_CPU = 1e9
"""Parameters above which training on a CPU is a mistake rather than a plan."""
MARGIN = 0.92
"""Share of a card that `--fit` fills: the prediction is not exact."""


def on_card(recipe: Recipe, card: Card | None) -> Recipe:
    """The recipe with the type in which it will compute on a card: float16 where there is no bfloat16."""
    if card is None or card.bfloat16 or recipe.model.dtype != "auto":
        return recipe
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"dtype": "float16"})})


def make_plan(recipe: Recipe, gpu: str | None = None, profile: Profile | None = None) -> dict[str, Any]:
    """The plan of a recipe as plain data.

    Args:
        gpu: a card by name, size or free memory; None: this machine's, if it has one.
        profile: measured rates, see `armlite.plan.seconds`.

    Returns:
        `recipe`, `card` (or null), `usable_gib`, `fits` (null without a card), `stages` (name -> `gib`, `moment`,
        `parts`, `seconds`), `ways` (what would make it fit), `rates` (`by` name and their `origin`, or null), `notes`.

    Raises:
        ArmliteError: the card or the model's shape is not known.
    """
    shape = shape_of(recipe.model.path)
    card = find_card(gpu) if gpu else this_card()
    recipe = on_card(recipe, card)
    plain, rated = peaks(recipe, shape), rates_for(recipe, shape, card, profile)
    stages, found = {}, {name: memory.raised(profile.parts if profile else {}, name) for name, memory in plain.items()}
    needed = max(memory.gib for memory in found.values())
    more = needed - max(memory.gib for memory in plain.values())
    for name, memory in found.items():
        stage = recipe.stages.named()[name]
        seconds: dict[str, float] = {}
        if rated is not None:
            rates = rated[0]
            if isinstance(stage, GrpoSettings):
                seconds = step_seconds(recipe, stage, Course().within(stage.max_context), rates)
            else:
                seconds = {"update": sft_seconds(stage, rates)}
            seconds["step"] = sum(seconds.values())
        parts = {part: round(value, 3) for part, value in memory.parts.items()}
        stages[name] = {"gib": round(memory.gib, 2), "moment": memory.moment, "parts": parts, "seconds": seconds}
    fits = None if card is None else needed <= card.usable
    turned = ways(recipe, shape, card.usable - more) if card is not None and not fits else []
    return {
        "recipe": recipe.name,
        "card": card.name if card else None,
        "usable_gib": round(card.usable, 1) if card else None,
        "fits": fits,
        "stages": stages,
        "ways": [{"overrides": text, "cost": cost, "gib": round(then + more, 1)} for text, cost, then in turned],
        "rates": {"by": rated[0], "origin": rated[1]} if rated else None,
        "notes": [*_notes(recipe, needed, card, turned, rated[1] if rated else None), *_raised(profile)],
    }


def _notes(recipe: Recipe, needed: float, card: Card | None, turned: list[Any], origin: str | None) -> list[str]:
    lines = []
    if card is None:
        lines.append("no GPU here: name one with --gpu 24gb to see whether it fits")
    elif needed <= card.usable:
        lines.append(f"fits: {needed:.1f} of the {card.usable:.1f} GiB that tensors can take ({card.name})")
    else:
        lines.append(f"does not fit: {needed:.1f} GiB, but tensors can take {card.usable:.1f} ({card.name})")
        lines += [f"  {text}  -> {then:.1f} GiB ({cost})" for text, cost, then in turned]
        if not turned:
            lines.append("  no setting makes it fit: use a smaller model or a larger card")
    if card is not None and recipe.model.dtype == "float16":
        why = "" if card.bfloat16 else f": {card.name} has no bfloat16"
        lines.append(f"computes in float16 with loss scaling, the vision tower in float32{why}")
    lines.append("memory is computed from sizes: 0 to 10 % above what a 4-bit 7B took of an H200, else not compared")
    if origin is not None:
        context = min((s.max_context for s in recipe.stages.named().values() if isinstance(s, GrpoSettings)), default=0)
        course = Course().within(context)
        lines.append(
            f"seconds are {origin}, for rollouts of {course.prompt} prompt, {course.observations} observation and "
            f"{course.generated} generated tokens"
        )
    return lines


def _raised(profile: Profile | None) -> list[str]:
    """Which parts of memory the profile knows to take more than sizes say."""
    more = {part: f"{factor - 1:.0%}" for part, factor in (profile.parts if profile else {}).items() if factor > 1.005}
    told = ", ".join(f"{part} {share}" for part, share in more.items())
    return [f"raised by what they took more on {profile.device}: {told}"] if profile and more else []


def check_fits(recipe: Recipe) -> None:
    """Refuse a recipe that cannot run on this machine, before anything is loaded. A model whose shape is not known here
    passes: its weights will tell.

    Raises:
        ArmliteError: says by how much it does not fit, and the cheapest ways to make it fit; or that there is no GPU.
    """
    shape, card = known_shape(recipe.model.path), this_card()
    if shape is None:
        return
    if card is None:
        if shape.total > LARGEST_ON_CPU:
            raise ArmliteError(
                f"{recipe.name} trains a model of {shape.total / 1e9:.1f} billion parameters, and this machine (or its "
                "build of torch) has no GPU: `armlite doctor` says why, recipes/pocket.yaml runs without one. To try "
                "all the same: --force"
            )
        return
    recipe = on_card(recipe, card)
    needed = highest(recipe, shape)
    if needed > card.usable:
        found = ways(recipe, shape, card.usable)
        fixes = "; ".join(f"{text} ({cost})" for text, cost, _ in found) or "a smaller model or a larger card"
        raise ArmliteError(
            f"{recipe.name} needs about {needed:.1f} GiB, but only {card.usable:.1f} of {card.name} are free. To make "
            f"it fit: {fixes}. To try all the same: --force"
        )


def write_fitted(recipe: Recipe, gpu: str, out: Path | None, origin: Path) -> None:
    """Write the largest recipe like this one that fits a card, to a file or to stdout.

    Raises:
        ArmliteError: nothing makes it fit, or `out` is the recipe itself.
    """
    shape, card = shape_of(recipe.model.path), find_card(gpu)
    if out is not None and out.resolve() == origin.resolve():
        raise ArmliteError(f"--out {out} is the recipe itself; give another file")
    fitted = fit(on_card(recipe, card), shape, MARGIN * card.usable)
    needed = highest(fitted, shape)
    fitted = fitted.model_copy(update={"model": fitted.model.model_copy(update={"dtype": recipe.model.dtype})})
    text = (
        f"# {origin.name}, fitted to {card.name}: {needed:.1f} of {card.usable:.1f} GiB predicted "
        f"(armlite plan).\n{fitted.to_yaml()}"
    )
    if out is None:
        print(text, end="")
    else:
        write_atomic(out, text)
