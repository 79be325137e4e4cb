"""Weights between stages: what a stage starts from, and how its result is kept (a whole model, or an adapter on
one).
"""

from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.models.loading import load
from armlite.models.unsloth import load_unsloth
from armlite.recipe import Recipe
from armlite.stages import GrpoSettings, SftSettings
from armlite.train.policy import Policy


def load_for_stage(recipe: Recipe, stage: SftSettings | GrpoSettings, source: str) -> Policy:
    """The model to train, with a new adapter where the stage wants one and the checkpoint has none.

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
        return Policy(model, processor)
    policy = Policy(model, processor)
    return policy if has_adapter else policy.with_adapter(recipe.lora)


def save_weights(model: Any, processor: Any, folder: Path, weights: dict[str, Any] | None = None) -> None:
    """Write a model folder or an adapter folder, loadable by itself; its base is named so that others find it too.

    Args:
        folder: where to write.
        weights: what to write, where the model itself holds only a part of it.
    """
    import peft

    if isinstance(model, peft.PeftModel):
        config = model.peft_config["default"]
        base = Path(config.base_model_name_or_path or "")
        if base.is_dir():
            config.base_model_name_or_path = str(base.resolve())
        model.save_pretrained(folder, selected_adapters=["default"], state_dict=weights)
    else:
        model.save_pretrained(folder, state_dict=weights)
    processor.save_pretrained(folder)
    if not any(folder.glob("*.safetensors")):
        raise ArmliteError(f"no weights were written to {folder}")
