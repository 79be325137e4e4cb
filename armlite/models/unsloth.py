"""Loading with unsloth, for its kernels and its 4-bit weights: an extra, imported before transformers or not at all.

Its kernels serve the cold start; rollouts and GRPO's update run through armlite's own engine on the same weights. It
has not been tried on a GPU here: a figure that rests on it says so.
"""

import sys
from importlib.util import find_spec
from typing import Any

from armlite.errors import ArmliteError, first_line

OTHER = "or set model.backend=transformers"


def prepare() -> None:
    """Import unsloth, which changes transformers and trl as it is imported, so before either of them.

    Raises:
        ArmliteError: it is not installed, cannot serve here, or comes too late.
    """
    if find_spec("unsloth") is None:
        raise ArmliteError(
            "model.backend is unsloth, which is not installed: pip install -e '.[unsloth]' in an environment of its "
            f"own (it needs transformers<5.18 and trl<1.16), {OTHER}"
        )
    import torch

    if not torch.cuda.is_available():
        raise ArmliteError(
            f"model.backend is unsloth, which trains vision models on an NVIDIA GPU only; get one, {OTHER}"
        )
    if "unsloth" not in sys.modules and (late := [m for m in ("transformers", "trl", "peft") if m in sys.modules]):
        raise ArmliteError(f"unsloth has to be imported before {', '.join(late)}: put `import unsloth` first, {OTHER}")
    try:
        import unsloth  # noqa: F401  its import is what matters
    except ImportError as error:
        raise ArmliteError(f"unsloth cannot be imported ({error}); reinstall the extra, {OTHER}") from error


def load_unsloth(source: str, *, quantize: bool, max_length: int) -> tuple[Any, Any]:
    """A model for training and its processor (armlite's own).

    Args:
        source: hub id, model folder or adapter folder.
        quantize: NF4.
        max_length: tokens of the longest conversation.

    Raises:
        ArmliteError: as `prepare`, or what unsloth says of the weights.
    """
    prepare()
    from unsloth import FastVisionModel

    from armlite.models.processor import load_processor

    try:
        model, _ = FastVisionModel.from_pretrained(
            source, load_in_4bit=quantize, max_seq_length=max_length, use_gradient_checkpointing="unsloth"
        )
    except (OSError, ValueError, NotImplementedError) as error:
        why = first_line(error)
        raise ArmliteError(f"unsloth cannot load {source}: {why}; try again with model.backend=transformers") from error
    FastVisionModel.for_training(model)
    return model, load_processor(source)
