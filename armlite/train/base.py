"""The base model of a world: the pocket model, trained in place on how an untrained judge judges, and kept.

It is made once for all runs whose recipes say the same of it, in armlite's cache folder, under the hash of what made
it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from armlite.data.tasks import read_tasks, write_tasks
from armlite.lock import held
from armlite.pocket.worlds import get_world
from armlite.recipe import Recipe
from armlite.stages import BaseSettings
from armlite.store import write_atomic
from armlite.tools.documents.text_cache import cache_folder

VERSION = 17
"""Raised whenever the world, its traces or the pocket model change: bases that were made before are then made again."""
NOTES = "made_of.json"
"""Beside a base: the settings that made it."""
Notify = Callable[[str, dict[str, Any]], None]


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """All that decides what the base of a recipe is."""
    return {
        "version": VERSION,
        "world": recipe.data.world,
        "threads": recipe.threads,
        "episode": recipe.episode.model_dump(mode="json"),
        "base": recipe.base.model_dump(mode="json", exclude={"save_steps"}) if recipe.base else None,
    }


def folder_of(recipe: Recipe) -> Path:
    """Where the base of a recipe is kept."""
    said = json.dumps(settings_of(recipe), sort_keys=True)
    return cache_folder() / "bases" / hashlib.sha256(said.encode()).hexdigest()[:16]


def base_model(recipe: Recipe, notify: Notify) -> Path:
    """The folder of the recipe's base model; it is trained now if it is not there, or gone on with.

    Raises:
        ArmliteError: another process is making it, or the disk takes no more.
    """
    from armlite.train.checkpoints import publish

    assert recipe.base is not None
    folder = folder_of(recipe)
    if (folder / "model").is_dir():
        return folder / "model"
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        write_atomic(folder / NOTES, json.dumps(settings_of(recipe), indent=2) + "\n")
        if not (folder / "start").is_dir():
            publish(folder / "start", lambda draft: _write_start(recipe, draft))
        _train(recipe, recipe.base, folder, notify)
        for part in ("start", "work"):
            shutil.rmtree(folder / part, ignore_errors=True)
    return folder / "model"


def _write_start(recipe: Recipe, folder: Path) -> None:
    """The tasks it learns from, and the untrained model."""
    from armlite.pocket.model import save_pocket

    base, world = recipe.base, get_world(recipe.data.world)
    assert base is not None
    write_tasks(folder / "tasks.jsonl", world.generate("base", base.n_traces, base.seed, folder))
    texts = world.sample_texts(read_tasks(folder / "tasks.jsonl")[:1500], recipe.episode, folder, base.seed)
    save_pocket(texts, base.seed, folder / "untrained")


def _train(recipe: Recipe, base: BaseSettings, folder: Path, notify: Notify) -> None:
    from armlite.train.checkpoints import last_step, publish
    from armlite.train.metrics import MetricsFile
    from armlite.train.sft import run_sft
    from armlite.train.weights import load_for_stage, save_weights

    recipe, world, start = recipe.model_copy(update={"seed": base.seed}), get_world(recipe.data.world), folder / "start"
    assert world.base_episodes is not None
    metrics = MetricsFile(folder / "metrics.jsonl", lambda row: notify("step", row))
    taken = last_step(folder / "work")
    metrics.rewind("base", taken)
    notify("stage", {"stage": "base", "steps": base.steps, "done": taken})
    tasks = read_tasks(start / "tasks.jsonl")
    episodes = world.base_episodes(tasks, recipe.episode, start, base.without_tools, base.seed)
    policy = load_for_stage(recipe, base, str(start / "untrained"))
    model, _ = run_sft(recipe, "base", base, policy, [e.conversation for e in episodes], folder / "work", metrics)
    publish(folder / "model", lambda draft: save_weights(model, policy.processor, draft))
