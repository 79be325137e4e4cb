"""Weights between stages: what a stage starts from, and how its result is kept (a whole model, or an adapter on
one).
"""

import os
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.models.loading import load
from armlite.models.unsloth import load_unsloth
from armlite.recipe import GrpoSettings, LoraSettings, Recipe, SftSettings


def load_for_stage(recipe: Recipe, stage: SftSettings | GrpoSettings, source: str) -> tuple[Any, Any, Any]:
    """The model to train, its processor, and the configuration of a new adapter (None where there is one, or none).

    Args:
        source: the predecessor's checkpoint, or the recipe's model.
    """
    import peft
    import transformers

    transformers.set_seed(recipe.seed)
    quantize = "4bit" if recipe.model.quantize == "4bit" else None
    if recipe.model.backend == "unsloth":
        longest = stage.max_length if isinstance(stage, SftSettings) else stage.max_context
        model, processor = load_unsloth(source, quantize=quantize is not None, max_length=longest)
    else:
        model, processor = load(
            source,
            quantize=quantize,
            dtype=recipe.model.dtype,
            attn=recipe.model.attention,
            trainable=stage.adapter == "lora",
        )
    has_adapter = isinstance(model, peft.PeftModel)
    if stage.adapter == "none":
        if has_adapter:
            model = model.merge_and_unload()
        model.requires_grad_(True)
        model.model.visual.requires_grad_(stage.train_vision)
        return model, processor, None
    if has_adapter:
        return model, processor, None
    return model, processor, new_adapter(recipe.lora)


def new_adapter(settings: LoraSettings) -> Any:
    """The configuration of an adapter, for PEFT."""
    import peft

    return peft.LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.target,
        task_type="CAUSAL_LM",
    )


def save_weights(model: Any, processor: Any, folder: Path, final: Path, weights: dict[str, Any] | None = None) -> None:
    """Write a model folder or an adapter folder, loadable by itself.

    Args:
        folder: where to write.
        final: the name that the folder will have; an adapter's base inside the same run is named relative to it.
        weights: what to write, where the model itself holds only a part of it.
    """
    import peft

    if isinstance(model, peft.PeftModel):
        config = model.peft_config["default"]
        base = Path(config.base_model_name_or_path or "")
        if base.is_dir():
            config.base_model_name_or_path = os.path.relpath(base.resolve(), final.resolve())
        model.save_pretrained(folder, selected_adapters=["default"], state_dict=weights)
    else:
        model.save_pretrained(folder, state_dict=weights)
    processor.save_pretrained(folder)
    if not any(folder.glob("*.safetensors")):
        raise ArmliteError(f"no weights were written to {folder}")
