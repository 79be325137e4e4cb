"""The cold start: supervised learning on judged conversations with TRL's SFTTrainer, our encoding and our collator.

TRL's own collator leaves out the tools text and cannot place images in tool turns, so rows are encoded beforehand.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from armlite.errors import ArmliteError
from armlite.protocol.render import Conversation
from armlite.recipe import Recipe, SftSettings
from armlite.train.checkpoints import CompleteCheckpoints, last_complete
from armlite.train.encode import Encoded, collate, encode
from armlite.train.metrics import MetricsFile


def encode_all(conversations: Sequence[Conversation], processor: Any, max_length: int) -> tuple[list[Encoded], int]:
    """Encode conversations; returns them and the number of those left out as too long."""
    rows = [encode(conversation, processor, max_length) for conversation in conversations]
    kept = [row for row in rows if row is not None]
    if not kept:
        raise ArmliteError(f"none of the {len(rows)} traces fits stages.sft.max_length ({max_length} tokens)")
    return kept, len(rows) - len(kept)


def common_arguments(recipe: Recipe, stage: Any, folder: Path) -> dict[str, Any]:
    """The training arguments that all stages share."""
    import torch

    return {
        "output_dir": str(folder),
        "max_steps": stage.steps,
        "learning_rate": stage.learning_rate,
        "warmup_steps": int(stage.warmup_ratio * stage.steps),
        "lr_scheduler_type": stage.lr_scheduler_type,
        "weight_decay": stage.weight_decay,
        "max_grad_norm": stage.max_grad_norm,
        "optim": stage.optim,
        "per_device_train_batch_size": stage.per_device_train_batch_size,
        "gradient_accumulation_steps": stage.gradient_accumulation_steps,
        "gradient_checkpointing": stage.gradient_checkpointing,
        "save_steps": stage.save_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
        "bf16": torch.cuda.is_available(),
        "use_cpu": not torch.cuda.is_available(),
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }


def run_sft(
    recipe: Recipe,
    stage: SftSettings,
    model: Any,
    processor: Any,
    peft_config: Any,
    conversations: Sequence[Conversation],
    folder: Path,
    metrics: MetricsFile,
    resume: bool,
) -> tuple[Any, dict[str, int]]:
    """Train and return the model with counts of what it learnt from.

    Args:
        model: with the weights to start from.
        peft_config: a new adapter, or None to train what is trainable.
        folder: for checkpoints to resume from.
        metrics: where each step's figures go.
        resume: go on from the last complete checkpoint, if there is one.
    """
    rows, dropped = encode_all(conversations, processor, stage.max_length)
    tokenizer = processor.tokenizer
    gather = partial(
        collate, pad_id=tokenizer.pad_token_id, image_id=tokenizer.convert_tokens_to_ids("<|image_pad|>")
    )
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **common_arguments(recipe, stage, folder), max_length=None, dataset_kwargs={"skip_prepare_dataset": True}
        ),
        train_dataset=Dataset.from_dict({"row": list(range(len(rows)))}),
        data_collator=lambda batch: gather([rows[item["row"]] for item in batch]),
        processing_class=processor,
        peft_config=peft_config,
        callbacks=[CompleteCheckpoints(), metrics.callback("sft")],
    )
    trainer.train(resume_from_checkpoint=last_complete(folder) if resume else None)
    return trainer.model, {"conversations": len(rows), "too_long": dropped}
