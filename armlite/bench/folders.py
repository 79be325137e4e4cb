"""Model folders without weights: a known model's true sizes with a tokenizer that is at hand, and miniatures of these.

Speed, memory and what can go wrong with shapes and types need no weights; `models.random_model` makes some from such a
folder. Called by `armlite.bench.report` and `tests/real/miniatures.py`.
"""

import json
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError, nearest
from armlite.models.bases import BASES
from armlite.plan.shapes import SHAPES, Shape

MINIATURE = 2
"""Layers of text and of vision that a miniature has: with fewer no layer follows another."""
_HEADS = 16
"""Of the vision tower, in all known sizes."""
_TOKENS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
_OWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "qwen2_5_vl": ({"mrope_section": [16, 24, 24]}, {"window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31]}),
    "qwen3_vl": ({"mrope_section": [24, 20, 20], "mrope_interleaved": True, "rope_theta": 5e6}, {}),
}
"""Of the rotary rule, and of the tower, as published."""


def write_folder(name: str, words: str | Path, folder: Path) -> Path:
    """Write configuration, tokenizer and image settings of a model whose sizes are known offline; returns the folder.

    Args:
        name: a hub id in `SHAPES`.
        words: folder or hub id of a model whose tokenizer it gets.

    Raises:
        ArmliteError: the model is not known, or there is no tokenizer.
    """
    from armlite.models.processor import build_processor, load_processor

    if name not in SHAPES or not name.startswith("Qwen/"):
        known = [n for n in SHAPES if n.startswith("Qwen/")]
        raise ArmliteError(f"the sizes of {name} are not known.{nearest(name, known)} Known: {', '.join(known)}")
    shape, tokenizer = SHAPES[name], load_processor(words).tokenizer
    build_processor(tokenizer, shape.model_type).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(_config(shape, tokenizer), indent=1) + "\n", encoding="utf-8")
    return folder


def _config(s: Shape, tokenizer: Any) -> dict[str, Any]:
    rope, tower = _OWN[s.model_type]
    if s.levels:  # where features are taken from is no matter of size: spread evenly
        blocks = [s.vision_depth * (n + 1) // (s.levels + 1) for n in range(s.levels)]
        tower = {"deepstack_visual_indexes": blocks, "num_position_embeddings": s.position_embeddings}
    patches = ("in_channels", "patch_size", "spatial_merge_size", "temporal_patch_size")
    names = "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads vocab_size"
    return {
        "architectures": [BASES[s.model_type].model_class],
        "model_type": s.model_type,
        "dtype": "bfloat16",
        "tie_word_embeddings": s.tie_word_embeddings,
        "text_config": {
            **{key: getattr(s, key) for key in names.split()},
            **({"head_dim": s.head_dim} if s.head_dim else {}),
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, **rope},
            "max_position_embeddings": 128000,
            "rms_norm_eps": 1e-6,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": s.tie_word_embeddings,
        },
        "vision_config": {
            **{key: getattr(s, f"vision_{key}") for key in ("depth", "hidden_size", "intermediate_size")},
            **{key: getattr(s, key) for key in patches},
            "num_heads": _HEADS,
            "out_hidden_size": s.hidden_size,
            **tower,
        },
        **{key: tokenizer.convert_tokens_to_ids(token) for key, token in _TOKENS.items()},
    }


def cut(config: Any, layers: int = MINIATURE) -> Any:
    """A configuration of transformers with so many layers of text and of vision, all else as it is."""
    text, vision = config.text_config, config.vision_config
    text.num_hidden_layers, vision.depth = layers, layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    if getattr(vision, "fullatt_block_indexes", None):  # windows first, then the whole image, as in the large one
        vision.fullatt_block_indexes = [layers - 1]
    if getattr(vision, "deepstack_visual_indexes", None):
        # They enter behind the first layers of text, but never behind the last one.
        vision.deepstack_visual_indexes = list(range(min(layers - 1, len(vision.deepstack_visual_indexes))))
    return config
