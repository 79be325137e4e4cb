"""How long a step or a judgment takes on a card, from operations and bytes: an estimate until something is measured.

A profile is what `armlite bench --recipe RECIPE --out RECIPE.bench.json` has measured; its rates then replace the
estimates. On another card than that they are brought to it in the proportion of the two cards' estimates. What a whole
run takes is added up in `armlite.plan.hours`.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from armlite.errors import ArmliteError
from armlite.plan.cards import Card, card_named
from armlite.plan.memory import NF4
from armlite.plan.shapes import Shape
from armlite.recipe import Recipe
from armlite.stages import GrpoSettings, SftSettings

EFFICIENCY = 0.22
"""Share of the data sheet's operations that prefill and update reach. Measured on an H200, NF4: 0.20 and 0.23; of other
cards an estimate, and smaller ones may reach more."""
LAUNCH = 0.035
"""Seconds that a decode step's kernel launches take for 28 layers with adapters; an estimate (30 to 45 ms)."""
REPLAY = 0.02
"""The same where the step is replayed as a CUDA graph. Measured on an H200, NF4, 8 rows with adapters, sampling
included: 17 to 20 ms; the rest of that is the bytes of the weights."""
OTHERS = ("vision_seconds", "tools_seconds", "score_seconds")
"""What a bench measures of a step beside prefill, decode and update."""


WITHOUT_KERNEL = 2.05
"""How much longer a decode step of a 4-bit model takes on a card that the engine's kernel for few rows is not made for:
that of W1 on an H200 before there was one (2026-11-26) and after (2026-11-27).
"""


@dataclass(frozen=True)
class Course:
    """How a rollout goes, on average: what no recipe can know."""

    prompt: int = 1200
    """Tokens of the prompt, image included."""
    observations: int = 900
    """Tokens of all observations."""
    generated: int = 250
    """Tokens sampled in all turns."""

    @property
    def tokens(self) -> int:
        return self.prompt + self.observations + self.generated

    def within(self, context: int) -> "Course":
        """The same course, shorter, where it would fill more than half of a conversation's budget."""
        share = min(1.0, context / 2 / self.tokens)
        return Course(*(int(n * share) for n in (self.prompt, self.observations, self.generated)))


@dataclass(frozen=True)
class Profile:
    """Measured rates."""

    device: str
    rates: dict[str, float]
    """`decode_step_seconds`, `prefill_tokens_per_second`, `update_tokens_per_second`, and, where they were measured,
    `other_seconds` of a rollout: vision tower, tools, scoring."""
    parts: dict[str, float] = field(default_factory=dict)
    """Part of memory (`armlite.bench.parts`) -> measured over planned, the median of all workloads; of a card only."""


def read_profile(file: Path) -> Profile | None:
    """The rates of a bench's report, the median of all rows that have whole steps of the recipe's model in them; None
    where there is no report or row.

    Raises:
        ArmliteError: the file is no report of `armlite bench`.
    """
    if not file.is_file():
        return None
    try:
        return profile_of(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ArmliteError(f"{file} is no report of `armlite bench`: {error!r}") from error


def profile_of(report: dict[str, Any]) -> Profile | None:
    """As `read_profile`, of a report that has been read."""
    rows = [{k: v["median"] for k, v in row["ours"].items()} for row in report["rows"] if "model" not in row]
    found = [_rates_of(row) for row in rows if "update_seconds" in row]
    if not found:
        return None
    rates = {name: median(one[name] for one in found) for name in found[0]}
    return Profile(report["device"], rates, _parts(report))


def _rates_of(found: dict[str, float]) -> dict[str, float]:
    """What one row's figures say."""
    rollouts = round(found["trajectories_per_second"] * found["step_seconds"])
    updated = found["tokens"] - (rollouts - 1) * found["prompt_tokens"]
    rates = {
        "prefill_tokens_per_second": found["tokens_prefilled"] / found["prefill_seconds"],
        "decode_step_seconds": found["decode_seconds"] * rollouts / found["tokens_decoded"],
        "update_tokens_per_second": updated / found["update_seconds"],
    }
    others = [found[name] for name in OTHERS if name in found]
    if others:
        rates["other_seconds"] = sum(others) / rollouts
    return rates


def _parts(report: dict[str, Any]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in report["rows"]:
        for part, gib in row.get("memory", {}).items():
            found.setdefault(part, []).append(gib["measured_gib"] / gib["planned_gib"])
    return {part: median(values) for part, values in found.items()} if card_named(report["device"]) else {}


def step_seconds(recipe: Recipe, stage: GrpoSettings, course: Course, rates: dict[str, float]) -> dict[str, float]:
    """Predicted seconds of one optimisation step, by phase.

    Args:
        rates: of a profile, or estimated.
    """
    rollouts = stage.num_generations * stage.tasks_per_step
    waves = -(-rollouts // recipe.engine.max_slots)
    prefilled = stage.tasks_per_step * course.prompt + rollouts * course.observations
    updated = stage.tasks_per_step * course.prompt + rollouts * (course.observations + course.generated)
    return {
        "prefill": prefilled / rates["prefill_tokens_per_second"],
        "decode": waves * course.generated * rates["decode_step_seconds"],
        "update": updated / rates["update_tokens_per_second"] * stage.num_iterations,
        "other": rollouts * rates.get("other_seconds", 0.0),
    }


def sft_seconds(stage: SftSettings, rates: dict[str, float]) -> float:
    """Predicted seconds of one step of supervised learning, whose conversations are as long as a rollout."""
    conversations = stage.per_device_train_batch_size * stage.gradient_accumulation_steps
    return conversations * Course().within(stage.max_length).tokens / rates["update_tokens_per_second"]


def judgment_seconds(rates: dict[str, float], at_once: int, context: int | None = None) -> float:
    """Predicted seconds of one judgment among many.

    Args:
        at_once: judgments in one running batch.
        context: tokens that a conversation may have.
    """
    course = Course() if context is None else Course().within(context)
    prefill = (course.prompt + course.observations) / rates["prefill_tokens_per_second"]
    return prefill + course.generated * rates["decode_step_seconds"] / at_once + rates.get("other_seconds", 0.0)


def rates_for(
    recipe: Recipe, shape: Shape, card: Card | None, profile: Profile | None
) -> tuple[dict[str, float], str] | None:
    """The rates of a recipe on a card, and in words where they are from; None where neither card nor profile is given.

    Args:
        card: None: the one that the profile was measured on.
    """
    if profile is None:
        origin = f"estimated from the data sheet of {card.name}, vision tower and tools left out" if card else ""
        return (estimated_rates(recipe, shape, card), origin) if card else None
    origin, there = f"from rates measured on {profile.device}", card_named(profile.device)
    if card is None or card.name == profile.device or (there is not None and there.name == card.name):
        return profile.rates, origin
    if there is None:
        return profile.rates, f"{origin}, not on {card.name}"
    here, there_estimated = estimated_rates(recipe, shape, card), estimated_rates(recipe, shape, there)
    rates = {name: rate * here[name] / there_estimated[name] for name, rate in profile.rates.items() if name in here}
    rates |= {name: rate for name, rate in profile.rates.items() if name not in here}
    if recipe.model.quantize == "4bit" and there.bfloat16 and not card.bfloat16:
        rates["decode_step_seconds"] *= WITHOUT_KERNEL
    return rates, f"estimated {origin} and the data sheets of both cards"


def estimated_rates(recipe: Recipe, shape: Shape, card: Card) -> dict[str, float]:
    """Rates from the card's data sheet."""
    work = 2 * shape.linears
    speed = card.tflops * 1e12 * EFFICIENCY
    per_weight = NF4 if recipe.model.quantize == "4bit" else 2.0
    kernels = REPLAY if recipe.engine.cuda_graphs else LAUNCH
    read = (shape.linears * per_weight + shape.embeddings) / (card.bandwidth * 1e9)
    return {
        "prefill_tokens_per_second": speed / work,
        "decode_step_seconds": max(kernels * shape.num_hidden_layers / 28, read),
        # Forward, its repetition under checkpointing, and the backward pass through inputs but not through weights.
        "update_tokens_per_second": speed / (3 * work),
    }
