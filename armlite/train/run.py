"""A run: the recipe's stages one after the other, each followed by its evaluation, in one directory that can be
resumed.

What is finished appears by renaming (`checkpoints/<stage>`, `eval/<checkpoint>`, `data`), so a killed run knows what
is left.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packaging.version import Version

from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError
from armlite.lock import Lock, held, hold
from armlite.plan import check_fits
from armlite.pocket.worlds import get_world
from armlite.recipe import Recipe, check_names, difference, saved_recipe
from armlite.rules import rules_of, write_rules
from armlite.stages import STAGES, GrpoSettings, SftSettings, StageName
from armlite.store import TORN, read_json, write_atomic
from armlite.train.benchmarks import forget, judge_benchmarks
from armlite.train.building import got_before, make_second_round, with_data
from armlite.train.cold_start import conversations, make_pocket, pocket_texts
from armlite.train.processes import on_first
from armlite.train.provenance import INPUTS, check_inputs, environment, inputs_of
from armlite.train.unreadable import find_unreadable, read_unreadable, write_unreadable
from armlite.types import Task

NOTES = "stages.json"
"""In a run directory: what each stage took and learnt from."""
Notify = Callable[[str, dict[str, Any]], None]
"""Called with an event and its figures: `data`, `building`, `stage`, `step`, `health`, `filter`, `evaluation`,
`benchmark`, `note`."""


def plan(recipe: Recipe) -> list[dict[str, Any]]:
    """What each stage will do, in figures; needs no weights."""
    rows = []
    for name, stage in recipe.stages.named().items():
        row: dict[str, Any] = {
            "stage": name,
            "steps": stage.steps,
            "adapter": stage.adapter,
            "sequences_per_step": stage.per_device_train_batch_size * stage.gradient_accumulation_steps,
            "learning_rate": stage.learning_rate,
        }
        if isinstance(stage, GrpoSettings):
            row |= {
                "reward": stage.reward,
                "tasks_per_step": stage.tasks_per_step,
                "rollouts_per_task": stage.num_generations,
            }
        rows.append(row)
    return rows


def train(
    recipe: Recipe,
    output: Path,
    only: StageName | None = None,
    resume: bool = False,
    notify: Notify = lambda event, values: None,
    force: bool = False,
) -> Path:
    """Run a recipe.

    Args:
        output: the run directory.
        only: run this stage alone, on its predecessor's checkpoint.
        resume: go on with a run that was interrupted.
        notify: told what happens.
        force: train although the plan says that this machine cannot.

    Returns:
        The run directory.

    Raises:
        ArmliteError: the directory holds another run, a predecessor's checkpoint is missing, the data cannot be read,
        or this machine cannot run it.
        Stopped: by SIGINT or SIGTERM, in the main thread.
    """
    from armlite.train.checkpoints import disk_errors
    from armlite.train.stopping import on_signal, stop_at_once

    with disk_errors(output), on_signal(stop_at_once):
        recipe = with_data(recipe, output, notify, force)
        return _Run(recipe, output, notify).go(only, resume, force)


def run_control(recipe: Recipe, output: Path, notify: Notify) -> None:
    """Spend the time of a finished run's GRPO stages on more of its SFT, from its sft checkpoint; evaluate as
    `control`.

    Raises:
        ArmliteError: the run is not finished.
    """
    from armlite.train.checkpoints import disk_errors

    notes, recipe = read_json(output / NOTES, {}), with_data(recipe, output, notify)
    if recipe.stages.sft is None or not {"sft", "grpo1", "grpo2"} <= set(notes):
        raise ArmliteError(f"{output}: a control needs a finished run of sft, grpo1 and grpo2")
    if "control" in notes and (output / "eval" / "control").is_dir():
        return
    time_spent = sum(notes[name]["seconds"] for name in ("grpo1", "sft2", "grpo2") if name in notes)
    stage = recipe.stages.sft
    steps = max(1, round(stage.steps * time_spent / notes["sft"]["seconds"]))
    with disk_errors(output), held(output):
        _Run(recipe, output, notify).control(stage.model_copy(update={"steps": steps}))


def settle(recipe: Recipe) -> None:
    """What holds in a process that trains: the recipe's threads, and no progress bars or warnings of libraries."""
    import torch
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    transformers.utils.logging.disable_progress_bar()
    if recipe.threads is not None:
        torch.set_num_threads(recipe.threads)


class _Run:
    def __init__(self, recipe: Recipe, output: Path, notify: Notify):
        self.recipe, self.output, self.notify = recipe, output, notify
        self.unreadable = read_unreadable(output)
        self.tasks: list[Task] = []
        self.tasks_root = Path()
        self._lock: Lock | None = None

    def go(self, only: StageName | None, resume: bool, force: bool) -> Path:
        try:
            on_first(lambda: self._begin(only, resume, force))
            return self._all_stages(only, resume)
        finally:
            self._lock = None

    def _all_stages(self, only: StageName | None, resume: bool) -> Path:
        from armlite.train.report import write_report

        self._ready()
        if only is None:
            on_first(lambda: self._evaluate("base", self._base()))
        for name, stage in self.recipe.stages.named().items():
            if only is None or name == only:
                self._stage(name, stage, self._source(name), resume)
                on_first(partial(self._evaluate, name, str(self.output / "checkpoints" / name)))
        on_first(lambda: write_report(self.output))
        return self.output

    def _begin(self, only: StageName | None, resume: bool, force: bool) -> None:
        """All that is read and written before the first stage."""
        check_names(self.recipe)
        self._check_folder(only, resume)
        if self.output.is_dir():
            self._lock = hold(self.output)
        if not force:
            check_fits(self.recipe)
        self._check_sources(only)
        self._open()
        if self._precision:
            self.notify("data", {"line": self._precision})
        settle(self.recipe)
        self._prepare_data()
        self._write_baselines()

    def _ready(self) -> None:
        """What each process holds."""
        from armlite.train.health import HealthWatch
        from armlite.train.metrics import MetricsFile

        def stepped(row: dict[str, Any]) -> None:
            self.notify("step", row)
            for sign in health.see(row):
                self.notify("health", {"stage": sign.stage, "line": sign.line()})

        settle(self.recipe)
        self.metrics = MetricsFile(self.output / "metrics.jsonl", stepped)
        health = HealthWatch(self.metrics.read())
        self._read_tasks()

    def _check_folder(self, only: StageName | None, resume: bool) -> None:
        """See that the run directory is new, or holds this very run; writes nothing."""
        stages = self.recipe.stages.named()
        if only is not None and only not in stages:
            raise ArmliteError(f"the recipe has no stage {only}; it has {', '.join(stages)}")
        if self.output.exists() and not self.output.is_dir():
            raise ArmliteError(f"{self.output} is not a folder; give another --output")
        saved = self.output / "recipe.yaml"
        if saved.is_file():
            if not resume and only is None:
                raise ArmliteError(
                    f"{self.output} holds a run already: --resume goes on with it, --output starts another"
                )
            # A stage alone may be tried again with other settings of its own; the rest must be the run's.
            free = f"stages.{only}." if only is not None and not resume else None
            if change := difference(saved_recipe(saved), self.recipe, free):
                raise ArmliteError(f"{self.output} was made with another recipe: {change}; give another --output")
        elif resume and not self._built():
            raise ArmliteError(f"there is no run in {self.output} to go on with: leave out --resume to begin one")
        elif self.output.is_dir() and any(not p.name.startswith(".") for p in self._found()):
            raise ArmliteError(f"{self.output} is not empty and holds no run; give another --output")

    def _built(self) -> bool:
        """Whether a run was stopped while what it needs first was got, before anything else."""
        return any((self.output / name).is_dir() for name in got_before(self.recipe))

    def _found(self) -> list[Path]:
        """What is in the run directory beside that."""
        return [p for p in self.output.iterdir() if p.name not in got_before(self.recipe)]

    def _check_sources(self, only: StageName | None) -> None:
        """See that the model, the tasks and the traces are there and can be learnt from; writes nothing."""
        from armlite.train.precision import precision_told
        from armlite.train.reporting import check_reporting

        self._check_trl()
        self._precision = precision_told(self.recipe)
        check_reporting(self.recipe)
        if only is not None:
            self._source(only)
        if not self.recipe.model.pocket and not (self.output / "eval" / "base").is_dir():
            from armlite.models.places import check_model

            stages = self.recipe.stages.named().values()
            quantize = "4bit" if self.recipe.model.quantize == "4bit" else None
            check_model(self.recipe.model.path, quantize, any(stage.adapter == "none" for stage in stages))
        self._read_tasks()
        self._inputs = inputs_of(self.recipe)
        check_inputs(self.output, self._inputs)
        cold = self.recipe.data.traces != "pocket" and self.recipe.stages.sft is not None and only in (None, "sft")
        if self.unreadable is None:
            self.unreadable = find_unreadable(self.recipe, self.tasks, self.tasks_root, cold)
        if cold:
            conversations(self.recipe, self.output, "sft", self._left_out("traces"))

    def _check_trl(self) -> None:
        import torch

        if not torch.cuda.is_available() and Version(version("trl")) < Version("1.16"):
            raise ArmliteError(f"trl {version('trl')} trains on a GPU only, and there is none; install trl>=1.16")

    def _open(self) -> None:
        """Make the run directory, or clear the one there is of files that a kill left half-written."""
        self._lock = hold(self.output)
        for torn in self.output.rglob(TORN):
            torn.unlink()
        write_atomic(self.output / "recipe.yaml", self.recipe.to_yaml())
        if {self.recipe.data.tasks, self.recipe.data.traces} != {"pocket"}:
            write_unreadable(self.output, self.unreadable)
        if self._inputs:
            write_atomic(
                self.output / INPUTS,
                json.dumps({**self._inputs, **read_json(self.output / INPUTS, {})}, indent=2) + "\n",
            )
        write_atomic(self.output / "environment.json", json.dumps(environment(), indent=2) + "\n")

    def _prepare_data(self) -> None:
        """Tasks, and the pocket model where the recipe asks for it."""
        from armlite.train.checkpoints import publish

        data, pocket = self.recipe.data, self.output / "data"
        if "pocket" in (data.tasks, data.traces, data.evaluation) and not pocket.is_dir():
            publish(pocket, lambda folder: make_pocket(self.recipe, folder))
        self._read_tasks()
        if self.recipe.model.pocket and not (self.output / "base").is_dir():
            publish(self.output / "base", self._write_base)

    def _write_baselines(self) -> None:
        """What policies that do not read the question reach on the pocket world's held-out tasks."""
        file = self.output / "eval" / "baselines.json"
        if self.recipe.data.evaluation != "pocket" or file.is_file():
            return
        file.parent.mkdir(exist_ok=True)
        found = get_world(self.recipe.data.world).baselines(
            self.held_out, self.recipe.episode, self.held_out_root, self.recipe.seed
        )
        write_atomic(file, json.dumps(found, indent=2) + "\n")

    def _read_tasks(self) -> None:
        """Read what is there: files at once, the pocket world once it is made."""
        data, stages = self.recipe.data, self.recipe.stages.named().values()
        made = (self.output / "data").is_dir()
        if made or data.tasks != "pocket":
            learns = any(isinstance(stage, GrpoSettings) for stage in stages)
            self.tasks, self.tasks_root = self._read("tasks", "train", data.n_tasks)
            self.tasks = [task for task in self.tasks if task.id not in self._left_out("tasks")]
            blind = next((task.id for task in self.tasks if task.gold is None), None)
            if learns and blind is not None:
                raise ArmliteError(f"data.tasks: task {blind} has no gold answer, so its rollouts cannot be rewarded")
        if made or data.evaluation != "pocket":
            self.held_out, self.held_out_root = self._read("evaluation", "test", data.n_evaluation)
            if all(task.gold is None for task in self.held_out):
                raise ArmliteError("data.evaluation: no task has a gold answer, so there is nothing to score")

    def _left_out(self, what: str) -> dict[str, str]:
        return (self.unreadable or {}).get(what, {})

    def _read(self, key: str, split: str, n: int | None) -> tuple[list[Task], Path]:
        """The tasks that `data.<key>` names."""
        source = getattr(self.recipe.data, key)
        path = self.output / "data" / split / "tasks.jsonl" if source == "pocket" else Path(source)
        tasks = read_tasks(path)
        if n is not None and n > len(tasks):
            raise ArmliteError(f"data.n_{key} is {n}, but {path} holds {len(tasks)} tasks")
        return tasks[:n], path.parent

    def _write_base(self, folder: Path) -> None:
        """The pocket model, as it is before the first stage."""
        if self.recipe.base is not None:
            from armlite.train.base import base_model

            shutil.copytree(base_model(self.recipe, self.notify), folder, dirs_exist_ok=True)
            return
        from armlite.pocket.model import save_pocket

        base = self.recipe.model.pocket
        assert base is not None
        save_pocket(pocket_texts(self.recipe, self.output), self.recipe.seed, folder, base)

    def _base(self) -> str:
        return str(self.output / "base") if self.recipe.model.pocket else self.recipe.model.path

    def _source(self, name: StageName) -> str:
        """What a stage starts from: the nearest earlier checkpoint, or the recipe's model if no stage comes before.

        The second cold start begins anew from the model, as STaR (2022), ReST-EM (2023) and DeepSeek-R1 (2025) do: what
        it learns comes with the traces, and what the policy before has forgotten or overfitted does not.
        """
        earlier = [s for s in STAGES[: STAGES.index(name)] if s in self.recipe.stages.named()]
        if not earlier:
            return self._base()
        folder = self.output / "checkpoints" / earlier[-1]
        if not folder.is_dir():
            raise ArmliteError(
                f"stage {name} starts from {folder}, which does not exist; run stage {earlier[-1]} first"
            )
        return self._base() if name == "sft2" else str(folder)

    def _stage(self, name: str, stage: SftSettings | GrpoSettings, source: str, resume: bool) -> None:
        from armlite.models.places import resolve
        from armlite.train.checkpoints import publish
        from armlite.train.finite import check_trained_weights
        from armlite.train.sharding import full_state_dict, prepare_sharding
        from armlite.train.weights import load_for_stage, save_weights

        done, work = self.output / "checkpoints" / name, self.output / "work" / name
        if done.is_dir() and resume:
            on_first(lambda: shutil.rmtree(work, ignore_errors=True))
            return
        if name == "sft2":
            on_first(lambda: make_second_round(self.recipe, self.output, self.notify))
        prepare_sharding(stage, resolve(source).architecture.decoder_layer)
        on_first(lambda: self._clear(name, stage, resume))
        start = time.monotonic()
        policy = load_for_stage(self.recipe, stage, source)
        asked = self.recipe, name, stage, policy
        if isinstance(stage, SftSettings):
            from armlite.train.sft import run_sft

            learnt = conversations(self.recipe, self.output, name, self._left_out("traces"))
            model, counts = run_sft(*asked, learnt, work, self.metrics)
        else:
            from armlite.train.grpo import run_grpo

            def filtered(done: int, total: int) -> None:
                self.notify("filter", {"stage": name, "done": done, "total": total})

            data = self.tasks, self.tasks_root, self.output
            model, counts = run_grpo(*asked, *data, self.metrics, resume, filtered)
        check_trained_weights(name, model)
        weights = full_state_dict(model)

        def write(folder: Path) -> None:
            save_weights(model, policy.processor, folder, weights)
            write_rules(folder, rules_of(self.recipe))

        def finish() -> None:
            skipped = sum("skipped" in row for row in self.metrics.read() if row["stage"] == name)
            counted = {**counts, "skipped_steps": skipped} if skipped else counts
            self._note(name, {"seconds": round(time.monotonic() - start, 1), **counted})
            publish(done, write)
            shutil.rmtree(work, ignore_errors=True)

        on_first(finish)

    def _clear(self, name: str, stage: SftSettings | GrpoSettings, resume: bool) -> None:
        """Remove what an earlier try at a stage left, or what it did after its last checkpoint."""
        from armlite.train.checkpoints import discard, draft_of, last_step
        from armlite.train.finite import drop_spoilt

        work = self.output / "work" / name
        if not resume:
            for old in (self.output / part / name for part in ("checkpoints", "work", "eval", "rollouts")):
                discard(old)
            discard(draft_of(self.output / "eval" / name))
            forget(self.output, name)
            for old in (self.output / "filter").glob(f"{name}.*"):
                old.unlink()
        drop_spoilt(work)
        taken = last_step(work)
        self.metrics.rewind(name, taken)
        self.notify("stage", {"stage": name, "steps": stage.steps, "done": taken})

    def control(self, stage: SftSettings) -> None:
        """Train and evaluate `control`."""
        self._ready()
        self._stage("control", stage, str(self.output / "checkpoints" / "sft"), resume=False)
        self._evaluate("control", str(self.output / "checkpoints" / "control"))

    def _note(self, name: str, values: dict[str, Any]) -> None:
        """Add to the run's notes what a stage took and used."""
        notes = read_json(self.output / NOTES, {})
        write_atomic(self.output / NOTES, json.dumps({**notes, name: values}, indent=2) + "\n")
        self.notify("note", {"stage": name, **values})

    def _evaluate(self, name: str, source: str) -> None:
        """`eval/<name>/`: at the rollout temperature, greedy, and greedy without tools; then its benchmarks."""
        from armlite.train.checkpoints import publish
        from armlite.train.rounds import evaluate_checkpoint

        asked = self.recipe, name, source, self.held_out, self.held_out_root
        if not (done := self.output / "eval" / name).is_dir():
            publish(done, lambda folder: evaluate_checkpoint(*asked, folder, self.notify), go_on=True)
        judge_benchmarks(self.recipe, self.output, name, source, self.notify)
