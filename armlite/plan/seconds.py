"""How long a GRPO step takes on a card, from operations and bytes: an estimate until a measured profile is given.

A profile is the JSON that `armlite bench --json` writes for the recipe; its rates then replace the estimates.
"""

from dataclasses import dataclass
from typing import Any

from armlite.plan.cards import Card
from armlite.plan.memory import NF4
from armlite.plan.shapes import Shape
from armlite.recipe import GrpoSettings, Recipe

EFFICIENCY = 0.4
"""Share of the data sheet's operations that large products reach; an estimate."""
LAUNCH = 0.035
"""Seconds that a decode step's kernel launches take for 28 layers with adapters; an estimate (30 to 45 ms)."""


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


def step_seconds(
    recipe: Recipe, stage: GrpoSettings, shape: Shape, card: Card, course: Course, profile: dict[str, Any] | None = None
) -> dict[str, float]:
    """Predicted seconds of one optimisation step, by phase.

    Args:
        profile: rates measured by `armlite bench`: `decode_step_seconds`, `prefill_tokens_per_second`,
            `update_tokens_per_second`.
    """
    rates = profile or estimated_rates(recipe, shape, card)
    rollouts = stage.num_generations * stage.tasks_per_step
    waves = -(-rollouts // recipe.engine.max_slots)
    prefilled = stage.tasks_per_step * course.prompt + rollouts * course.observations
    updated = stage.tasks_per_step * course.prompt + rollouts * (course.observations + course.generated)
    return {
        "prefill": prefilled / rates["prefill_tokens_per_second"],
        "decode": waves * course.generated * rates["decode_step_seconds"],
        "update": updated / rates["update_tokens_per_second"] * stage.num_iterations,
    }


def estimated_rates(recipe: Recipe, shape: Shape, card: Card) -> dict[str, float]:
    """Rates from the card's data sheet."""
    work = 2 * shape.linears
    speed = card.tflops * 1e12 * EFFICIENCY
    per_weight = NF4 if recipe.model.quantize == "4bit" else 2.0
    read = (shape.linears * per_weight + shape.embeddings) / (card.bandwidth * 1e9)
    return {
        "prefill_tokens_per_second": speed / work,
        "decode_step_seconds": max(LAUNCH * shape.num_hidden_layers / 28, read),
        # Forward, its repetition under checkpointing, and the backward pass through inputs but not through weights.
        "update_tokens_per_second": speed / (3 * work),
    }
