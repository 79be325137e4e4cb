"""Fused blocks of a vision tower: transformers' numbers, one attention call a block, and off where they are not."""

from contextlib import contextmanager

import pytest
import torch
import transformers
from tiny_qwen import noise, tiny
from torch.nn import functional
from transformers.vision_utils import get_vision_window_index

from armlite.bench.operators import OperatorCount
from armlite.models.bases import BASES
from armlite.models.engine import tower as fusing
from armlite.models.engine import vision
from armlite.models.engine.selfcheck import TIMES, SelfCheck
from armlite.models.engine.tower import WAY, can_fuse, fused_blocks
from armlite.models.engine.vision import VisionCache

torch.set_num_threads(1)
GRIDS = [(2, 2), (8, 8), (16, 8), (10, 14), (18, 22), (4, 30)]
"""Patches: one short window, one whole, whole ones alone, and short ones at the right, at the bottom, at both."""
PICTURES = [noise(140, 196, seed) for seed in range(4)]


def tower_of(heads=2, hidden=40, depth=4, whole=(1, 3), **options):
    """A tower of Qwen2.5-VL with windows of 4 x 4 visual tokens; norms of ones would hide one that is left out."""
    config = transformers.Qwen2_5_VLForConditionalGeneration.config_class(
        vision_config={
            "depth": depth,
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_heads": heads,
            "out_hidden_size": 24,
            "fullatt_block_indexes": list(whole),
            "initializer_range": 0.15,
            **options,
        }
    ).vision_config
    config._attn_implementation = "sdpa"
    torch.manual_seed(0)
    tower = transformers.models.qwen2_5_vl.modeling_qwen2_5_vl.Qwen2_5_VisionTransformerPretrainedModel(config).eval()
    for name, weight in tower.named_parameters():
        if "norm" in name or name.endswith("bias"):
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return tower


def pixels_of(grid):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(grid[0] * grid[1], 3 * 2 * 14 * 14, generator=generator), torch.tensor([[1, *grid]])


@torch.no_grad()
def both(tower, pixels, grid):
    """What fused blocks make of an image, and what the modules make of it."""
    with fused_blocks(tower):
        fused = tower(pixels, grid).pooler_output
    return fused, tower(pixels, grid).pooler_output


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_fused_blocks_give_the_modules_numbers_whatever_the_windows(grid):
    tower = tower_of()
    assert can_fuse(tower)
    fused, right = both(tower, *pixels_of(grid))
    assert fused.shape == right.shape == (grid[0] * grid[1] // 4, 24)
    assert (fused - right).abs().max() <= 1e-5 * right.abs().max()


@pytest.mark.parametrize("grid", [(8, 8), (18, 22)], ids=str)
def test_in_bfloat16_they_are_as_far_from_float32_as_the_modules_are(grid):
    tower, (pixels, grid) = tower_of(), pixels_of(grid)
    _, exact = both(tower, pixels, grid)
    fused, right = both(tower.bfloat16(), pixels, grid)
    assert fused.dtype == right.dtype == torch.bfloat16
    assert 0 < (fused - exact).abs().mean() <= 1.2 * (right - exact).abs().mean()


def test_several_images_at_once_mix_no_windows():
    tower = tower_of()
    pixels = torch.cat([pixels_of(grid)[0] for grid in GRIDS])
    fused, right = both(tower, pixels, torch.tensor([[1, *grid] for grid in GRIDS]))
    assert (fused - right).abs().max() <= 1e-5 * right.abs().max()


@contextmanager
def counted():
    """Operators that do some work, while attention is a call each."""
    with torch.no_grad(), OperatorCount() as count:
        yield count.counts


@pytest.mark.parametrize(("grid", "most"), [((16, 16), 16), ((18, 22), 18)], ids=["even", "uneven"])
def test_a_block_takes_a_bounded_number_of_operators_and_one_attention_call(grid, most):
    towers = tower_of().bfloat16(), tower_of(depth=8).bfloat16()  # the other has four blocks more, all of windows
    fused, plain = [], []
    for tower in towers:
        with fused_blocks(tower), counted() as counts:
            tower(*pixels_of(grid))
        assert counts["attention"] == len(tower.blocks)
        fused.append(counts.total())
        with counted() as counts:
            tower(*pixels_of(grid))
        assert counts["attention"] > len(tower.blocks)
        plain.append(counts.total())
    assert (fused[1] - fused[0]) / 4 <= most < 0.5 * (plain[1] - plain[0]) / 4


def test_what_the_docs_count_of_an_image_of_756_tokens_in_a_7b(shared):
    config = transformers.AutoConfig.from_pretrained(shared / "qwen2.5-vl").vision_config
    with torch.device("meta"):
        tower = tower_of(config.num_heads, config.hidden_size, 8, (7,), intermediate_size=3420).bfloat16()
    _, windows = get_vision_window_index(torch.tensor([[1, 54, 56]]), 2, config.window_size, config.patch_size)
    rows = torch.empty(54 * 56, config.hidden_size, dtype=torch.bfloat16, device="meta")
    angles = (torch.empty(len(rows), config.hidden_size // config.num_heads, device="meta"),) * 2

    def operators(block, ends):
        with counted() as counts:
            tower.blocks[block](rows, cu_seqlens=ends, position_embeddings=angles)
        return counts.total()

    def of_all():
        whole = torch.tensor([0, len(rows)])
        operators(0, windows), operators(7, whole)  # lays the windows out
        return 28 * operators(0, windows) + 4 * operators(7, whole)

    assert (config.depth, config.fullatt_block_indexes, len(windows)) == (32, [7, 15, 23, 31], 50)
    modules = of_all()
    with fused_blocks(tower):
        assert (modules, of_all()) == (4064, 600)


def test_lengths_of_windows_come_to_the_host_once_an_image(monkeypatch):
    tower, (pixels, grid), asked, layout = tower_of(), pixels_of((18, 22)), [], fusing._layout
    monkeypatch.setattr(fusing, "_layout", lambda ends, *rest: asked.append(len(ends)) or layout(ends, *rest))
    both(tower, pixels, grid)
    assert sorted(asked) == [2, 10], "one of two ends needs no look at the card"


def test_modules_are_called_as_ever_so_hooks_run_and_their_forward_comes_back():
    tower, (pixels, grid), seen = tower_of(), pixels_of((10, 14)), []
    block = tower.blocks[0]
    for module in (block, block.attn, block.norm1, block.attn.qkv, block.mlp):
        module.register_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    with torch.no_grad(), fused_blocks(tower):
        tower(pixels, grid)
    assert len(seen) == 5
    with pytest.raises(IndexError), fused_blocks(tower):
        tower(pixels[:-4], grid)
    assert not [name for name, module in tower.named_modules() if "forward" in vars(module)]


def test_what_is_not_known_or_has_a_forward_of_its_own_is_left_alone():
    tower = tower_of()
    tower.blocks[1].norm2.forward = tower.blocks[1].norm2.forward
    assert not can_fuse(tower)
    del tower.blocks[1].norm2.forward
    assert can_fuse(tower) and can_fuse(tower.train())
    tower.config._attn_implementation = "eager"
    assert not can_fuse(tower)
    other = tower_of()
    other.blocks[0].attn.__class__ = type("Other", (type(other.blocks[0].attn),), {})
    assert not can_fuse(other)


@pytest.fixture(params=BASES)
def qwen(request):
    return tiny(base=request.param)


def counting(monkeypatch):
    """A list that grows by one with each image that goes through fused blocks."""
    fused, real = [], vision.fused_blocks
    monkeypatch.setattr(vision, "fused_blocks", lambda tower: fused.append(tower) or real(tower))
    return fused


def test_the_first_images_are_encoded_both_ways_and_each_counts_once(qwen, monkeypatch):
    fused, forwards, cache = counting(monkeypatch), [], VisionCache(*qwen)
    cache._inner.visual.patch_embed.register_forward_hook(lambda *_: forwards.append(None))
    features = [cache.features(cache.look(picture)) for picture in PICTURES]
    assert (cache.encoded, len(fused), len(forwards)) == (4, 4, 4 + TIMES)
    assert not cache.check.off and 0 < cache.check.differences[WAY] < 1e-5
    cache.clear()
    qwen[0].train()  # as a trainer has it when a picture was dropped
    again = [cache.features(cache.look(picture)) for picture in reversed(PICTURES)]
    assert all(torch.equal(one, two) for one, two in zip(features, reversed(again), strict=True))
    assert len(forwards) == 8 + TIMES


@pytest.mark.parametrize("from_image", range(TIMES + 1))
def test_blocks_that_give_other_numbers_are_off_and_what_they_made_is_forgotten(qwen, from_image, monkeypatch):
    said, made = [], []
    attend = fusing.scaled_dot_product_attention

    def wrong(*args, **kwargs):
        return attend(*args, **kwargs).flip(1 if len(made) >= from_image else ())  # one head's for another

    monkeypatch.setattr(fusing, "scaled_dot_product_attention", wrong)
    cache = VisionCache(*qwen, check=SelfCheck(said.append))
    for picture in PICTURES:
        cache.features(cache.look(picture))
        made.append(picture)
    if from_image == TIMES:
        assert not said, "trusted by then"
        return
    assert len(said) == 1 and said[0].startswith(f"{WAY} are off: they differ from the plain way by ")
    plain = VisionCache(*qwen, frozen=False)
    for picture in PICTURES:
        assert torch.equal(cache.features(cache.look(picture)), plain.features(plain.look(picture)))
    assert plain.encoded == 4 and cache.encoded == 4 + from_image


def test_a_tower_that_trains_goes_through_its_own_forward(qwen, monkeypatch):
    fused, cache = counting(monkeypatch), VisionCache(*qwen, frozen=False)
    cache.features(cache.look(PICTURES[0]))
    assert not fused


def test_attention_of_a_block_is_one_call_of_torchs(qwen, monkeypatch):
    calls, real = [], functional.scaled_dot_product_attention
    monkeypatch.setattr(fusing, "scaled_dot_product_attention", lambda *a, **k: calls.append(a) or real(*a, **k))
    cache = VisionCache(*qwen)
    for picture in PICTURES:
        cache.features(cache.look(picture))
    assert len(calls) == len(PICTURES) * 2
