"""A training recipe that names a data recipe: its data is built before the first stage, into `data/` of the run."""

from collections.abc import Callable
from pathlib import Path

from armlite.curation.build import BUILD, HELD_OUT, TASKS, Base, build
from armlite.curation.recipe import DataRecipe, load_data_recipe
from armlite.curation.rounds import TRACES, second_round
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.lock import held
from armlite.plan import check_fits
from armlite.recipe import Recipe
from armlite.rules import rules_of
from armlite.store import read_json
from armlite.train.processes import on_first
from armlite.train.rounds import Notify

FILES = {"tasks": TASKS, "traces": TRACES, "evaluation": HELD_OUT}
"""Key of `data` -> what a build makes for it, where the recipe leaves it at `pocket`."""


def with_data(recipe: Recipe, run: Path, notify: Notify, force: bool = False) -> Recipe:
    """The recipe with the files of its build, which is made or gone on with first; as it is where it names none.

    A run that has begun keeps its data: nothing is built again under it.

    Raises:
        ArmliteError: the data cannot be built, or the run was begun with another data recipe.
    """
    if recipe.data.build is None:
        return recipe
    data = load_data_recipe(recipe.data.build)
    recipe = with_rounds(recipe, data)
    check_data(recipe, data)
    out = run / "data"
    if (run / "recipe.yaml").is_file():
        made = read_json(out / BUILD)
        if made is None or made["recipe"] != data.model_dump(mode="json"):
            raise ArmliteError(
                f"{run} was begun with another {recipe.data.build} than there is now: put it back as it was, or give "
                "another --output"
            )
    else:
        if not force:
            check_fits(recipe)
        on_first(lambda: _build(recipe, data, run, notify))
    files = {key: str(out / name) for key, name in FILES.items() if getattr(recipe.data, key) == "pocket"}
    if data.traces is None:
        files.pop("traces", None)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=files)})


def with_rounds(recipe: Recipe, data: DataRecipe) -> Recipe:
    """The recipe with a second cold start where its data recipe asks for two rounds of traces.

    Raises:
        ArmliteError: one of the two asks for what the other has not.
    """
    stages, twice = recipe.stages, data.traces is not None and data.traces.rounds == 2
    if (stages.sft2 is not None or "sft2" in recipe.evaluation.benchmarks_at) and not twice:
        raise ArmliteError(
            f"sft2 learns from a second round of traces, and {recipe.data.build} makes none: give it "
            "`traces: {rounds: 2}`, or leave the stage out"
        )
    if not twice or stages.sft2 is not None:
        return recipe
    if stages.grpo1 is None or stages.sft is None:
        raise ArmliteError(
            f"{recipe.data.build} says traces.rounds: 2, and the second round is made by the judge after grpo1, for an "
            "SFT with the settings of sft: give stages.sft and stages.grpo1, or leave rounds out"
        )
    return recipe.model_copy(update={"stages": stages.model_copy(update={"sft2": stages.sft})})


def make_second_round(recipe: Recipe, run: Path, notify: Notify) -> None:
    """Let the judge after GRPO stage 1 make traces of the training tasks, into `data/` of the run; or go on with that.

    Raises:
        ArmliteError: there is no build, or nothing that it judged passes the screens.
    """
    import torch

    data = load_data_recipe(recipe.data.build or "")
    assert data.traces is not None
    options = {"temperature": data.traces.temperature, "seed": data.seed, "top_logprobs": 0}
    judge = Judge.load(run / "checkpoints" / "grpo1", **options)  # the run directory says the rest
    second_round(data, run / "data", judge, "grpo1", *_telling(notify))
    judge.release()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _build(recipe: Recipe, data: DataRecipe, run: Path, notify: Notify) -> None:
    import torch

    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    with held(run):
        build(data, run / "data", base_of(recipe), None, *_telling(notify))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _telling(notify: Notify) -> tuple[Callable[[str], None], Callable[[str, int, int], None]]:
    """What a build calls with a line, and with the progress of a step."""

    def show(step: str, done: int, total: int) -> None:
        notify("building", {"step": step, "done": done, "total": total or None})

    return lambda line: notify("data", {"line": line}), show


def base_of(recipe: Recipe) -> Base:
    """The model that the recipe trains, as a build asks it."""
    return Base(recipe.model.path, recipe.model.quantize, rules_of(recipe))


def check_data(recipe: Recipe, data: DataRecipe) -> None:
    """See that what a data recipe makes is what a training recipe needs.

    Raises:
        ArmliteError: it is not.
    """
    if recipe.model.pocket:
        raise ArmliteError("data.build needs a model that is there: a pocket model is made from pocket traces")
    if recipe.stages.sft is not None and recipe.data.traces == "pocket" and data.traces is None:
        raise ArmliteError(
            f"stage sft learns from traces, and {recipe.data.build} makes none: give it `traces:`, name a file in "
            "data.traces, or leave the stage out"
        )
    if recipe.data.evaluation == "pocket" and not (data.held_out.share or data.held_out.sources):
        raise ArmliteError(
            f"the stages are evaluated on held-out tasks, and {recipe.data.build} holds none out: give it held_out, or "
            "name a file in data.evaluation"
        )
