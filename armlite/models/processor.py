"""A model's processor, without torchvision: tokenizer, image processor and our chat template, no video.

Transformers' own classes demand a video processor, which needs torchvision. Called by `loading`, `pocket` and `train`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from armlite.errors import ArmliteError, first_line
from armlite.models.bases import BASES, Base, of_processor
from armlite.protocol.render import template_source


class _WithoutVideo(transformers.ProcessorMixin):
    """Before a processor class: the class without its video processor.

    The sub-processors are read off the signature of `__init__`, so leaving one out here is all it takes.
    """

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None):
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Save; `preprocessor_config.json` is for the stock class, whose video processor reads it."""
        self.image_processor.save_pretrained(save_directory)
        return super().save_pretrained(save_directory, push_to_hub, **kwargs)


class Qwen2_5_VLProcessor(_WithoutVideo, transformers.Qwen2_5_VLProcessor):
    """Bears its parent's name because that is what `save_pretrained` writes down for others to load."""


class Qwen3VLProcessor(_WithoutVideo, transformers.Qwen3VLProcessor):
    """Likewise."""


Processor = Qwen2_5_VLProcessor | Qwen3VLProcessor


def build_processor(tokenizer: PreTrainedTokenizerBase, base: str = "qwen2_5_vl", **image_settings: Any) -> Processor:
    """A processor around a tokenizer made in place.

    Args:
        base: `model_type` of the architecture that it is for.
        tokenizer: must know `<|im_start|>`, `<|im_end|>`, `<|image_pad|>`, `<|vision_start|>` and `<|vision_end|>`.
        image_settings: of the image processor: `min_pixels`, `max_pixels` (areas), `patch_size`, `merge_size` ...
    """
    return _assemble(tokenizer, BASES[base], image_settings)


def load_processor(source: str | Path, **image_settings: Any) -> Processor:
    """Load the processor saved in a folder or on the hub, with our chat template in place of its own.

    Args:
        source: folder or hub id.
        image_settings: what to override in its image processor, for example `max_pixels`.

    Raises:
        ArmliteError: there is no tokenizer or image processor at `source`.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source))
        saved, _ = Qwen2VLImageProcessorPil.get_image_processor_dict(str(source))
        whole, _ = transformers.ProcessorMixin.get_processor_dict(str(source))
    except (OSError, ValueError) as error:
        said = f"no tokenizer with image settings could be loaded from {source}: {first_line(error)}"
        raise ArmliteError(said) from error
    base = of_processor(whole.get("processor_class") or saved.get("processor_class"))
    return _assemble(tokenizer, base, saved, image_settings)


def _image_processor(*settings: Mapping[str, Any]) -> Qwen2VLImageProcessorPil:
    """Later settings win; `min_pixels` and `max_pixels` go into a new `size`: 5.17 writes them into its class."""
    merged: dict[str, Any] = {}
    for some in settings:
        size = {**Qwen2VLImageProcessorPil.size, **(merged.get("size") or {}), **(some.get("size") or {})}
        for name, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
            if some.get(name) is not None:
                size[edge] = some[name]
        rest = {k: v for k, v in some.items() if k not in ("min_pixels", "max_pixels", "size")}
        merged = {**merged, **rest, "size": {edge: size[edge] for edge in ("shortest_edge", "longest_edge")}}
    return Qwen2VLImageProcessorPil(**merged)


def _assemble(tokenizer: PreTrainedTokenizerBase, base: Base, *settings: Mapping[str, Any]) -> Processor:
    """Around a tokenizer, with the architecture's image settings where no later ones say otherwise."""
    tokenizer.chat_template = template_source()
    kind = {c.__name__: c for c in (Qwen2_5_VLProcessor, Qwen3VLProcessor)}[base.processor_class]
    return kind(_image_processor(base.image, *settings), tokenizer, chat_template=template_source())
