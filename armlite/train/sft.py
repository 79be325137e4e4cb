"""The cold start: supervised learning on judged conversations with TRL's SFTTrainer, our encoding and our collator.

TRL's own collator leaves out the tools text and cannot place images in tool turns, so rows are encoded beforehand.
"""

import random
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch.utils.data import SequentialSampler
from trl import SFTConfig, SFTTrainer

from armlite.models.engine.vision import no_vision_gradient
from armlite.protocol.render import Conversation
from armlite.recipe import Recipe
from armlite.stages import SftSettings
from armlite.train.checkpoints import CompleteCheckpoints, train_to_end
from armlite.train.encode import EncodedRows, collate_rows
from armlite.train.finite import BadSteps
from armlite.train.metrics import MetricsFile
from armlite.train.policy import Policy
from armlite.train.precision import adapters_in_float32, mixed_precision
from armlite.train.processes import share
from armlite.train.reporting import reporting

TRL_ALIKE = {"learning_rate", "lr_scheduler_type", "weight_decay", "max_grad_norm"}
TRL_ALIKE |= {"optim", "gradient_checkpointing", "save_steps"}
"""Settings of a stage that TRL calls by the same names."""


def step_order(lengths: Sequence[int], steps: int, batch: int, seed: int) -> list[int]:
    """Row numbers for all steps: shuffled passes over the rows, and within a step by length.

    Micro-batches of a step then hold rows of like length, which spares padding without changing what a step learns
    from.
    """
    rng, pool, order = random.Random(f"sft/{seed}"), [], []
    for _ in range(steps):
        while len(pool) < batch:
            fresh = list(range(len(lengths)))
            rng.shuffle(fresh)
            pool += fresh
        order += sorted(pool[:batch], key=lambda row: lengths[row])
        del pool[:batch]
    return order


class _InOrder(SFTTrainer):
    """Takes the rows in the order of the dataset; a step's loss is the mean over its tokens, however it is cut up."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Qwen2.5-VL says no, and the micro-batches' means would count alike, short ones or long; but TRL's loss does.
        self.model_accepts_loss_kwargs = True

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def common_arguments(recipe: Recipe, stage: Any, folder: Path) -> dict[str, Any]:
    """The training arguments that all stages share."""
    import torch

    batch, accumulation = share(stage.per_device_train_batch_size, stage.gradient_accumulation_steps)
    return {
        **stage.model_dump(include=TRL_ALIKE),
        "output_dir": str(folder),
        "max_steps": stage.steps,
        "warmup_steps": int(stage.warmup_ratio * stage.steps),
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "save_total_limit": 2,
        "logging_steps": 1,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        **mixed_precision(recipe),
        "use_cpu": not torch.cuda.is_available(),
        "report_to": reporting(recipe, folder),
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def run_sft(
    recipe: Recipe,
    name: str,
    stage: SftSettings,
    policy: Policy,
    conversations: Sequence[Conversation],
    folder: Path,
    metrics: MetricsFile,
) -> tuple[Any, dict[str, int]]:
    """Train, from the last complete checkpoint where there is one, and return the model with counts of what it learnt
    from.

    Args:
        name: of the stage, for the metrics.
        policy: with the weights to start from.
        folder: for checkpoints to resume from.
        metrics: where each step's figures go.
    """
    rows = EncodedRows(conversations, policy.processor, stage.max_length)
    tokenizer = policy.processor.tokenizer
    image_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    collate = partial(collate_rows, pad_id=tokenizer.pad_token_id, image_id=image_id)
    batch = stage.per_device_train_batch_size * stage.gradient_accumulation_steps
    order = step_order(rows.lengths, stage.steps, batch, recipe.seed)
    trainer = _InOrder(
        model=policy.model,
        args=SFTConfig(
            **common_arguments(recipe, stage, folder), max_length=None, dataset_kwargs={"skip_prepare_dataset": True}
        ),
        train_dataset=Dataset.from_dict({"row": order}),
        data_collator=lambda batch: collate([rows[item["row"]] for item in batch]),
        processing_class=policy.processor,
        peft_config=policy.peft_config,
        callbacks=[CompleteCheckpoints(), BadSteps(name, stage.max_bad_steps), metrics.callback(name)],
    )
    adapters_in_float32(trainer.model)
    done = [row for row in metrics.read() if row["stage"] == name]
    trainer._total_train_tokens = done[-1]["num_tokens"] if done else 0  # TRL would count from 0 again
    with nullcontext() if stage.train_vision else no_vision_gradient(trainer.model):
        trained = train_to_end(trainer, resume=True)
    return trained, {"conversations": len(rows), "too_long": len(conversations) - len(rows)}
