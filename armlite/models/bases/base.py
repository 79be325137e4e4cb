"""What is known of an architecture: the record that each file beside this one fills in. No torch at import."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from armlite.plan.shapes import Shape


@dataclass(frozen=True)
class Base:
    """One architecture."""

    model_type: str
    """As its config.json has it."""
    title: str
    """As people call it."""
    model_class: str
    """Of transformers, by name: `...ForConditionalGeneration`."""
    processor_class: str
    """Of transformers, by name."""
    decoder_layer: str
    """Class of a text layer, by name: what FSDP shares out as a unit."""
    image: Mapping[str, Any]
    """Settings of the image processor as published; what a saved one leaves out."""
    skip: tuple[str, ...]
    """Modules that 4-bit leaves alone. Transformers matches from the start of a module's name: `visual` skips nothing.
    """
    attention_bias: bool
    """Whether the products for queries, keys and values add a bias."""
    head_norms: bool
    """Whether queries and keys are normed, each head by itself, before they turn (`q_norm`, `k_norm`)."""
    rotary_axes: Callable[[Sequence[int] | None], list[int]]
    """`mrope_section` -> for each of the head_dim / 2 frequencies the axis (0 time, 1 height, 2 width) it turns by."""
    levels: Callable[[Mapping[str, Any]], int]
    """Vision configuration -> how many of the first text layers get visual features added behind them."""
    features: Callable[[Any], list["torch.Tensor"]]
    """What `get_image_features` gives -> of each image (tokens, (1 + levels) * hidden): what stands in for its
    embeddings, then what is added behind the first layers.
    """
    output: Callable[[list["torch.Tensor"], int], Any]
    """The way back, with the hidden size: features -> what `get_image_features` gives."""
    vision_numbers: Callable[["Shape"], int]
    """Parameters of the vision tower, its mergers included."""

    @property
    def cell(self) -> int:
        """Side in pixels of the square that makes one visual token, as published: 28 or 32."""
        return self.image["patch_size"] * self.image["merge_size"]
