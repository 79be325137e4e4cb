"""The runs behind claims: every variant for every seed, in a run directory each, `seed0/full`.

A variant takes over the stages that an earlier one has trained under the very same settings: the data, checkpoints,
evaluations and metrics of it are linked into its own directory, which then is a run like any other that goes on. What
is finished appears by renaming, so that a command that was killed at any moment goes on where it was.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from itertools import pairwise
from multiprocessing import get_context, parent_process
from pathlib import Path
from statistics import median
from typing import Any

from armlite.claims.settings import Claims, Variant, load_claims
from armlite.errors import ArmliteError
from armlite.lock import held
from armlite.recipe import Recipe, difference, saved_recipe
from armlite.stages import STAGES, StageName
from armlite.store import read_json, write_atomic
from armlite.train.benchmarks import finished_parts
from armlite.train.run import NOTES, Notify, settle, train

LINKED = ("data", "base")
COPIED = ("eval/baselines.json", "unreadable.json", "inputs.json")


def run_of(folder: Path, seed: int, name: str) -> Path:
    """The run directory of a variant."""
    return folder / f"seed{seed}" / name


def run_claims(claims: Claims, folder: Path, seeds: Sequence[int], names: Sequence[str], notify: Notify) -> None:
    """Run variants for seeds, in turn; those that are finished are left as they are.

    Args:
        folder: of all runs.
        names: of the variants.
        notify: told what happens, stages by name of seed and variant.

    Raises:
        ArmliteError: a run directory holds a run with other settings, or what `train` says.
        Stopped: by SIGINT or SIGTERM.
    """
    for seed in seeds:
        for variant in claims.variants:
            if variant.name in names:
                _run(claims, variant, folder, seed, notify)


def make_bases(claims: Claims, names: Sequence[str], notify: Notify) -> None:
    """Make the base models that variants start from and that are not kept yet: of two runs side by side only one could.

    Raises:
        ArmliteError: as of `base_model`.
    """
    from armlite.train.base import base_model

    for variant in claims.variants:
        if variant.name in names and variant.recipe.base is not None:
            settle(variant.recipe)
            base_model(variant.recipe, notify)


def run_side_by_side(
    file: Path, words: tuple[list[str], list[str]], folder: Path, seeds: Sequence[int], names: Sequence[str], n: int
) -> None:
    """The same with so many seeds at once, each in a process of its own, which says on stderr what it does.

    Args:
        file: the claims file.
        words: overrides and imports, as `load_claims` takes them.
        n: how many processes.

    Raises:
        ArmliteError: as of `run_claims`; the other seeds are finished first.
    """
    with ProcessPoolExecutor(n, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        asked = [pool.submit(_run_seed, file, words, folder, seed, list(names)) for seed in seeds]
        said = [error for one in asked if (error := one.result()) is not None]
    if said:
        raise ArmliteError(said[0])


def _run_seed(file: Path, words: tuple[list[str], list[str]], folder: Path, seed: int, names: list[str]) -> str | None:
    """One seed, in a process of its own; the user's mistake as text."""
    from armlite.models.loading import without_developers_warnings

    def say(event: str, values: dict[str, Any]) -> None:
        if event in ("stage", "evaluated"):
            print(f"{values['stage']}: {'begins' if event == 'stage' else 'evaluated'}", file=sys.stderr, flush=True)

    try:
        with without_developers_warnings():
            run_claims(load_claims(file, *words), folder, [seed], names, say)
    except ArmliteError as error:
        return str(error)
    return None


def _end_with_parent() -> None:
    """A process that is killed leaves nobody who trains on unseen."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def is_finished(run: Path, recipe: Recipe) -> bool:
    """Whether a run has trained and evaluated all of its stages and reported on them."""
    return (run / "report.md").is_file() and all((run / "eval" / s).is_dir() for s in recipe.stages.named())


def _run(claims: Claims, variant: Variant, folder: Path, seed: int, notify: Notify) -> None:
    run, recipe = run_of(folder, seed, variant.name), variant.recipe.model_copy(update={"seed": seed})
    saved = saved_recipe(run / "recipe.yaml") if (run / "recipe.yaml").is_file() else None
    if variant.control_of is not None:
        recipe = _with_time_of(recipe, run_of(folder, seed, variant.control_of), saved, claims, variant.control_of)
    if saved is not None and recipe.data.build is None and (change := difference(saved, recipe)):
        raise ArmliteError(f"{run} was made with another recipe: {change}; give another --output, or remove it")
    if saved is not None and is_finished(run, recipe):
        return
    if not run.is_dir():
        earlier = [v for v in claims.variants[: claims.variants.index(variant)] if v.control_of is None]
        donors = [(v.recipe.model_copy(update={"seed": seed}), run_of(folder, seed, v.name)) for v in earlier]
        shared = [(shared_stages(r, recipe), d) for r, d in donors if (d / "recipe.yaml").is_file()]
        found = [(len(stages), donor, stages) for stages, donor in shared if stages is not None]
        if found:
            _, donor, stages = max(found, key=lambda row: row[0])
            _take_over(donor, stages, recipe, run)
    train(recipe, run, resume=(run / "recipe.yaml").is_file(), notify=_named(notify, f"seed {seed} {variant.name}"))


def _named(notify: Notify, name: str) -> Notify:
    """The same, with the stages named as those of a variant."""

    def tell(event: str, values: dict[str, Any]) -> None:
        said = {key: f"{name} {values[key]}" for key in ("stage", "line") if key in values and event != "data"}
        notify(event, {**values, **said})

    return tell


def shared_stages(one: Recipe, other: Recipe) -> list[StageName] | None:
    """The leading stages that two recipes train alike, all that comes before being alike; None: not even their data and
    base are, or the data is built for each run alone (`data.build`).
    """
    free = {"stages", "name"}
    if one.data.build is not None or one.model_dump(exclude=free) != other.model_dump(exclude=free):
        return None
    alike: list[StageName] = []
    for name in STAGES:
        mine, theirs = getattr(one.stages, name), getattr(other.stages, name)
        if mine != theirs:
            break
        if mine is not None:
            alike.append(name)
    return alike


def _take_over(donor: Path, stages: Sequence[StageName], recipe: Recipe, run: Path) -> None:
    """A run directory in which these stages are done, as the donor did them."""
    from armlite.train.checkpoints import publish
    from armlite.train.metrics import MetricsFile

    with held(donor):
        done = [stage for stage in stages if (donor / "checkpoints" / stage).is_dir()]
        links = [*LINKED, "eval/base"]
        links += [f"{part}/{stage}" for stage in done for part in ("checkpoints", "eval", "rollouts")]
        links += finished_parts(donor, ["base", *done])
        copies = [*COPIED, *(f"filter/{stage}.json" for stage in done)]
        rows = [row for row in MetricsFile(donor / "metrics.jsonl").read() if row["stage"] in done]
        notes = {stage: note for stage, note in read_json(donor / NOTES, {}).items() if stage in done}

        def write(draft: Path) -> None:
            for name in links:
                if (donor / name).is_dir():
                    shutil.copytree(donor / name, draft / name, copy_function=_link)
            for name in copies:
                if (donor / name).is_file():
                    (draft / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(donor / name, draft / name)
            write_atomic(draft / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
            write_atomic(draft / NOTES, json.dumps(notes, indent=2) + "\n")
            write_atomic(draft / "recipe.yaml", recipe.to_yaml())

        run.parent.mkdir(parents=True, exist_ok=True)
        publish(run, write)


def _link(source: str, target: str) -> None:
    """A second name for a file that nobody changes in place; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _with_time_of(recipe: Recipe, run: Path, saved: Recipe | None, claims: Claims, name: str) -> Recipe:
    """The recipe of a control, whose cold start has as many steps as fit the training time of another run.

    The steps are those of the control's own directory where it has been begun: times are not measured twice alike.
    """
    sft = recipe.stages.sft
    assert sft is not None
    if saved is not None and saved.stages.sft is not None:
        steps = saved.stages.sft.steps
    else:
        if not is_finished(run, claims.variant(name).recipe):
            raise ArmliteError(f"a control of {name} needs its finished run, and {run} holds none: run {name}, too")
        seconds = {stage: seconds_of(run, stage) for stage in claims.variant(name).recipe.stages.named()}
        steps = round(sft.steps * sum(seconds.values()) / seconds["sft"])
    stages = recipe.stages.model_copy(update={"sft": sft.model_copy(update={"steps": steps})})
    return recipe.model_copy(update={"stages": stages})


def seconds_of(run: Path, stage: str) -> float:
    """What the training of a stage took: as the run notes it, or more where it was interrupted and the note is of its
    last piece alone (then the median of its steps, times their number).
    """
    from armlite.train.metrics import MetricsFile

    times = [_moment(row["time"]) for row in MetricsFile(run / "metrics.jsonl").read() if row["stage"] == stage]
    gaps = [b - a for a, b in pairwise(times)]
    return max(float(read_json(run / NOTES)[stage]["seconds"]), median(gaps) * len(times) if gaps else 0.0)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
