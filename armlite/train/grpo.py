"""The two GRPO stages: difficulty filter, dataset, and JudgeGRPOTrainer."""

import json
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from trl import GRPOConfig
from trl.chat_template_utils import qwen3_template

from armlite.data.making.rollouts import Progress, pass_rates, rollout_jobs
from armlite.episode import presented_order
from armlite.errors import ArmliteError
from armlite.journal import Journal
from armlite.models.engine.vision import VisionCache
from armlite.models.local import LocalModel, Sampling
from armlite.recipe import Recipe
from armlite.rewards import get_reward
from armlite.runner import Outcome
from armlite.stages import GrpoSettings
from armlite.store import Saved, save, write_atomic
from armlite.train.checkpoints import CompleteCheckpoints, train_to_end
from armlite.train.environment import environment_factory
from armlite.train.finite import BadSteps
from armlite.train.metrics import MetricsFile
from armlite.train.policy import Policy
from armlite.train.processes import index, is_first, on_first
from armlite.train.sft import common_arguments
from armlite.train.trainer import JudgeGRPOTrainer, Rollouts
from armlite.types import Score, Task

TRL_ALIKE = {"num_generations", "num_iterations", "temperature", "top_p"}
TRL_ALIKE |= {"beta", "epsilon", "epsilon_high", "loss_type", "scale_rewards"}
"""Settings of a stage that TRL calls by the same names."""
FILTER_ROLLOUT = 1_000_000
"""Rollout numbers of the difficulty filter start here, apart from those of training."""


def chat_model(recipe: Recipe, stage: GrpoSettings, policy: Policy) -> LocalModel:
    """The policy as a chat model, sampling as the stage says."""
    own = stage.model_dump(include={"temperature", "top_p", "max_new_tokens", "max_context"})
    sampling = Sampling(**own, seed=recipe.seed)
    vision = VisionCache(policy.model, policy.processor, frozen=not stage.train_vision)
    return LocalModel(policy.model, policy.processor, sampling, recipe.engine, vision, name="policy")


def filter_tasks(
    recipe: Recipe,
    rollouts: int,
    chat: LocalModel,
    tasks: Sequence[Task],
    root: Path,
    file: Path,
    on_task: Progress | None,
    easy_first: bool = False,
) -> list[Task]:
    """Drop the tasks that the model gets right in every rollout (paper, section on data: 5 of 5), and those that cannot
    be played.

    Args:
        file: where the pass rates are kept; read instead of asked again when it exists.
        on_task: called with (done, total).
        easy_first: give those first that were right most often.
    """

    def rate() -> None:
        journal = Journal(file.with_suffix(".rows.jsonl"))
        jobs = rollout_jobs(tasks, rollouts, recipe.episode, root, recipe.seed, FILTER_ROLLOUT)
        rates, faults = pass_rates(jobs, chat, journal, recipe.evaluation.batch, on_task)
        said = {task: fault.reason for task, fault in faults.items()}
        write_atomic(file, json.dumps({"rollouts": rollouts, "pass_rate": rates, "faults": said}))
        journal.file.unlink(missing_ok=True)

    on_first(lambda: None if file.is_file() else rate())
    kept = json.loads(file.read_text(encoding="utf-8"))
    rates = kept["pass_rate"]
    left = [t for t in tasks if t.id not in kept.get("faults", {}) and rates[t.id] < 1.0]
    return sorted(left, key=lambda task: -rates[task.id]) if easy_first else left


def dataset(
    tasks: Sequence[Task], batches: int, size: int, without_tools: float, seed: int, swept: bool = False
) -> Dataset:
    """Rows for the trainer, in the order of training: so many batches of different tasks, in shuffled passes; or, where
    they are `swept`, from a quarter of the tasks that moves from the first to the last.

    One long pass instead of many: TRL shuffles each anew, and a run that resumes in a later one would not know how. The
    environment opens each task itself.
    """
    rng, shuffle = random.Random(f"tools/{seed}"), torch.Generator().manual_seed(seed)
    rows = [
        {
            "prompt": [{"role": "user", "content": []}],
            "task": task.to_json(),
            "with_tools": rng.random() >= without_tools,
            "order": list(presented_order(task, seed)),
        }
        for task in tasks
    ]
    order: list[int] = []
    width = max(size, len(rows) // 4)
    for batch in range(batches if swept else 0):
        low = (len(rows) - width) * batch // max(1, batches - 1)
        order += (low + torch.randperm(width, generator=shuffle)[:size]).tolist()
    while len(order) < batches * size:
        order += torch.randperm(len(rows), generator=shuffle).tolist()[: len(rows) // size * size]
    return Dataset.from_list([rows[i] for i in order[: batches * size]])


def save_rollouts(folder: Path, step: int, outcomes: Sequence[Outcome], scores: Sequence[Score]) -> None:
    """`rollouts/<stage>/step_000010.jsonl` with its images; a process but the first adds its number to the name."""
    rows = [Saved(trajectory=o.trajectory, score=s) for o, s in zip(outcomes, scores, strict=True)]
    pixels = {file: image for o in outcomes for file, image in o.images.items()}
    part = "" if is_first() else f".p{index()}"
    save(folder / f"step_{step + 1:06d}{part}.jsonl", rows, pixels)


def run_grpo(
    recipe: Recipe,
    name: str,
    stage: GrpoSettings,
    policy: Policy,
    tasks: Sequence[Task],
    root: Path,
    output: Path,
    metrics: MetricsFile,
    resume: bool,
    on_filter: Callable[[int, int], None] | None = None,
) -> tuple[Any, dict[str, int]]:
    """Run one GRPO stage and return the model with counts.

    Args:
        name: `grpo1` or `grpo2`.
        tasks: training tasks; their paths are relative to `root`.
        output: the run directory.
        on_filter: called with (done, total) while the difficulty filter runs.
    """
    chat = chat_model(recipe, stage, policy)
    kept = list(tasks)
    if stage.filter_rollouts:
        file = output / "filter" / f"{name}.json"
        easy_first = stage.curriculum == "easy_first"
        kept = filter_tasks(recipe, stage.filter_rollouts, chat, tasks, root, file, on_filter, easy_first)
    if len(kept) < stage.tasks_per_step:
        raise ArmliteError(
            f"{name}: the difficulty filter left {len(kept)} of {len(tasks)} tasks, fewer than tasks_per_step "
            f"({stage.tasks_per_step}); give more or harder tasks, or set stages.{name}.filter_rollouts=0"
        )
    work = output / "work" / name
    callbacks = [CompleteCheckpoints(), BadSteps(name, stage.max_bad_steps), metrics.callback(name)]
    keep = partial(save_rollouts, output / "rollouts" / name)
    trainer = make_trainer(recipe, stage, chat, policy.peft_config, kept, root, work, callbacks, keep)
    with chat.vision.features_from_ids():
        trained = train_to_end(trainer, resume)
    return trained, {"tasks": len(tasks), "kept": len(kept)}


def make_trainer(
    recipe: Recipe,
    stage: GrpoSettings,
    chat: LocalModel,
    peft_config: LoraConfig | None,
    tasks: Sequence[Task],
    root: Path,
    work: Path,
    callbacks: Sequence[Any] = (),
    on_rollouts: Rollouts | None = None,
) -> JudgeGRPOTrainer:
    """The trainer of a stage; it is to be used inside `chat.vision.features_from_ids()`.

    Args:
        chat: the policy; its model's weights are the ones that are trained.
        peft_config: a new adapter, or None to train what is trainable.
        work: folder for checkpoints to resume from.
    """
    batches = -(-stage.steps // stage.num_iterations)
    chat.processor.tokenizer.response_template = qwen3_template  # TRL demands one; ours is no template it knows
    arguments = GRPOConfig(
        **common_arguments(recipe, stage, work),
        **stage.model_dump(include=TRL_ALIKE),
        shuffle_dataset=False,
        max_completion_length=stage.max_context,
        mask_truncated_completions=False,  # it would hide image tokens from attention; our masks do it instead
    )
    return JudgeGRPOTrainer(
        model=chat.model,
        args=arguments,
        train_dataset=dataset(
            tasks,
            batches,
            stage.tasks_per_step,
            recipe.data.without_tools,
            recipe.seed,
            stage.curriculum == "easy_first",
        ),
        processing_class=chat.processor,
        peft_config=peft_config,
        environment_factory=environment_factory(recipe.episode, root, deferred=True),
        callbacks=list(callbacks),
        chat=chat,
        reward=get_reward(stage.reward).weighted(stage.weights).counting(stage.success),
        train_overflow=stage.train_overflow,
        update_tokens=stage.update_tokens,
        shared_prefix=stage.shared_prefix,
        on_rollouts=on_rollouts,
    )
