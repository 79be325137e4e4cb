"""An image's patches, made on the model's device: transformers' image processor without its passes over numbers on the
CPU, which took as long as the whole vision tower of a 7B on an H100 (31 ms an image of 768 tokens, 2026-11-27).

An 8-bit pixel has 256 values, so rescaling and normalising is a look-up in a table that the processor itself makes: the
same bits come out.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

DONE = ("do_convert_rgb", "do_resize", "do_rescale", "do_normalize")


def can_patch(image_processor: Any) -> bool:
    """Whether an image processor is the one whose steps are known here, all of them on."""
    return type(image_processor) is Qwen2VLImageProcessorPil and all(getattr(image_processor, d) for d in DONE)


def value_table(image_processor: Any, device: torch.device) -> torch.Tensor:
    """What the processor makes of each value of each color, (3 * 256,) in float32."""
    ip = image_processor
    every = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(1, 16, 16), (3, 16, 16))
    made = ip.normalize(ip.rescale(every, ip.rescale_factor), ip.image_mean, ip.image_std)
    return torch.from_numpy(np.asarray(made, np.float32).reshape(-1).copy()).to(device)


def patches(image: Image.Image, grid: tuple[int, int, int], image_processor: Any, table: torch.Tensor) -> torch.Tensor:
    """The processor's `pixel_values` of one image, (patches, numbers of a patch) in float32 on the table's device.

    Args:
        grid: patches (1, height, width) that the processor makes of it (`vision.picture_grid`).
        table: from `value_table`.
    """
    ip, (_, height, width) = image_processor, grid
    size, merge = ip.patch_size, ip.merge_size
    sized = image.convert("RGB").resize((width * size, height * size), ip.resample)
    pixels = torch.from_numpy(np.array(sized)).to(table.device).long()  # (H, W, 3); bytes until they are there
    numbers = table[pixels + torch.tensor([0, 256, 512], device=table.device)]
    split = numbers.view(height // merge, merge, size, width // merge, merge, size, 3)
    ordered = split.permute(0, 3, 1, 4, 6, 2, 5)  # squares of merged patches, patches in them, color, rows, columns
    twice = ordered.unsqueeze(5).expand(*ordered.shape[:5], ip.temporal_patch_size, size, size)  # an image is still
    return twice.reshape(height * width, -1)
