"""Models to measure with: the pocket model, a middle size, and random weights of any model's true shape.

Speed and memory do not depend on what the weights are, so none have to be fetched. A 4-bit model is made one module at
a time on its device, so that a 7B never stands in 16 bits anywhere. Called by `armlite.bench.measure`.
"""

import inspect
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
import transformers
from torch import nn
from transformers import AutoConfig

from armlite.bench.folders import cut
from armlite.bench.script import Play
from armlite.errors import ArmliteError, first_line
from armlite.models.bases import BASES, base_of, find
from armlite.models.device import spare_the_tower, usual_dtype
from armlite.models.loading import load, nf4, without_cudnn_attention
from armlite.models.processor import build_processor, load_processor
from armlite.pocket.model import build_model, build_tokenizer
from armlite.recipe import Recipe, check_recipe

Size = Literal["pocket", "middle"]
STD = 0.02
"""Of random weights, as large models are initialised."""
MIDDLE = {
    "text": {
        "hidden_size": 512,
        "intermediate_size": 1664,
        "num_hidden_layers": 7,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [8, 12, 12]},
        "initializer_range": STD,
    },
    "vision": {
        "depth": 4,
        "hidden_size": 256,
        "intermediate_size": 352,
        "num_heads": 4,
        "out_hidden_size": 512,
        "spatial_merge_size": 2,
        "fullatt_block_indexes": [3],
        "initializer_range": STD,
    },
}
"""What the middle size changes in the pocket model's configuration: about 23 M parameters of text, 4 M of vision."""


@dataclass(frozen=True)
class Measured:
    """A model with its processor, and what to call it."""

    model: Any
    processor: Any
    name: str

    @property
    def cell(self) -> int:
        """Side of the square of pixels that makes one visual token."""
        return self.processor.image_processor.patch_size * self.processor.image_processor.merge_size


def small(size: Size, base: str = "qwen2_5_vl") -> Measured:
    """The pocket model of an architecture, untrained, or the middle size; images have at most 256 tokens."""
    from armlite.episode import EpisodeSettings
    from armlite.pocket.traces import sample_texts
    from armlite.pocket.world import generate

    with TemporaryDirectory() as folder:
        root = Path(folder)
        tokenizer = build_tokenizer(sample_texts(list(generate("train", 30, 0, root)), EpisodeSettings(), root, 0))
    merge = 1 if size == "pocket" else 2
    edge = BASES[base].image["patch_size"] * merge
    processor = build_processor(tokenizer, base, merge_size=merge, min_pixels=4 * edge**2, max_pixels=256 * edge**2)
    model = build_model(tokenizer, 0, base, **(MIDDLE if size == "middle" else {}))
    return Measured(model.eval(), processor, _name(size, model))


def of_recipe(recipe: Recipe, random_weights: bool, layers: int | None = None) -> Measured:
    """The recipe's model: loaded, or made from its configuration.

    Args:
        layers: of random weights: cut to so many layers of text and of vision.

    Raises:
        ArmliteError: there is no such model, or no configuration.
    """
    if recipe.model.pocket:
        return small("pocket", recipe.model.pocket)
    quantize = "4bit" if recipe.model.quantize == "4bit" else None
    if not random_weights:
        model, processor = load(
            recipe.model.path, quantize=quantize, dtype=recipe.model.dtype, attn=recipe.model.attention
        )
        return Measured(model, processor, _name(recipe.model.path, model))
    try:
        config = AutoConfig.from_pretrained(recipe.model.path)
    except (OSError, ValueError) as error:
        raise ArmliteError(f"no configuration could be read from {recipe.model.path}: {first_line(error)}") from error
    name = f"random {Path(recipe.model.path).name}"
    if layers is not None:
        config, name = cut(config, layers), f"{name}, {layers} + {layers} layers"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = usual_dtype(device.type)
    if recipe.model.dtype != "auto":
        dtype = getattr(torch, recipe.model.dtype)
    model = random_model(config, bool(quantize), dtype, device, recipe.model.attention)
    if dtype == torch.float16:
        spare_the_tower(model)
    return Measured(model, load_processor(recipe.model.path), _name(name, model))


def _name(word: str, model: Any) -> str:
    """With the numbers of parameters, 4-bit ones counted as what they stand for."""
    vision = sum(map(_numbers, model.model.visual.parameters()))
    text = sum(map(_numbers, model.parameters())) - vision
    return f"{word}: {text / 1e6:.2f} M text, {vision / 1e6:.2f} M vision"


def _numbers(parameter: Any) -> int:
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else state.shape.numel()


def random_model(config: Any, quantize: bool, dtype: torch.dtype, device: torch.device, attention: str = "sdpa") -> Any:
    """A model of a configuration with normally distributed weights, made where it is to run.

    Args:
        config: of an architecture in `armlite.models.bases`.
        quantize: NF4 with double quantisation for the language model, each weight as soon as it is drawn.
        dtype: of what is not quantised, and of the arithmetic.
    """
    without_cudnn_attention()
    config.dtype, config._attn_implementation = dtype, attention
    with torch.device("meta"):
        model = getattr(transformers, find(config.model_type, "the configuration").model_class)(config)
    if quantize:
        replace_linears(model, dtype)
    generator = torch.Generator(device).manual_seed(0)
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, _drawn(module, name, parameter, dtype, device, generator))
    text, vision = model.model.language_model, model.model.visual
    text.rotary_emb = type(text.rotary_emb)(config.text_config).to(device)
    vision.rotary_pos_emb = _vision_rotary(type(vision.rotary_pos_emb), config.vision_config).to(device)
    model.tie_weights()
    left = [n for n, t in [*model.named_parameters(), *model.named_buffers()] if t.is_meta]
    if left:
        raise RuntimeError(f"not made: {left}")
    return model.requires_grad_(False).eval()


def _vision_rotary(kind: Any, config: Any) -> Any:
    """The angles of a vision tower; transformers 5.17 makes them from a size, later ones from the configuration."""
    if "config" in inspect.signature(kind).parameters:
        return kind(config)
    return kind(config.hidden_size // config.num_heads // 2)


def _drawn(
    module: nn.Module, name: str, old: Any, dtype: torch.dtype, device: torch.device, generator: torch.Generator
) -> nn.Parameter:
    """A parameter's weights: ones for norms, zeros for biases, else normal; quantised where the old one was to be."""
    if old.dim() == 1:
        fill = torch.zeros if name == "bias" else torch.ones
        return nn.Parameter(fill(old.shape, dtype=dtype, device=device), requires_grad=False)
    made = torch.empty(old.shape, dtype=dtype, device=device).normal_(0, STD, generator=generator)
    if not hasattr(module, "quant_state"):
        return nn.Parameter(made, requires_grad=False)
    from bitsandbytes.nn import Params4bit

    wanted = Params4bit(made, requires_grad=False, quant_type="nf4", compress_statistics=True, module=module)
    return wanted.to(device)  # which is what quantises


def replace_linears(model: Any, dtype: torch.dtype) -> None:
    """Put 4-bit modules in place of the language model's linear ones, and tell PEFT and the Trainer."""
    from bitsandbytes.nn import Linear4bit
    from transformers.quantizers import AutoHfQuantizer

    for module in list(model.model.language_model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                with torch.device("meta"):
                    new = Linear4bit(child.in_features, child.out_features, child.bias is not None, dtype, True, "nf4")
                new.support_avx512bf16_for_cpu = False  # its repacked weights have no backward
                setattr(module, name, new)
    model.config.quantization_config = nf4(dtype, base_of(model))
    model.hf_quantizer = AutoHfQuantizer.from_config(model.config.quantization_config)
    model.is_loaded_in_4bit = model.is_quantized = True
    model.quantization_method = model.config.quantization_config.quant_method


def bench_recipe(recipe: Recipe | None, play: Play, context: int) -> Recipe:
    """A recipe whose one GRPO stage plays a workload; all else as the given one has it.

    Args:
        recipe: its model, adapter, engine, and the last GRPO stage's way of training; None: a LoRA of rank 8 on all
            linear layers of the text, the whole step in one pass, no gradient checkpointing.
        play: the workload's script, whose rules are kept.
        context: tokens of the longest conversation.
    """
    work, turn = play.work, play.longest_turn + 1
    size = work.prompts * max(2, work.group)
    stage: dict[str, Any] = {"per_device_train_batch_size": size, "gradient_checkpointing": False}
    raw: dict[str, Any] = {"lora": {"r": 8, "alpha": 16}, "model": {"path": "pocket"}}
    if recipe is not None:
        own = recipe.stages.grpo2 or recipe.stages.grpo1
        if own is None:
            raise ArmliteError(f"recipe {recipe.name} has no GRPO stage to measure")
        raw = recipe.model_dump(exclude={"stages", "data", "name", "episode"})
        stage = own.model_dump()
    micro = min(stage["per_device_train_batch_size"], size)
    micro = next(n for n in range(micro, 0, -1) if size % n == 0)
    stage |= {
        "steps": work.steps,
        "num_generations": max(2, work.group),
        "tasks_per_step": work.prompts,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": size // micro,
        "max_new_tokens": turn,
        "max_context": context,
        "num_iterations": 1,
        "filter_rollouts": 0,
        "reward": work.reward,
        "save_steps": 1_000_000,
    }
    raw["evaluation"] = {"max_context": context, "max_new_tokens": turn}
    if (raw.get("engine") or {}).get("max_tokens_in_cache"):
        raw["engine"]["max_tokens_in_cache"] = max(raw["engine"]["max_tokens_in_cache"], 2 * context)
    if work.play in ("rollout", "judge"):  # their size is what is asked about
        raw["engine"] = {**(raw.get("engine") or {}), "max_slots": work.slots or work.rollouts}
    raw["stages"], raw["episode"] = {"grpo2": stage}, play.settings.model_dump()
    return check_recipe({"name": "bench", **raw}, "bench")
