"""The architectures that can be trained and judged with here, one file each, looked up by `model_type`.

Engine, update, vision cache, loading, processor and plan ask a `Base` for what differs between them, and know what all
have in common: `model.language_model` with pre-norm layers of attention and a gated MLP, `model.visual`, `lm_head`.
"""

from typing import Any

from armlite.errors import ArmliteError
from armlite.models.bases import qwen2_5_vl, qwen3_vl
from armlite.models.bases.base import Base

__all__ = ["BASES", "Base", "base_of", "find", "of_processor", "supported"]

BASES = {base.model_type: base for base in (qwen2_5_vl.BASE, qwen3_vl.BASE)}


def supported() -> str:
    """The architectures in words."""
    return " and ".join(f"{base.model_type} ({base.title})" for base in BASES.values())


def find(model_type: Any, origin: object) -> Base:
    """The architecture of a `model_type`.

    Args:
        origin: whose it is, for the message.

    Raises:
        ArmliteError: it is none of these.
    """
    if model_type not in BASES:
        raise ArmliteError(
            f"{origin} is a {model_type or 'nameless'} model; armlite knows the architectures {supported()}: take one "
            "of these, or serve it and say openai:MODEL@URL"
        )
    return BASES[model_type]


def base_of(model: Any) -> Base:
    """The architecture of a model of transformers, in whatever wraps it."""
    return find(model.config.model_type, type(model).__name__)


def of_processor(name: str | None) -> Base:
    """The architecture that a processor class is of; one that nobody names is Qwen2.5-VL's."""
    return next((base for base in BASES.values() if base.processor_class == name), qwen2_5_vl.BASE)
