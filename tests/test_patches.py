"""Patches made on the model's device are transformers' own, bit for bit."""

import numpy as np
import pytest
import torch
from PIL import Image

from armlite.models.bases import BASES
from armlite.models.engine.patches import can_patch, patches, value_table
from armlite.models.engine.vision import picture_grid
from armlite.models.processor import _image_processor


def noise(size, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
@pytest.mark.parametrize("size", [(300, 417), (33, 700), (28, 28), (90, 64)])
def test_patches_are_the_processors(base, mode, size):
    processor, image = _image_processor(BASES[base].image), noise(size, mode)
    assert can_patch(processor)
    made = processor(images=[image], return_tensors="pt")
    grid = picture_grid(image, processor)
    ours = patches(image, grid, processor, value_table(processor, torch.device("cpu")))
    assert [list(grid)] == made["image_grid_thw"].tolist()
    assert torch.equal(ours, made["pixel_values"])


def test_another_processor_and_one_that_leaves_a_step_out_are_called():
    base = next(iter(BASES.values()))
    assert not can_patch(_image_processor({**base.image, "do_normalize": False}))
    assert not can_patch(object())
