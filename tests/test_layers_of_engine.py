"""The engine's layers give the modules' numbers with a third of the operators: adapters taken together."""

import copy
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_qwen import tiny

from armlite.bench.operators import count_operators, wanted_of
from armlite.models.engine import layers
from armlite.models.engine.decoder import base_model
from armlite.models.engine.layers import Adapted, Layer, layers_of
from armlite.models.engine.selfcheck import SelfCheck
from armlite.models.engine.stacked import Stack, stack_4bit
from armlite.plan.shapes import shape_of

torch.set_num_threads(1)


def with_adapter(dtype=torch.float32, quantize=False, **options):
    model, _ = tiny()
    model = model.to(dtype)
    if quantize:
        from armlite.bench.models import replace_linears

        plain = copy.deepcopy(model.model.language_model)
        replace_linears(model, dtype)
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
            assert torch.equal(Adapted(x.dtype, a.q_proj)(x)[0], a.q_proj(x))
    model = with_adapter()
    a, x = base_model(model).model.language_model.layers[0].self_attn, torch.randn(2, 1, 64)
    with torch.no_grad(), model.disable_adapter():
        assert torch.equal(Adapted(x.dtype, a.q_proj)(x)[0], a.q_proj.base_layer(x))


@pytest.mark.parametrize("wanted", wanted_of(None), ids=lambda wanted: wanted.name.rpartition("/")[2])
def test_a_layer_takes_at_most_55_percent_of_its_modules_operators(wanted):
    """In 4 bits with LoRA r16, one row, as a decode step has it: attention, norms and rotary turns included."""
    assert wanted.quantize and wanted.r == 16 and wanted.rows == 1
    ways = count_operators(wanted)
    modules, ours = ways["modules"], ways["ours"]
    assert (modules.layer["4-bit product"], ours.layer["4-bit product"]) == (7, 5)  # queries, keys and values are one
    assert sum(ours.layer.values()) <= 0.55 * sum(modules.layer.values())
    assert sum(ours.step.values()) <= 0.55 * sum(modules.step.values())
    assert ours.step_bytes < modules.step_bytes


@pytest.mark.parametrize("rows", [1, 8, 32])
def test_4_bit_products_are_the_fused_ones_of_bitsandbytes_for_one_row_and_for_many(rows):
    """`gemm_4bit`, of 0.50 and later: one that unpacked the weights first would be no 4-bit product here."""
    (wanted,) = wanted_of(None)[:1]
    found = {name: way.layer["4-bit product"] for name, way in count_operators(replace(wanted, rows=rows)).items()}
    assert found == {"modules": 7, "ours": 5}


def test_4_bit_modules_that_share_an_input_become_views_of_one_tensor_and_stay_so():
    model = with_adapter(torch.bfloat16, quantize=True)
    a = base_model(model).model.language_model.layers[0].self_attn
    modules = [m.base_layer for m in (a.q_proj, a.k_proj, a.v_proj)]
    before = [m.weight.data.clone() for m in modules]
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.no_grad():
        wanted = torch.cat([m(x) for m in modules], -1)
        assert torch.allclose(stack_4bit(modules)(x), wanted, rtol=0.02, atol=0.02)
        places = [m.weight.data_ptr() for m in modules]
        assert torch.allclose(stack_4bit(modules)(x), wanted, rtol=0.02, atol=0.02)
        assert not stack_4bit(modules).has_kernel  # of 64 inputs
    assert places == [m.weight.data_ptr() for m in modules]  # side by side already: nothing moves again
    assert places[1] == places[0] + modules[0].weight.numel()
    assert all(torch.equal(old, m.weight.data) for old, m in zip(before, modules, strict=True))


def test_modules_that_are_not_packed_alike_are_not_stacked():
    model = with_adapter(torch.bfloat16, quantize=True)
    a = base_model(model).model.language_model.layers[0].self_attn
    assert stack_4bit([a.q_proj, a.k_proj]) is None  # PEFT's
    assert stack_4bit([torch.nn.Linear(64, 64), a.k_proj.base_layer]) is None
    a.k_proj.base_layer.register_forward_hook(lambda *_: None)
    assert stack_4bit([a.q_proj.base_layer, a.k_proj.base_layer]) is None


def test_a_step_copies_no_adapter():
    """Of the matrices side by side there is one copy a session: a step writes keys and values, and joins queries."""
    (wanted,) = wanted_of(None)[:1]
    assert count_operators(wanted)["ours"].layer["copy"] == 3


def test_bytes_are_those_of_the_weights_and_of_the_cache_and_little_more():
    (wanted,) = wanted_of(None)[:1]
    shape = shape_of(wanted.name)
    weights = shape.linears / 2 + shape.vocab_size * shape.hidden_size * 2  # 4 bits, and the head in 16
    cache = 2 * shape.num_hidden_layers * shape.kv_size * 2 * wanted.tokens
    assert 1 <= count_operators(wanted)["ours"].step_bytes / (weights + cache) <= 1.1


def stands_for_the_kernel(monkeypatch, calls, error=None):
    """What `nf4_kernel` computes, without a card; counts rows."""

    def multiply(x, weights, down=None, up=None):
        if error:
            raise error
        calls.append(len(x))
        code = weights.code[torch.stack((weights.packed.flatten() >> 4, weights.packed.flatten() & 15), -1).long()]
        dense = (code.view(-1, 64) * weights.scales[:, None]).view(weights.outputs, -1).to(x.dtype)
        made = x @ dense.T + (0 if weights.bias is None else weights.bias)
        return made if down is None else made + x @ down.T @ up

    @dataclass
    class Weights:
        packed: torch.Tensor
        scales: torch.Tensor
        code: torch.Tensor
        table: None
        outputs: int
        bias: torch.Tensor
        shares: int

    module = SimpleNamespace(multiply=multiply, Weights=Weights, table_of=lambda code: None, BN=64)
    monkeypatch.setitem(sys.modules, "armlite.models.engine.nf4_kernel", module)
    monkeypatch.setattr(Stack, "has_kernel", True)  # of such small modules it is made for none
    properties = SimpleNamespace(multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)


@pytest.mark.parametrize(("rows", "few"), [(1, 0), (2, 1), (64, 1), (65, 0)])
def test_few_rows_go_through_the_kernel_with_their_adapters_and_others_as_before(monkeypatch, rows, few):
    calls = []
    stands_for_the_kernel(monkeypatch, calls)
    layer = base_model(with_adapter(torch.bfloat16, quantize=True)).model.language_model.layers[0]
    a, m = layer.self_attn, layer.mlp
    x = torch.randn(rows, 1, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.no_grad():
        for modules, joined in (((a.q_proj, a.k_proj, a.v_proj), True), ((m.gate_proj, m.up_proj), False)):
            wanted = [module(x) for module in modules]
            made = Adapted(x.dtype, *modules, joined=joined, kernel=True)(x)
            assert len(made) == (1 if joined else 2)
            assert torch.allclose(torch.cat(made, -1), torch.cat(wanted, -1), rtol=0.05, atol=0.05)
    assert calls == [rows, rows] * few


@pytest.mark.parametrize("error", [None, RuntimeError("Failed to find C compiler.\nPlease specify via CC")])
def test_a_kernel_that_cannot_be_compiled_is_off_with_a_sentence(monkeypatch, error):
    calls, said = [], []
    stands_for_the_kernel(monkeypatch, calls, error)
    monkeypatch.setattr(layers, "kernel_here", lambda device: True)
    check, text = SelfCheck(said.append), base_model(with_adapter(torch.bfloat16, quantize=True)).model.language_model
    with torch.no_grad():
        made = layers_of(text, check)
    assert [type(layer) for layer in made] == [Layer] * len(text.layers)
    if error is None:
        assert not said
        assert check.differences["4-bit kernels"] < 0.1
        assert {2, 32, 64} == set(calls)
    else:
        assert said == ["4-bit kernels are off: they cannot be used here (Failed to find C compiler.)"]
        assert check.differences["packed adapters"] < 0.1
