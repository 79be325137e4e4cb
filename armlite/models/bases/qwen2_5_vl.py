"""Qwen2.5-VL (3B, 7B, 32B, 72B): M-RoPE by sections, biased queries, keys and values, a windowed tower of 14-pixel
patches whose output stands in for embeddings. Published boxes are in pixels of the shrunk image; our tools take
thousandths, which training teaches. Its own template says "You are a helpful assistant." where nobody says otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from armlite.models.bases.base import Base

if TYPE_CHECKING:
    import torch

    from armlite.plan.shapes import Shape


def rotary_axes(sections: Sequence[int] | None) -> list[int]:
    """The frequencies of time, then those of height, then those of width."""
    return [i % 3 for i, n in enumerate(sections or (16, 24, 24)) for _ in range(n)]


def levels(vision: Mapping[str, Any]) -> int:
    """Visual features enter with the embeddings alone."""
    return 0


def features(output: Any) -> list["torch.Tensor"]:
    """Of each image what the tower says in the end."""
    return list(output.pooler_output)


def output(features: list["torch.Tensor"], hidden: int) -> Any:
    """The way back."""
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    return BaseModelOutputWithPooling(pooler_output=tuple(features))  # type: ignore[arg-type]


def vision_numbers(s: "Shape") -> int:
    """Patches, blocks with norms without bias and a gated MLP, and one merger."""
    h, i, wide = s.vision_hidden_size, s.vision_intermediate_size, s.vision_hidden_size * s.spatial_merge_size**2
    block = 2 * h + (3 * h * h + 3 * h) + (h * h + h) + (3 * h * i + 2 * i + h)
    merger = h + (wide * wide + wide) + (wide * s.hidden_size + s.hidden_size)
    return s.patch_numbers * h + s.vision_depth * block + merger


BASE = Base(
    model_type="qwen2_5_vl",
    title="Qwen2.5-VL",
    model_class="Qwen2_5_VLForConditionalGeneration",
    processor_class="Qwen2_5_VLProcessor",
    decoder_layer="Qwen2_5_VLDecoderLayer",
    image={
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "min_pixels": 56 * 56,
        "max_pixels": 1280 * 28 * 28,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
    skip=("model.visual", "lm_head"),
    attention_bias=True,
    head_norms=False,
    rotary_axes=rotary_axes,
    levels=levels,
    features=features,
    output=output,
    vision_numbers=vision_numbers,
)
