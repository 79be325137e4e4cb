"""Making a recipe fit a card: what to turn down, cheapest first, and the largest recipe that fits."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

from armlite.errors import ArmliteError
from armlite.plan.memory import Memory, stage_memory
from armlite.plan.shapes import Shape
from armlite.recipe import Recipe, check_recipe
from armlite.stages import StageName

Raw = dict[str, Any]
"""A recipe as plain data."""
Changes = dict[str, Any]
"""Dotted key of a recipe -> its new value."""
SMALLEST_CONTEXT = 2048
LARGEST_CONTEXT = 32768
SMALLEST_PIXELS = 128 * 28 * 28


@dataclass(frozen=True)
class Knob:
    """Something that can be turned down one notch at a time."""

    name: str
    cost: str
    turn: Callable[[Raw], Changes]
    """What one notch sets; nothing where it is at its end."""


def _stages(raw: Raw) -> Iterator[tuple[str, Raw]]:
    for name, stage in raw["stages"].items():
        if stage is not None:
            yield f"stages.{name}", stage


def _prefill(raw: Raw) -> Changes:
    tokens = raw["engine"]["prefill_tokens"]
    return {"engine.prefill_tokens": tokens // 2} if tokens > 512 else {}


def _slots(raw: Raw) -> Changes:
    engine = raw["engine"]
    rollouts = [s["num_generations"] * s["tasks_per_step"] for _, s in _stages(raw) if "num_generations" in s]
    longest = max(
        [s["max_context"] for _, s in _stages(raw) if "max_context" in s] + [raw["evaluation"]["max_context"]]
    )
    if (budget := engine["max_tokens_in_cache"]) and budget > longest:
        return {"engine.max_tokens_in_cache": max(longest, budget // 2)}
    slots = min(engine["max_slots"], max(rollouts, default=1))
    return {"engine.max_slots": slots // 2} if slots > 1 else {}


def _update(raw: Raw) -> Changes:
    changes: Changes = {}
    for name, stage in _stages(raw):
        longest = stage.get("max_context") or stage["max_length"]
        if (budget := stage.get("update_tokens")) and budget > longest:
            changes[f"{name}.update_tokens"] = max(longest, budget // 2)
        elif not budget and stage["per_device_train_batch_size"] % 2 == 0:
            changes[f"{name}.per_device_train_batch_size"] = stage["per_device_train_batch_size"] // 2
            changes[f"{name}.gradient_accumulation_steps"] = stage["gradient_accumulation_steps"] * 2
    return changes


def _checkpointing(raw: Raw) -> Changes:
    without = [name for name, stage in _stages(raw) if not stage["gradient_checkpointing"]]
    return {f"{name}.gradient_checkpointing": True for name in without}


def _optimizer(raw: Raw) -> Changes:
    return {f"{name}.optim": "paged_adamw_8bit" for name, stage in _stages(raw) if "8bit" not in stage["optim"]}


def _quantize(raw: Raw) -> Changes:
    cannot = raw["model"]["quantize"] == "4bit" or any(s["adapter"] == "none" for _, s in _stages(raw))
    return {} if cannot else {"model.quantize": "4bit"}


def _pixels(raw: Raw) -> Changes:
    names = ("image_max_pixels", "crop_max_pixels", "sheet_max_pixels", "page_max_pixels")
    sizes = {name: raw["episode"]["limits"][name] for name in names}
    larger = {name: size for name, size in sizes.items() if size > SMALLEST_PIXELS}
    return {f"episode.limits.{name}": max(SMALLEST_PIXELS, size * 3 // 4) for name, size in larger.items()}


def _context(raw: Raw) -> Changes:
    changes: Changes = {}
    for name, stage in _stages(raw):
        key = "max_context" if "max_context" in stage else "max_length"
        if stage[key] > SMALLEST_CONTEXT:
            tokens = max(SMALLEST_CONTEXT, stage[key] * 3 // 4 // 64 * 64)
            changes[f"{name}.{key}"] = tokens
            if budget := stage.get("update_tokens"):
                changes[f"{name}.update_tokens"] = max(tokens, budget * 3 // 4)
            if stage.get("max_new_tokens", 0) >= tokens:
                changes[f"{name}.max_new_tokens"] = tokens // 2
    return changes


KNOBS = (
    Knob("a smaller prefill pass", "slower prefill, same results", _prefill),
    Knob("fewer conversations at once", "slower rollouts, same results", _slots),
    Knob("smaller update passes", "slower updates, same results", _update),
    Knob("gradient checkpointing", "updates a third slower, same results", _checkpointing),
    Knob("an 8-bit optimizer", "rounded optimizer states", _optimizer),
    Knob("4-bit weights", "rounded weights", _quantize),
    Knob("smaller images", "the judge sees less", _pixels),
    Knob("shorter conversations", "longer ones end without an answer", _context),
)
"""Cheapest first: those that change no result, then those that round, then those that take something away."""


def peaks(recipe: Recipe, shape: Shape) -> dict[StageName, Memory]:
    """Predicted peak of each stage."""
    return {name: stage_memory(recipe, name, shape) for name in recipe.stages.named()}


def highest(recipe: Recipe, shape: Shape) -> float:
    """GiB that the recipe takes at its worst moment."""
    return max(memory.gib for memory in peaks(recipe, shape).values())


def ways(recipe: Recipe, shape: Shape, gib: float, most: int = 3) -> list[tuple[str, str, float]]:
    """What would make a recipe fit into so many GiB, cheapest first.

    Returns:
        (overrides, what it costs, GiB then); each way turns one knob alone as far as needed. Where no single knob
        suffices, one way that turns several; empty where nothing does.
    """
    turned = [(_turn([knob], recipe, shape, gib), knob.cost) for knob in KNOBS]
    if not any(way for way, _ in turned):
        turned = [(_several(recipe, shape, gib), "several knobs together")]
    return [(way[0], cost, highest(way[1], shape)) for way, cost in turned if way][:most]


def _turn(knobs: Any, recipe: Recipe, shape: Shape, gib: float) -> tuple[str, Recipe] | None:
    """Turn knobs, each to its end before the next, until the recipe fits; None where it never does."""
    raw, set_to = recipe.model_dump(mode="json"), {}
    for knob in knobs:
        while changes := knob.turn(raw):
            for key, value in changes.items():
                *parents, last = key.split(".")
                reduce(getitem, parents, raw)[last] = value
            set_to |= changes
            now = check_recipe(deepcopy(raw), recipe.name)
            if highest(now, shape) <= gib:
                return " ".join(f"{key}={str(value).lower()}" for key, value in set_to.items()), now
    return None


def fit(recipe: Recipe, shape: Shape, gib: float) -> Recipe:
    """The largest recipe like this one that fits into so many GiB.

    One that does not fit is turned down, cheapest knobs first; one that does gets longer conversations and more of them
    at once for as long as it still fits.

    Raises:
        ArmliteError: nothing makes it fit.
    """
    best = recipe
    if highest(recipe, shape) > gib:
        turned = _several(recipe, shape, gib)
        if turned is None:
            raise ArmliteError(
                f"no setting makes {recipe.name} fit into {gib:.1f} GiB: use a smaller model or a larger card"
            )
        best = turned[1]
    while (larger := _larger(best)) is not None and highest(larger, shape) <= gib:
        best = larger
    return best


def _several(recipe: Recipe, shape: Shape, gib: float) -> tuple[str, Recipe] | None:
    """As few knobs as do it together, each turned as far as needed."""
    knobs = list(KNOBS)
    best = _turn(knobs, recipe, shape, gib)
    for knob in reversed(KNOBS) if best else ():  # what costs most is dropped first
        fewer = [k for k in knobs if k is not knob]
        if (turned := _turn(fewer, recipe, shape, gib)) is not None:
            knobs, best = fewer, turned
    return best


def _larger(recipe: Recipe) -> Recipe | None:
    raw = recipe.model_dump(mode="json")
    grown = False
    for _, stage in _stages(raw):
        key = "max_context" if "max_context" in stage else "max_length"
        if stage[key] < LARGEST_CONTEXT:
            stage[key], grown = min(LARGEST_CONTEXT, stage[key] * 5 // 4 // 64 * 64), True
    if grown and (budget := raw["engine"]["max_tokens_in_cache"]):  # as many conversations as before
        raw["engine"]["max_tokens_in_cache"] = budget * 5 // 4
    return check_recipe(raw, recipe.name) if grown else None
