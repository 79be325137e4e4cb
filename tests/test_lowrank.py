"""Adapters of modules that share an input, taken together in the update: PEFT's numbers and gradients, no copies."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tiny_qwen import tiny
from torch.utils._python_dispatch import TorchDispatchMode

from armlite.models.engine.decoder import base_model
from armlite.models.engine.stacked import side_by_side
from armlite.train.lowrank import lora_linear, lora_linears, put_side_by_side

torch.set_num_threads(1)
KINDS = {
    "float32": (torch.float32, False, False),
    "bfloat16": (torch.bfloat16, False, False),
    "bfloat16 under autocast": (torch.bfloat16, False, True),
    "4-bit": (torch.bfloat16, True, False),
    "4-bit under autocast": (torch.bfloat16, True, True),
}


def adapted(dtype, quantize):
    """A model with adapters that do something, its weights frozen; in 4 bits with random ones."""
    model, _ = tiny()
    if quantize:
        from armlite.bench.models import random_model

        model = random_model(model.config, True, dtype, torch.device("cpu"))
    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=r".*language_model.*_proj", init_lora_weights=False)
    return get_peft_model(model.to(dtype) if not quantize else model, config).train()


def joints(model):
    layer = base_model(model).model.language_model.layers[0]
    a, m = layer.self_attn, layer.mlp
    return [(a.q_proj, a.k_proj, a.v_proj), (m.gate_proj, m.up_proj), (a.o_proj,)]


def learnt(model, run, autocast, dtype):
    """Outputs, the input's gradient and the adapters', of every group of modules."""
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outs = [out for modules in joints(model) for out in run(modules, x)]
    sum((out * torch.linspace(-1, 1, out.shape[1], dtype=out.dtype)).sum() for out in outs).backward()
    found = [out.detach() for out in outs] + [x.grad]
    found += [p.grad.clone() for modules in joints(model) for m in modules for p in m.parameters() if p.requires_grad]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_and_gradients_are_those_of_the_modules_before_and_after_an_optimizer_step(kind):
    dtype, quantize, autocast = KINDS[kind]
    model = adapted(dtype, quantize)
    other = copy.deepcopy(model)
    put_side_by_side(base_model(model).model.language_model.layers)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    optimizers = [torch.optim.AdamW((p for p in m.parameters() if p.requires_grad), lr=0.05) for m in (model, other)]
    for _ in range(2):
        for m in (model, other):
            m.zero_grad(set_to_none=True)
        ours = learnt(model, lora_linears, autocast, dtype)
        theirs = learnt(other, lambda modules, x: [module(x) for module in modules], autocast, dtype)
        assert len(ours) == len(theirs) == 6 + 1 + 12
        for one, two in zip(ours, theirs, strict=True):
            assert one.shape == two.shape and one.dtype == two.dtype
            assert (one - two).float().norm() <= tolerance * two.float().norm()
        for one, two in zip(model.parameters(), other.parameters(), strict=True):
            if one.requires_grad:  # so that both take the same step
                one.grad = None if two.grad is None else two.grad.clone()
        for optimizer in optimizers:
            optimizer.step()


def test_matrices_side_by_side_are_a_view_that_follows_each_of_them():
    model = adapted(torch.float32, False)
    layers = base_model(model).model.language_model.layers
    before = {name: p.clone() for name, p in model.named_parameters()}
    put_side_by_side(layers)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    parts = [m.lora_A["default"].weight for m in joints(model)[0]]
    joined = side_by_side(parts)
    assert joined.data_ptr() == parts[0].data_ptr()
    with torch.no_grad():
        parts[1].add_(1)
        parts[2].copy_(torch.zeros_like(parts[2]))
    assert torch.equal(joined, torch.cat([p.detach() for p in parts]))
    parts[1].data = parts[1].data.clone()  # moved elsewhere: from now on a copy, with the same numbers
    again = side_by_side(parts)
    assert again.data_ptr() != parts[0].data_ptr()
    assert torch.equal(again, torch.cat([p.detach() for p in parts]))


class Copies(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_a_forward_has_one_product_for_all_a_matrices_and_one_for_each_b():
    model = adapted(torch.bfloat16, True)
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data.bfloat16()
    put_side_by_side(base_model(model).model.language_model.layers)
    with torch.no_grad(), Copies() as count:
        lora_linears(joints(model)[0], torch.randn(5, 64).bfloat16())
    assert count.seen.count("gemm_4bit") == 3
    assert count.seen.count("mm") == 1 and count.seen.count("addmm") == 3
    assert not {"cat", "clone", "copy_"} & set(count.seen)


def test_adapters_that_lie_side_by_side_are_saved_as_ever(tmp_path):
    model = adapted(torch.float32, False)
    model.save_pretrained(tmp_path / "one")
    put_side_by_side(base_model(model).model.language_model.layers)
    model.save_pretrained(tmp_path / "two")
    files = [tmp_path / name / "adapter_model.safetensors" for name in ("one", "two")]
    assert files[0].stat().st_size == files[1].stat().st_size
    one, two = map(load_file, files)
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_under_autocast_inputs_are_not_copied_to_the_adapters_float32():
    """They would take twice their memory there, and their gradient once more."""
    torch.manual_seed(0)
    module = get_peft_model(
        torch.nn.Sequential(torch.nn.Linear(64, 48, bias=False)), LoraConfig(r=4, target_modules=["0"])
    ).bfloat16()
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    x = torch.randn(32, 64, dtype=torch.bfloat16, requires_grad=True)
    with torch.profiler.profile(record_shapes=True) as profile, torch.autocast("cpu", torch.bfloat16):
        lora_linear(module.base_model.model[0], x).sum().backward()
    copies = [e for e in profile.events() if e.name == "aten::_to_copy" and list(e.input_shapes[0]) == [32, 64]]
    assert x.grad is not None and copies == []
