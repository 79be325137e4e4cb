"""What is got before the first stage: the benchmarks that a run reports on, and the data of a data recipe, which holds
none of their tasks.
"""

from collections.abc import Callable
from pathlib import Path

from armlite.curation.build import BUILD, HELD_OUT, TASKS, Base, build
from armlite.curation.recipe import DataRecipe, load_data_recipe
from armlite.curation.rounds import STEPS, TRACES, TRACES_2, judged_how, second_round
from armlite.curation.sources import check_left, digests
from armlite.curation.steps import Steps
from armlite.data.making.output import rejects_of
from armlite.data.making.traces import make_traces
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.lock import held
from armlite.plan import check_fits
from armlite.recipe import Recipe
from armlite.rules import rules_of
from armlite.store import read_json
from armlite.train.benchmarks import FOLDER, origins_of, read_benchmarks, tasks_of
from armlite.train.processes import on_first
from armlite.train.rounds import Notify

FILES = {"tasks": TASKS, "traces": TRACES, "evaluation": HELD_OUT}
"""Key of `data` -> what a build makes for it, where the recipe leaves it at `pocket`."""


def with_data(recipe: Recipe, run: Path, notify: Notify, force: bool = False) -> Recipe:
    """The recipe with the files of its build, which is made or gone on with first; as it is where it names none. Before
    that the benchmarks that it reports on are read.

    A run that has begun keeps both: nothing is built or read again under it.

    Raises:
        ArmliteError: a benchmark cannot be read, the data cannot be built or holds a benchmark, or the run was begun
            with another data recipe.
    """
    data = load_data_recipe(recipe.data.build) if recipe.data.build is not None else None
    if data is not None:
        recipe = with_rounds(recipe, data)
        check_data(recipe, data)
    origins = origins_of(recipe)
    if not (run / "recipe.yaml").is_file():
        if origins or data is not None:
            _check_place(run)
            if not force:
                check_fits(recipe)
        if origins:
            on_first(lambda: _read(recipe, run, notify))
        if data is not None:
            on_first(lambda: _build(recipe, data, run, notify))
    elif data is not None:
        made = read_json(run / "data" / BUILD)
        if made is None or made["recipe"] != data.model_dump(mode="json"):
            raise ArmliteError(
                f"{run} was begun with another {recipe.data.build} than there is now: put it back as it was, or give "
                "another --output"
            )
    if data is None:
        return recipe
    files = {key: str(run / "data" / name) for key, name in FILES.items() if getattr(recipe.data, key) == "pocket"}
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

    data = load_data_recipe(recipe.data.build) if recipe.data.build is not None else None
    how = data.traces if data is not None else recipe.evaluation
    assert how is not None
    seed = data.seed if data is not None else recipe.seed
    options = {"temperature": how.temperature, "seed": seed, "top_logprobs": 0, "called": "grpo1"}
    judge = Judge.load(run / "checkpoints" / "grpo1", **options)  # the run directory says the rest
    if data is not None:
        second_round(data, run / "data", judge, "grpo1", *_telling(notify))
    else:
        _pocket_round(recipe, run, judge, notify)
    judge.release()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _pocket_round(recipe: Recipe, run: Path, judge: Judge, notify: Notify) -> None:
    """The same in a pocket world: of `data.second_round` judgments of each task the right ones, with calls or without,
    since some tasks need none.
    """
    folder, rules, name = run / "data", recipe.evaluation, STEPS[2][0]
    train, out = folder / "train" / "tasks.jsonl", folder / TRACES_2
    say, show = _telling(notify)
    n, k, seed, temperature = recipe.data.n_tasks, recipe.data.second_round, recipe.seed, rules.temperature
    inputs = {"train": digests(train), "model": "grpo1", **judged_how(judge), "n": n, "k": k, "seed": seed}
    inputs["temperature"] = temperature
    make = lambda: make_traces(  # noqa: E731
        *(train, judge.model, judge.settings, out, "grpo1", n, k, seed, temperature),
        in_flight=rules.batch,
        on_task=lambda done, total: show(name, done, total),
        screens=("format", "verdict"),
    )
    check_left(name, Steps(folder, say).run(name, inputs, [out], make), rejects_of(out))


def got_before(recipe: Recipe) -> set[str]:
    """The folders of a run directory that are there before anything else of a run."""
    made = {"data": recipe.data.build is not None, FOLDER: bool(recipe.evaluation.benchmarks)}
    return {name for name, there in made.items() if there}


def _check_place(run: Path) -> None:
    """See that a run directory is new, or was left while these were got."""
    if run.is_dir() and any(not p.name.startswith(".") and p.name not in ("data", FOLDER) for p in run.iterdir()):
        raise ArmliteError(f"{run} is not empty and holds no run; give another --output")


def _read(recipe: Recipe, run: Path, notify: Notify) -> None:
    with held(run):
        read_benchmarks(recipe, run, lambda line: notify("data", {"line": f"benchmark {line}"}))


def _build(recipe: Recipe, data: DataRecipe, run: Path, notify: Notify) -> None:
    import torch

    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)
    own = recipe.model
    base = Base(own.path, own.quantize, rules_of(recipe), tuple(tasks_of(run, recipe).values()))
    with held(run):
        totals = build(data, run / "data", base, None, *_telling(notify))["totals"]
    if recipe.data.evaluation == "pocket" and not totals["held_out"]:
        raise ArmliteError(
            f"{recipe.data.build}: of {totals['training_tasks']} tasks none is held out to evaluate the stages on: "
            "give a larger held_out.share or more rows; what is built is kept"
        )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _telling(notify: Notify) -> tuple[Callable[[str], None], Callable[[str, int, int], None]]:
    """What a build calls with a line, and with the progress of a step."""

    def show(step: str, done: int, total: int) -> None:
        notify("building", {"step": step, "done": done, "total": total or None})

    return lambda line: notify("data", {"line": line}), show


def check_data(recipe: Recipe, data: DataRecipe) -> None:
    """See that what a data recipe makes is what a training recipe needs, and none of what it reports on.

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
    if why := data.overlap(origins_of(recipe).values()):
        raise ArmliteError(f"{recipe.data.build}: {why} (evaluation.benchmarks of the training recipe)")
