"""The sizes of a model: parameters by part and bytes by token, from its configuration alone. No torch."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError, nearest
from armlite.models.bases import BASES, Base, find


@dataclass(frozen=True)
class Shape:
    """An architecture; names are those of its config.json, `vision_` before those of the tower."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    tie_word_embeddings: bool
    vision_depth: int
    vision_hidden_size: int
    vision_intermediate_size: int
    patch_size: int = 14
    spatial_merge_size: int = 2
    temporal_patch_size: int = 2
    in_channels: int = 3
    model_type: str = "qwen2_5_vl"
    head_dim: int = 0
    """Numbers in a head; 0: the hidden size shared out to the heads."""
    levels: int = 0
    """First text layers that get visual features added behind them."""
    position_embeddings: int = 0
    """Learnt positions of the tower."""

    @property
    def base(self) -> Base:
        """The architecture."""
        return BASES[self.model_type]

    @property
    def head_size(self) -> int:
        """Numbers in a head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def q_size(self) -> int:
        """Numbers in the queries of one token in one layer."""
        return self.head_size * self.num_attention_heads

    @property
    def kv_size(self) -> int:
        """Numbers in the keys of one token in one layer."""
        return self.head_size * self.num_key_value_heads

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """Linear layers of one decoder layer: name -> (inputs, outputs)."""
        h, i, q, kv = self.hidden_size, self.intermediate_size, self.q_size, self.kv_size
        return {
            "self_attn.q_proj": (h, q),
            "self_attn.k_proj": (h, kv),
            "self_attn.v_proj": (h, kv),
            "self_attn.o_proj": (q, h),
            "mlp.gate_proj": (h, i),
            "mlp.up_proj": (h, i),
            "mlp.down_proj": (i, h),
        }

    @property
    def linears(self) -> int:
        """Weights of the decoder's linear layers: what 4-bit quantises."""
        return self.num_hidden_layers * sum(a * b for a, b in self.projections.values())

    @property
    def text_rest(self) -> int:
        """Biases and norms of the text model."""
        biases = (self.q_size + 2 * self.kv_size) * self.base.attention_bias
        norms = 2 * self.hidden_size + 2 * self.head_size * self.base.head_norms
        return self.num_hidden_layers * (biases + norms) + self.hidden_size

    @property
    def embeddings(self) -> int:
        """Input embeddings and output layer."""
        return self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)

    @property
    def vision(self) -> int:
        """Parameters of the vision tower, its mergers included."""
        return self.base.vision_numbers(self)

    @property
    def patch_numbers(self) -> int:
        """Numbers in one patch of pixels: 1176 or 1536."""
        return self.in_channels * self.temporal_patch_size * self.patch_size**2

    @property
    def total(self) -> int:
        return self.linears + self.text_rest + self.embeddings + self.vision

    def image_tokens(self, pixels: int) -> int:
        """Most visual tokens of an image of so many pixels."""
        return -(-pixels // (self.patch_size * self.spatial_merge_size) ** 2)

    def adapter(self, r: int, target: str) -> int:
        """Weights of a LoRA adapter of rank `r` on the modules that a regular expression matches."""
        layer = "model.language_model.layers.0"
        sizes = (a + b for name, (a, b) in self.projections.items() if re.fullmatch(target, f"{layer}.{name}"))
        return r * sum(sizes) * self.num_hidden_layers


_PATCHES = ("spatial_merge_size", "temporal_patch_size")
"""Sizes of the tower that a configuration may leave out: they are then the usual ones."""
_TOWER = {"vision_depth": 32, "vision_hidden_size": 1280, "vision_intermediate_size": 3420}
_WIDER = {**_TOWER, "vision_intermediate_size": 3456}
_THIRD: dict[str, Any] = {"model_type": "qwen3_vl", "patch_size": 16, "head_dim": 128, "position_embeddings": 2304}
_SMALL = {**_THIRD, "levels": 3, "vision_depth": 24, "vision_hidden_size": 1024, "vision_intermediate_size": 4096}
_LARGE = {**_THIRD, "levels": 3, "vision_depth": 27, "vision_hidden_size": 1152, "vision_intermediate_size": 4304}
_POCKET = (128, 384, 4, 4, 2, 900, True, 2, 64, 128)
SHAPES = {
    "Qwen/Qwen2.5-VL-3B-Instruct": Shape(2048, 11008, 36, 16, 2, 151936, True, **_TOWER),
    "Qwen/Qwen2.5-VL-7B-Instruct": Shape(3584, 18944, 28, 28, 4, 152064, False, **_TOWER),
    "Qwen/Qwen2.5-VL-32B-Instruct": Shape(5120, 27648, 64, 40, 8, 152064, False, **_WIDER),
    "Qwen/Qwen2.5-VL-72B-Instruct": Shape(8192, 29568, 80, 64, 8, 152064, False, **_WIDER),
    "Qwen/Qwen3-VL-2B-Instruct": Shape(2048, 6144, 28, 16, 8, 151936, True, **_SMALL),
    "Qwen/Qwen3-VL-4B-Instruct": Shape(2560, 9728, 36, 32, 8, 151936, True, **_SMALL),
    "Qwen/Qwen3-VL-8B-Instruct": Shape(4096, 12288, 36, 32, 8, 151936, False, **_LARGE),
    "pocket": Shape(*_POCKET, spatial_merge_size=1),
    "pocket-qwen3-vl": Shape(
        *_POCKET, spatial_merge_size=1, **{**_THIRD, "head_dim": 32, "position_embeddings": 64}, levels=1
    ),
}
"""Known offline: from the published config.json files (those of Qwen3-VL as torchtitan and other public repositories
repeat them), and `armlite.pocket.model`; the pocket vocabulary is made for its traces, so its size is rounded."""


def shape_of(model: str) -> Shape:
    """The shape of a model by its hub id (a known one, or one that was fetched before), its folder, or `pocket`.

    Raises:
        ArmliteError: it is not known offline and no folder here holds its configuration.
    """
    if model in SHAPES:
        return SHAPES[model]
    folder = Path(model).expanduser()
    for name in ("config.json", "base/config.json"):
        if (folder / name).is_file():
            return from_config(json.loads((folder / name).read_text(encoding="utf-8")), str(folder / name))
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
        return shape_of(str(folder / base) if (folder / base).is_dir() else base)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        from huggingface_hub import try_to_load_from_cache

        if isinstance(file := try_to_load_from_cache(model, "config.json"), str):
            return from_config(json.loads(Path(file).read_text(encoding="utf-8")), file)
    raise ArmliteError(
        f"the shape of {model} is not known here.{nearest(model, SHAPES)} Give a folder with its config.json, or one "
        f"of {', '.join(SHAPES)}"
    )


def known_shape(model: str) -> Shape | None:
    """As `shape_of`, or None where nothing here says it."""
    try:
        return shape_of(model)
    except ArmliteError:
        return None


def from_config(config: dict[str, Any], origin: str) -> Shape:
    """A shape from a config.json, in the nested form of today or the flat one of early releases.

    Raises:
        ArmliteError: it is another architecture, or lacks a size.
    """
    base = find(config.get("model_type"), origin)
    text, vision = config.get("text_config") or config, config.get("vision_config") or {}
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    sizes = "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads vocab_size"
    try:
        return Shape(
            **{name: int(text[name]) for name in sizes.split()},
            tie_word_embeddings=bool(tied),
            **{f"vision_{name}": vision[name] for name in ("depth", "hidden_size", "intermediate_size")},
            **{name: vision[name] for name in _PATCHES if name in vision},
            patch_size=vision.get("patch_size", base.image["patch_size"]),
            model_type=base.model_type,
            head_dim=int(text.get("head_dim") or 0),
            levels=base.levels(vision),
            position_embeddings=vision.get("num_position_embeddings", 0),
            in_channels=vision.get("in_channels", vision.get("in_chans", 3)),
        )
    except KeyError as error:
        raise ArmliteError(f"{origin} does not say {error.args[0]}") from error
