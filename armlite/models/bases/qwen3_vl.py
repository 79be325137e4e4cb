"""Qwen3-VL (2B, 4B, 8B; not its mixtures of experts): interleaved M-RoPE, queries and keys normed head by head, and a
tower of 16-pixel patches with learnt positions, three of whose blocks also give features that are added behind the
first text layers (DeepStack). Published boxes are thousandths of the image, as our tools take them. Its own template
says nothing before the tools; a recipe says so by `episode: {system: ""}`. Thinking editions, whose template opens a
thought for the model, are not for our format, in which it opens its own.
"""

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from armlite.models.bases.base import Base

if TYPE_CHECKING:
    import torch

    from armlite.plan.shapes import Shape


def rotary_axes(sections: Sequence[int] | None) -> list[int]:
    """Time, height and width take turns; where height's and width's share is used up, the rest is time's."""
    sections = sections or (24, 20, 20)
    axes = [0] * sum(sections)
    for axis in (1, 2):
        for place in range(axis, min(3 * sections[axis], len(axes)), 3):
            axes[place] = axis
    return axes


def levels(vision: Mapping[str, Any]) -> int:
    """As many layers as blocks of the tower give features."""
    return len(vision.get("deepstack_visual_indexes", (8, 16, 24)))


def features(output: Any) -> list["torch.Tensor"]:
    """Of each image what the tower says in the end, and beside it what it said on the way."""
    import torch

    sizes = [len(f) for f in output.pooler_output]
    later = [f.split(sizes) if isinstance(f, torch.Tensor) else f for f in output.deepstack_features]
    return [torch.cat(parts, -1) for parts in zip(output.pooler_output, *later, strict=True)]


def output(features: list["torch.Tensor"], hidden: int) -> Any:
    """The way back."""
    import torch
    from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

    first, *more = zip(*(f.split(hidden, -1) for f in features), strict=True)
    later = more if _image_by_image() else [torch.cat(level) for level in more]
    return BaseModelOutputWithDeepstackFeatures(pooler_output=first, deepstack_features=later)


@cache
def _image_by_image() -> bool:
    """Whether transformers has what enters later for each image by itself; 5.17 has it of all images in one piece."""
    from transformers import Qwen3VLModel

    return "deepstack_features" in inspect.getsource(Qwen3VLModel.get_image_features)


def vision_numbers(s: "Shape") -> int:
    """Patches with a bias, learnt positions, blocks with norms with bias and a plain MLP, and a merger for each level
    and one more; that of a level norms what it has put together.
    """
    h, i, wide = s.vision_hidden_size, s.vision_intermediate_size, s.vision_hidden_size * s.spatial_merge_size**2
    block = 4 * h + (3 * h * h + 3 * h) + (h * h + h) + (2 * h * i + i + h)
    linears = (wide * wide + wide) + (wide * s.hidden_size + s.hidden_size)
    mergers = 2 * h + linears + s.levels * (2 * wide + linears)
    return (s.patch_numbers + 1 + s.position_embeddings) * h + s.vision_depth * block + mergers


BASE = Base(
    model_type="qwen3_vl",
    title="Qwen3-VL",
    model_class="Qwen3VLForConditionalGeneration",
    processor_class="Qwen3VLProcessor",
    decoder_layer="Qwen3VLTextDecoderLayer",
    image={
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "min_pixels": 256 * 256,
        "max_pixels": 4096 * 4096,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
    skip=("model.visual", "lm_head"),
    attention_bias=False,
    head_norms=True,
    rotary_axes=rotary_axes,
    levels=levels,
    features=features,
    output=output,
    vision_numbers=vision_numbers,
)
