"""The hours of a whole run, part by part: its data, evaluations, benchmarks, filters and stages, and in all.

Counts are at most: what rejects a row or a task makes less of what comes after. Rates come from `armlite.plan.seconds`;
downloads are not counted, and neither are judgments by models that are served elsewhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlite.curation.plan import AFTER, make_plan, rows_in
from armlite.curation.recipe import DataRecipe, load_data_recipe
from armlite.curation.sources import POCKET
from armlite.plan.seconds import Course, judgment_seconds, sft_seconds, step_seconds
from armlite.recipe import Recipe
from armlite.stages import GrpoSettings
from armlite.train.benchmark_plan import benchmark_plan


@dataclass(frozen=True)
class Part:
    """A part of a run."""

    name: str
    work: str
    """What is done, in words."""
    seconds: float | None
    """None: not known."""


def hours(recipe: Recipe, rates: dict[str, float]) -> dict[str, Any]:
    """The hours of a run as plain data.

    Args:
        rates: as `armlite.plan.seconds.rates_for` gives them.

    Returns:
        `parts` (a list in order: `part`, `work`, `hours`, null where it is not known), `total` of what is known, and
        `whole`: whether all of it is.

    Raises:
        ArmliteError: the data recipe cannot be read, or there is no such benchmark.
    """
    data = load_data_recipe(recipe.data.build) if recipe.data.build is not None else None
    if data is not None and data.traces is not None and data.traces.rounds == 2:
        from armlite.train.building import with_rounds

        recipe = with_rounds(recipe, data)
    parts = _parts(recipe, data, rates)
    known = [part.seconds for part in parts if part.seconds is not None]
    told = [{"part": p.name, "work": p.work, "hours": None if p.seconds is None else p.seconds / 3600} for p in parts]
    return {"parts": told, "total": sum(known) / 3600, "whole": len(known) == len(parts)}


def _parts(recipe: Recipe, data: DataRecipe | None, rates: dict[str, float]) -> list[Part]:
    def judgments(name: str, number: int | None, context: int) -> Part:
        at_once = min(recipe.evaluation.batch, recipe.engine.max_slots)
        seconds = None if number is None else number * judgment_seconds(rates, at_once, context)
        return Part(name, "judgments not known" if number is None else f"{number:,} judgments", seconds)

    tasks, held_out, built = _sizes(recipe, data)
    context = recipe.evaluation.max_context
    parts = [judgments("data, made by the base", built, context)] if built != 0 else []
    parts.append(judgments("evaluations", _evaluations(recipe, held_out), context))
    if recipe.evaluation.benchmarks:
        benchmarks = benchmark_plan(recipe, sizes=False)
        whole = benchmarks["known"]["judgments"] == len(benchmarks["benchmarks"])
        parts.append(judgments("benchmarks", benchmarks["judgments"] if whole else None, context))
    for name, stage in recipe.stages.named().items():
        if isinstance(stage, GrpoSettings):
            if stage.filter_rollouts:
                asked = None if tasks is None else tasks * stage.filter_rollouts
                parts.append(judgments(f"filter of {name}", asked, stage.max_context))
            work = f"{stage.steps:,} steps of {stage.tasks_per_step} x {stage.num_generations} rollouts"
            seconds = sum(step_seconds(recipe, stage, Course().within(stage.max_context), rates).values())
        else:
            conversations = stage.per_device_train_batch_size * stage.gradient_accumulation_steps
            work = f"{stage.steps:,} steps of {conversations} conversations"
            seconds = sft_seconds(stage, rates)
        parts.append(Part(name, work, stage.steps * seconds))
    return parts


def _sizes(recipe: Recipe, data: DataRecipe | None) -> tuple[int | None, int | None, int | None]:
    """Training tasks, held-out tasks, and judgments of the base model that make them, at most; None: not known."""
    own, asked, built = recipe.data, [recipe.data.n_tasks, recipe.data.n_evaluation], 0
    found = [POCKET if name == "pocket" else rows_in(Path(name)) for name in (own.tasks, own.evaluation)]
    if data is not None:
        plan = make_plan(data, recipe.model.path, sizes=False)
        held_out = plan["held_out"]
        made = [None if held_out is None else plan["tasks"] - held_out, held_out]
        found = [
            m if name == "pocket" else f for m, f, name in zip(made, found, (own.tasks, own.evaluation), strict=True)
        ]
        calls = [row["judgments"] for row in plan["calls"].values() if row["model"] in (recipe.model.path, AFTER)]
        built = None if None in calls else sum(calls)
    tasks, evaluation = (n if n is not None else f for n, f in zip(asked, found, strict=True))
    return tasks, evaluation, built


def _evaluations(recipe: Recipe, held_out: int | None) -> int | None:
    """Judgments of the evaluations after each stage and before the first: at the rollout temperature, greedy (in both
    orders where the recipe says so), without tools, and on the transfer split.
    """
    if held_out is None:
        return None
    stages = len(recipe.stages.named())
    rounds = 3 * held_out + (recipe.data.n_transfer or 0)
    return (1 + stages) * rounds + (stages * held_out if recipe.evaluation.swap else 0)
