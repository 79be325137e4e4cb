"""The engine's layers give the modules' numbers with half the operators: adapters taken together, in any weights."""

import copy
from collections import Counter

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_qwen import tiny
from torch.utils._python_dispatch import TorchDispatchMode

from armlite.models.engine.decoder import base_model
from armlite.models.engine.layers import Layer, adapted

torch.set_num_threads(1)
VIEWS = {
    "view",
    "_unsafe_view",
    "t",
    "transpose",
    "split",
    "split_with_sizes",
    "expand",
    "unsqueeze",
    "detach",
    "alias",
}
"""Operators that launch no kernel."""


class Count(TorchDispatchMode):
    """Counts the operators that do some work."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name not in VIEWS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def with_adapter(dtype=torch.float32, quantize=False, **options):
    model, _ = tiny()
    model = model.to(dtype)
    if quantize:
        from armlite.bench.models import _replace_linears

        plain = copy.deepcopy(model.model.language_model)
        _replace_linears(model, dtype)
        from bitsandbytes.nn import Params4bit

        for module, old in zip(model.model.language_model.modules(), plain.modules(), strict=True):
            if hasattr(module, "quant_state"):
                made = Params4bit(old.weight.data, requires_grad=False, quant_type="nf4", module=module)
                module.weight = made.to("cpu")
                module.bias = old.bias
    config = LoraConfig(r=4, lora_alpha=8, target_modules=r".*language_model.*_proj", **options)
    torch.manual_seed(3)
    model = get_peft_model(model, config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model.eval()


def modules_numbers(layer, x):
    a, h = layer.self_attn, layer.input_layernorm(x)
    qkv = torch.cat((a.q_proj(h), a.k_proj(h), a.v_proj(h)), -1)
    return qkv, a.o_proj(x), layer.mlp(layer.post_attention_layernorm(x))


@pytest.mark.parametrize("quantize", [False, True], ids=["whole", "4-bit"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=["fp32", "bf16"])
def test_a_layer_gives_its_modules_numbers(dtype, tolerance, quantize):
    model = with_adapter(dtype, quantize)
    layer = base_model(model).model.language_model.layers[0]
    x = torch.randn(3, 2, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad():
        ours = Layer(layer)
        for made, wanted in zip((ours.qkv(x), ours.out(x), ours.mlp(x)), modules_numbers(layer, x), strict=True):
            assert made.shape == wanted.shape and made.dtype == wanted.dtype
            assert (made - wanted).abs().max() <= tolerance * wanted.abs().max()
            bare = modules_numbers(layer, x)  # and again: nothing was changed in place
            assert all(torch.equal(one, two) for one, two in zip(bare, modules_numbers(layer, x), strict=True))


def test_adapters_that_are_more_than_plain_are_called_as_they_are():
    for options in ({"use_dora": True}, {"lora_bias": True}):
        model = with_adapter(**options)
        a = base_model(model).model.language_model.layers[0].self_attn
        x = torch.randn(2, 1, 64)
        with torch.no_grad():
            assert torch.equal(adapted(x.dtype, a.q_proj)(x)[0], a.q_proj(x))
    model = with_adapter()
    a, x = base_model(model).model.language_model.layers[0].self_attn, torch.randn(2, 1, 64)
    with torch.no_grad(), model.disable_adapter():
        assert torch.equal(adapted(x.dtype, a.q_proj)(x)[0], a.q_proj.base_layer(x))


def test_a_layer_takes_at_most_55_percent_of_its_modules_operators():
    """In 4 bits with LoRA, one row, as a decode step has it; the 4-bit product counts as one."""
    model = with_adapter(torch.bfloat16, quantize=True)
    layer = base_model(model).model.language_model.layers[0]
    x = torch.randn(1, 1, 64).bfloat16()

    def counted(work):
        with torch.no_grad(), Count() as count:
            work()
        return count.counts.total()

    ours = Layer(layer)
    mine = counted(lambda: (ours.qkv(x), ours.out(x), ours.mlp(x)))
    theirs = counted(lambda: modules_numbers(layer, x))
    assert mine <= 0.55 * theirs, (mine, theirs)
