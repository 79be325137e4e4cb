"""What a run reports on: the benchmarks of its recipe, read before all else and judged by its checkpoints.

`benchmarks/tasks/NAME.jsonl` in a run directory has a benchmark's tasks, read once, so that every checkpoint judges the
same; `benchmarks/CHECKPOINT/NAME/` and `benchmarks/CHECKPOINT-no-tools/NAME/` are evaluations as `armlite eval` leaves
them, which `armlite eval compare` takes. What is made of them in words stands in `armlite.train.standing`.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from armlite.curation.recipe import OWN, Origin
from armlite.curation.sources import MISSING_FILES, origin_inputs, rows_step
from armlite.curation.steps import Steps
from armlite.data.convert import REJECTS
from armlite.data.making.output import rejects_of
from armlite.data.tasks import moved, read_tasks, write_tasks
from armlite.errors import ArmliteError
from armlite.evals.benchmarks import RETRIEVAL, get_benchmark
from armlite.evals.folder import TASKS, EvalSettings
from armlite.evals.report import SUMMARY
from armlite.evals.run import benchmark_of, judge_folder, settings_of
from armlite.judge import Judge
from armlite.models.lazy import weights_digest
from armlite.models.sampling import Sampling
from armlite.recipe import BenchmarkSettings, Recipe
from armlite.settings import validated
from armlite.stages import CHECKPOINTS
from armlite.store import TORN, file_digest, read_json
from armlite.tools import shows_tools
from armlite.types import Task

FOLDER = "benchmarks"
WITHOUT = "-no-tools"
"""Behind a checkpoint's name: judged without tools."""
Notify = Callable[[str, dict[str, Any]], None]


def origins_of(recipe: Recipe) -> dict[str, Origin]:
    """Benchmark of a recipe -> where its rows come from. Nothing is looked up.

    Raises:
        ArmliteError: there is no such benchmark (names the nearest), or what is said of it does not fit together.
    """
    found = {}
    for own in recipe.evaluation.benchmarks:
        if own.name == RETRIEVAL:
            raise ArmliteError(
                "evaluation.benchmarks: retrieval is evaluated without a model, by armlite eval --benchmark retrieval"
            )
        if own.name not in OWN:
            get_benchmark(own.name)
        said = own.model_dump(mode="json", exclude={"name", "n"}) | {"set": own.name, "rows": own.n}
        if own.name == "pocket" and own.split is None:
            said["split"] = "test"
        found[own.called] = validated(Origin, said, f"evaluation.benchmarks: {own.called}")
    return found


def judged_at(recipe: Recipe) -> list[str]:
    """The checkpoints whose benchmarks are judged, in order."""
    asked, stages = recipe.evaluation.benchmarks_at, list(recipe.stages.named())
    wanted = {stages[-1] if at == "last" else at for at in asked}
    return [name for name in CHECKPOINTS if name in wanted] if recipe.evaluation.benchmarks else []


def tasks_of(run: Path, recipe: Recipe) -> dict[str, Path]:
    """Benchmark -> the file of its tasks, which `read_benchmarks` makes."""
    return {own.called: run / FOLDER / "tasks" / f"{own.called}.jsonl" for own in recipe.evaluation.benchmarks}


def stamp_of(run: Path, name: str) -> Path:
    """What is kept of the reading of a benchmark: where from, and how many rows."""
    return run / FOLDER / "tasks" / "steps" / f"{name}.json"


def read_benchmarks(recipe: Recipe, run: Path, say: Callable[[str], None]) -> None:
    """Read the tasks of all benchmarks of a recipe into the run, or go on with that.

    Args:
        say: told of each benchmark whether it is read or there already.

    Raises:
        ArmliteError: one cannot be had, holds fewer tasks than are asked for, or names files that are not there.
    """
    folder = run / FOLDER / "tasks"
    for torn in folder.rglob(TORN):
        torn.unlink()
    steps, files, origins = Steps(folder, say), tasks_of(run, recipe), origins_of(recipe)
    for name, origin in origins.items():  # what is out of reach is told before others are downloaded
        _or_say_so(name, lambda name=name, origin=origin: origin_inputs(origin, steps.before(name)))
    for name, origin in origins.items():
        asked = steps, name, origin, name, files[name], recipe.seed
        _or_say_so(name, lambda asked=asked: rows_step(*asked))
        if missing := steps.counts[name].rejected[MISSING_FILES]:
            files[name].unlink()
            raise ArmliteError(
                f"benchmark {name}: the files of {missing} rows are not there ({rejects_of(files[name])} names them): "
                "unpack or download them, or leave it out of evaluation.benchmarks"
            )
        if origin.set == "file" and all(task.gold is None for task in read_tasks(files[name])):
            raise ArmliteError(f"benchmark {name}: no task of {origin.path} has a gold answer, so there is no score")
    steps.forget_others()


def _or_say_so(name: str, read: Callable[[], Any]) -> None:
    try:
        read()
    except ArmliteError as error:
        raise ArmliteError(
            f"benchmark {name}, which the run is to report on, cannot be read: {error}; or leave it out of "
            "evaluation.benchmarks"
        ) from error


def folder_of(run: Path, checkpoint: str, tools: bool, name: str) -> Path:
    """Where a checkpoint's evaluation on a benchmark is."""
    return run / FOLDER / (checkpoint if tools else checkpoint + WITHOUT) / name


def forget(run: Path, checkpoint: str) -> None:
    """Remove a checkpoint's evaluations, which another try at its stage makes anew."""
    for tools in (True, False):
        shutil.rmtree(folder_of(run, checkpoint, tools, "."), ignore_errors=True)


def judge_benchmarks(recipe: Recipe, run: Path, checkpoint: str, source: str, notify: Notify) -> None:
    """Judge all benchmarks with a checkpoint, with tools and without, or go on with that; what is finished stays.

    Without tools alone where no task of a benchmark is shown any.

    Args:
        checkpoint: `base` or a stage; nothing is done where the recipe does not ask for it.
        source: where its weights are.
        notify: told of the progress (`evaluation`) and of each result (`benchmark`).
    """
    if checkpoint not in judged_at(recipe):
        return
    left = []
    for own in recipe.evaluation.benchmarks:
        tasks = read_tasks(tasks_of(run, recipe)[own.called])
        ways = (True, False) if any(shows_tools(task, recipe.episode.tools) for task in tasks) else (False,)
        left += [(own, tasks, way) for way in ways if not _is_done(folder_of(run, checkpoint, way, own.called))]
    if not left:
        return
    judge, writer = _judge(recipe, checkpoint, source)
    for own, tasks, tools in left:
        _judge_one(recipe, run, (checkpoint, own, tasks, tools), judge, writer, notify)


def _is_done(folder: Path) -> bool:
    return (folder / SUMMARY).is_file()


def _judge(recipe: Recipe, checkpoint: str, source: str) -> tuple[Judge, dict[str, Any]]:
    """A checkpoint as a greedy judge by the recipe's rules, and all that decides what it writes."""
    from armlite.models.loading import load
    from armlite.models.local import LocalModel

    own = recipe.model
    how = {"quantize": "4bit" if own.quantize == "4bit" else None, "dtype": own.dtype, "attn": own.attention}
    budgets = recipe.evaluation.model_dump(include={"max_new_tokens", "max_context"})
    sampling = Sampling(temperature=0.0, seed=recipe.seed, **budgets)
    model, processor = load(source, **how)  # type: ignore[arg-type]
    chat = LocalModel(model, processor, sampling, recipe.engine, name=checkpoint)
    writer = sampling.model_dump(mode="json", exclude={"temperature", "seed", "top_logprobs"}) | how
    return Judge(chat, recipe.episode), {**writer, "digest": weights_digest(source)}


def _judge_one(
    recipe: Recipe,
    run: Path,
    asked: tuple[str, BenchmarkSettings, list[Task], bool],
    judge: Judge,
    writer: dict[str, Any],
    notify: Notify,
) -> None:
    checkpoint, own, tasks, tools = asked
    file, folder, start = tasks_of(run, recipe)[own.called], folder_of(run, checkpoint, tools, own.called), time.time()
    judge = judge if tools else judge.without_tools()
    settings = _settings(recipe, checkpoint, own, file, judge, writer)

    def prepare() -> None:
        write_tasks(folder / TASKS, (moved(task, file.parent, folder) for task in tasks))
        if rejects_of(file).stat().st_size:
            shutil.copyfile(rejects_of(file), folder / REJECTS)

    told = {"stage": checkpoint, "round": own.called if tools else f"{own.called}, no tools"}

    def show(done: int, total: int | None) -> None:
        notify("evaluation", {**told, "done": done, "total": total})

    summary = judge_folder(folder, settings, judge, prepare, recipe.evaluation.batch, None, show)
    notify("benchmark", {**told, "seconds": round(time.time() - start, 1), "summary": summary})


def _settings(
    recipe: Recipe, checkpoint: str, own: BenchmarkSettings, file: Path, judge: Judge, writer: dict[str, Any]
) -> EvalSettings:
    """All that decides the figures of an evaluation; a run that was moved goes on with it."""
    word = str(file) if own.name == "file" else own.name
    model = recipe.model.path if checkpoint == "base" and not recipe.model.pocket else checkpoint
    asked = {"n": own.n, "tools": judge.settings.tools != (), "seed": recipe.seed}
    found = settings_of(benchmark_of(word), word, None, model, judge, {}, asked)  # type: ignore[arg-type]
    return found.model_copy(update={"digest": file_digest(file), "writer": writer})


def finished_parts(run: Path, checkpoints: Iterable[str]) -> list[str]:
    """Folders below a run: the tasks of its benchmarks, and the finished evaluations of some checkpoints on them."""
    ways = [folder_of(run, checkpoint, tools, ".") for checkpoint in checkpoints for tools in (True, False)]
    done = [file.parent for way in ways for file in sorted(way.glob(f"*/{SUMMARY}"))]
    return [str(folder.relative_to(run)) for folder in (run / FOLDER / "tasks", *done) if folder.is_dir()]


def results_of(run: Path) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Checkpoint -> benchmark -> `tools` and `no_tools` -> the summary of the evaluation, as far as they are there."""
    found: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for checkpoint in CHECKPOINTS:
        for key, tools in (("tools", True), ("no_tools", False)):
            for file in sorted(folder_of(run, checkpoint, tools, ".").glob(f"*/{SUMMARY}")):
                found.setdefault(checkpoint, {}).setdefault(file.parent.name, {})[key] = read_json(file)
    return found
