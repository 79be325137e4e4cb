"""The Qwen2.5-VL processor, without torchvision: tokenizer, image processor and our chat template, no video.

Transformers' own class demands a video processor, which needs torchvision. Called by `loading`, `pocket` and `train`.
"""

from pathlib import Path
from typing import Any

import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from armlite.errors import ArmliteError, first_line
from armlite.protocol.render import template_source


class Qwen2_5_VLProcessor(transformers.Qwen2_5_VLProcessor):
    """The parent without its video processor.

    The sub-processors are read off the signature of `__init__`, so leaving one out here is all it takes. It bears its
    parent's name because that is what `save_pretrained` writes down for others to load.
    """

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None):
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Save; `preprocessor_config.json` is for the stock class, whose video processor reads it."""
        self.image_processor.save_pretrained(save_directory)
        return super().save_pretrained(save_directory, push_to_hub, **kwargs)


def build_processor(tokenizer: PreTrainedTokenizerBase, **image_settings: Any) -> Qwen2_5_VLProcessor:
    """A processor around a tokenizer made in place.

    Args:
        tokenizer: must know `<|im_start|>`, `<|im_end|>`, `<|image_pad|>`, `<|vision_start|>` and `<|vision_end|>`.
        image_settings: of the image processor: `min_pixels`, `max_pixels` (areas), `patch_size`, `merge_size` ...
    """
    return _assemble(tokenizer, _image_processor(image_settings))


def load_processor(source: str | Path, **image_settings: Any) -> Qwen2_5_VLProcessor:
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
    except (OSError, ValueError) as error:
        said = f"no tokenizer with image settings could be loaded from {source}: {first_line(error)}"
        raise ArmliteError(said) from error
    return _assemble(tokenizer, _image_processor(saved, image_settings))


def _image_processor(*settings: dict[str, Any]) -> Qwen2VLImageProcessorPil:
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


def _assemble(tokenizer: PreTrainedTokenizerBase, image_processor: Qwen2VLImageProcessorPil) -> Qwen2_5_VLProcessor:
    tokenizer.chat_template = template_source()
    return Qwen2_5_VLProcessor(image_processor, tokenizer, chat_template=template_source())
