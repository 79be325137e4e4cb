"""In which type a stage computes: bfloat16, or float16 with loss scaling on a card that has none, or float32 on a CPU.

What is trained stays in float32: updates of 1e-5 would be lost in 16 bits, and float16's loss scaling asks for it.
"""

from typing import Any

import torch
from peft import PeftModel

from armlite.errors import ArmliteError
from armlite.models.device import has_bfloat16
from armlite.recipe import Recipe


def training_dtype(recipe: Recipe) -> torch.dtype:
    """What the stages of a recipe compute in on this machine.

    Raises:
        ArmliteError: the recipe asks for a type that this machine cannot train in, or for all weights in float16.
    """
    if not torch.cuda.is_available():
        if recipe.model.dtype == "float16":
            raise ArmliteError("model.dtype: float16 is for training on a GPU, and there is none; leave it at auto")
        return torch.float32
    known = has_bfloat16("cuda")
    if recipe.model.dtype == "bfloat16" and not known:
        name = torch.cuda.get_device_name()
        raise ArmliteError(f"model.dtype: {name} has no bfloat16; leave it at auto, for float16 with loss scaling")
    if known and recipe.model.dtype != "float16":
        return torch.bfloat16
    whole = next((name for name, stage in recipe.stages.named().items() if stage.adapter == "none"), None)
    if whole is not None and recipe.model.dtype != "float32":
        raise ArmliteError(
            f"stages.{whole}.adapter: all weights cannot be trained in float16; use adapter: lora, or model.dtype: "
            "float32"
        )
    return torch.float16


def mixed_precision(recipe: Recipe) -> dict[str, bool]:
    """The training arguments that say so: `bf16` and `fp16`, of which the second scales losses."""
    dtype = training_dtype(recipe)
    return {"bf16": dtype == torch.bfloat16, "fp16": dtype == torch.float16}


def precision_told(recipe: Recipe) -> str | None:
    """A sentence for the log where a stage computes in float16."""
    if training_dtype(recipe) != torch.float16:
        return None
    why = f"{torch.cuda.get_device_name()} has no bfloat16" if not has_bfloat16("cuda") else "the recipe says so"
    return f"computes in float16 with loss scaling, the vision tower in float32 ({why})"


def adapters_in_float32(model: Any) -> None:
    """Put a model's adapters back that TRL has made bfloat16, as it does with those of 4-bit models."""
    if isinstance(model, PeftModel):
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
                parameter.data = parameter.data.float()
