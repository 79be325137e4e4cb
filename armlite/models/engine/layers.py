"""A text layer in the three parts that the engine's forward needs, around what attention mixes.

`Layer` goes through the model's own linear modules, whatever their weights are stored in, and takes their LoRA adapters
together: on a GPU a decode step of a 4-bit model is bound by the number of kernels, and PEFT's forward of one adapter
launches seven. `PackedLayer` is for small float32 models on the CPU, where calling modules costs more than their
arithmetic: it holds copies of the weights, adapters and dequantisation worked in, with those that share an input side
by side. Both give the modules' numbers up to rounding, and are made for one session, within which no weight changes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import linear, rms_norm

from armlite.errors import first_line
from armlite.models.engine.oom import out_of_memory
from armlite.models.engine.selfcheck import SelfCheck
from armlite.models.engine.stacked import MOST_RANK, MOST_ROWS, kernel_here, stack_4bit

SMALL = 1 << 26
"""Weights of the text layers up to which they are copied (0.25 GiB)."""
WIDE = 256
"""Inputs of a linear layer from which oneDNN's blocked weights beat plain ones: twice as fast for the few rows of a
decode step, and no slower for many (measured on an AVX-512 core with 1 to 551 rows of 512 and 1,664 numbers).
"""

PACKED, ADAPTERS, KERNEL = "packed layers", "packed adapters", "4-bit kernels"
"""Names of these ways in `selfcheck`."""


class Layer:
    """One layer, to be made in eval mode.

    Args:
        layer: a decoder layer of transformers, possibly with LoRA or 4-bit modules in it.
        kernel: multiply few rows with weights in 4 bits by our own kernel.
    """

    def __init__(self, layer: Any, kernel: bool = False):
        self._kernel = kernel
        self._norms = [(n.weight, n.variance_epsilon) for n in (layer.input_layernorm, layer.post_attention_layernorm)]
        self._act = layer.mlp.act_fn
        self._take(layer.self_attn, layer.mlp)

    def _take(self, a: Any, m: Any) -> None:
        """Take the linear modules of the attention and of the MLP."""
        dtype = self._norms[0][0].dtype
        self._qkv_parts = Adapted(dtype, a.q_proj, a.k_proj, a.v_proj, joined=True, kernel=self._kernel)
        self._out_parts = Adapted(dtype, a.o_proj, kernel=self._kernel)
        self._up_parts = Adapted(dtype, m.gate_proj, m.up_proj, kernel=self._kernel)
        self._down_parts = Adapted(dtype, m.down_proj, kernel=self._kernel)

    def _normed(self, i: int, x: torch.Tensor) -> torch.Tensor:
        weight, epsilon = self._norms[i]
        return rms_norm(x, weight.shape, weight, epsilon)

    def qkv(self, x: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values (B, T, (heads + 2 kv_heads) * head_dim) of hidden states (B, T, hidden)."""
        return self._qkv_parts(self._normed(0, x))[0]

    def out(self, mixed: torch.Tensor) -> torch.Tensor:
        """What attention adds to the hidden states, from the mixed values (B, T, heads * head_dim)."""
        return self._out_parts(mixed)[0]

    def mlp(self, x: torch.Tensor) -> torch.Tensor:
        """What the MLP adds to the hidden states (B, T, hidden)."""
        gate, up = self._up_parts(self._normed(1, x))
        return self._down_parts(self._act(gate) * up)[0]


class PackedLayer(Layer):
    """The same from copied weights."""

    def _take(self, a: Any, m: Any) -> None:
        size = a.q_proj.in_features
        self._qkv = _stack(size, a.q_proj, a.k_proj, a.v_proj)
        self._out = _stack(a.o_proj.in_features, a.o_proj)
        self._up = _stack(size, m.gate_proj, m.up_proj)
        self._down = _stack(m.down_proj.in_features, m.down_proj)

    def qkv(self, x: torch.Tensor) -> torch.Tensor:
        return self._qkv(self._normed(0, x))

    def out(self, mixed: torch.Tensor) -> torch.Tensor:
        return self._out(mixed)

    def mlp(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self._up(self._normed(1, x)).chunk(2, -1)
        return self._down(self._act(gate) * up)


class PlainLayer(Layer):
    """The same through the modules as they are, adapters and all: what the others are compared with."""

    def _take(self, a: Any, m: Any) -> None:
        self._a, self._m = a, m

    def qkv(self, x: torch.Tensor) -> torch.Tensor:
        h = self._normed(0, x)
        return torch.cat((self._a.q_proj(h), self._a.k_proj(h), self._a.v_proj(h)), -1)

    def out(self, mixed: torch.Tensor) -> torch.Tensor:
        return self._a.o_proj(mixed)

    def mlp(self, x: torch.Tensor) -> torch.Tensor:
        return self._m(self._normed(1, x))


def layers_of(text: Any, check: SelfCheck | None = None) -> list[Layer]:
    """The layers of a text model, packed where that is faster.

    Args:
        check: compares them with the modules, the first times; where they differ the modules are called as they are.
    """
    weight, config = text.norm.weight, text.config
    count = config.num_hidden_layers * config.hidden_size * (4 * config.hidden_size + 3 * config.intermediate_size)
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and count <= SMALL:
        ways: list[tuple[str, Callable[[Any], Layer]]] = [(PACKED, PackedLayer)]
    else:
        ways = [(ADAPTERS, Layer)]
        if kernel_here(weight.device) and any(hasattr(p, "quant_state") for p in text.layers[0].parameters()):
            ways.insert(0, (KERNEL, lambda layer: Layer(layer, kernel=True)))
    for way, kind in ways:
        if check and not check.on(way):
            continue
        try:
            layers = [kind(layer) for layer in text.layers]
            if not check or not check.due(way) or _same(layers, text.layers, check, way):
                return layers
        except Exception as error:  # Triton's compiler has many, from a lacking C compiler to a card it does not know
            if check is None or way != KERNEL or out_of_memory(error):
                raise
            check.turn_off(way, f"cannot be used here ({first_line(error)})")
    return [PlainLayer(layer) for layer in text.layers]


def _same(layers: Sequence[Layer], modules: Sequence[Any], check: SelfCheck, way: str) -> bool:
    """Whether all layers give their modules' numbers."""
    norm, mixes = modules[0].input_layernorm.weight, modules[0].self_attn.o_proj.in_features
    fast, plain = [], []
    for rows in (2, 32, 64) if way == KERNEL else (2,):
        numbers = torch.linspace(-9, 9, rows * max(len(norm), mixes), device=norm.device).sin().to(norm.dtype)
        numbers = numbers.view(1, rows, -1)
        x, mixed = numbers[..., : len(norm)], numbers[..., :mixes]
        some = len(layers) if rows == 2 else 1  # another kernel is tried on one layer
        for layer, module in zip(layers[:some], modules[:some], strict=True):
            each = ((one.qkv(x), one.out(mixed), one.mlp(x)) for one in (layer, PlainLayer(module)))
            for one, two in zip(*each, strict=True):
                scale = two.float().std().clamp(min=1e-9)  # so that each counts alike
                fast.append((one.float() / scale).flatten())
                plain.append((two.float() / scale).flatten())
    return check.agree(way, torch.cat(fast), torch.cat(plain), norm.dtype)


class Adapted:
    """Linear modules that share an input, with their LoRA adapters taken together: one product with all A matrices, and
    what the B matrices make of it is added to what the modules give without their adapters. Without gradients.

    Modules that have no adapter, or more than plain LoRA has (DoRA, a bias of its own, several at once), are called as
    they are. The matrices side by side are copies, made once: for as long as no weight changes.

    Args:
        dtype: of the inputs. PEFT keeps adapters of a bfloat16 model in float32; what they add is rounded in the end.
        joined: give the outputs side by side, as one; all B matrices are one block-diagonal product then, and modules
            in 4 bits are one product.
        kernel: multiply few rows with weights in 4 bits by our own kernel, all modules at once.
    """

    def __init__(self, dtype: torch.dtype, *modules: Any, joined: bool = False, kernel: bool = False):
        self._bases, self._joined = modules, joined and len(modules) > 1
        names = [plain_adapter(module) for module in modules]
        self._down: torch.Tensor | None = None
        self._up: torch.Tensor | None = None
        if None not in names:
            self._bases = tuple(module.base_layer for module in modules)
        self._whole = stack_4bit(self._bases) if self._joined or kernel else None
        ranks = 0 if None in names else sum(len(m.lora_A[n].weight) for m, n in zip(modules, names, strict=True))
        fits = self._whole is not None and self._whole.has_kernel and self._whole.dtype == dtype and ranks <= MOST_RANK
        self._kernel = kernel and fits
        if not (self._joined or self._kernel):
            self._whole = None  # nobody would ask it, and its scales take memory
        self._sizes = [base.out_features for base in self._bases] if self._kernel else []
        if None in names:
            return
        named = list(zip(modules, names, strict=True))
        self._down = torch.cat([m.lora_A[n].weight for m, n in named]).to(dtype)  # (sum of ranks, in)
        self._ups = [(m.lora_B[n].weight * m.scaling[n]).T.to(dtype) for m, n in named]  # (rank, out) each
        if self._joined or self._kernel:
            self._up = torch.block_diag(*self._ups)  # (sum of ranks, sum of out)
        if self._joined:
            self._ups = [self._up]
        self._ranks = [len(up) for up in self._ups]

    def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Inputs (B, T, in) -> the outputs (B, T, out) of each of the modules, or one (B, T, sum of out)."""
        if self._kernel and 1 < x.shape[:-1].numel() <= MOST_ROWS:  # bitsandbytes has a kernel for one row
            made = self._whole.few(x, self._down, self._up)  # type: ignore[union-attr]
            return [made] if self._joined else list(made.split(self._sizes, -1))
        if self._joined:
            made = [self._whole(x) if self._whole else torch.cat([base(x) for base in self._bases], -1)]
        else:
            made = [base(x) for base in self._bases]
        if self._down is not None:
            lows = linear(x, self._down).flatten(0, -2).split(self._ranks, -1)  # (B * T, rank) each
            for out, low, up in zip(made, lows, self._ups, strict=True):
                out.flatten(0, -2).addmm_(low, up)  # in place: nobody else holds a base's output
        return made


def plain_adapter(module: Any) -> str | None:
    """The name of a module's one plain LoRA adapter, in force and not merged; None: there is none."""
    if not hasattr(module, "lora_A") or module.disable_adapters or module.merged or len(module.active_adapters) != 1:
        return None
    (name,) = module.active_adapters
    if name not in module.lora_A or getattr(module, "lora_variant", {}).get(name):
        return None
    bias = module.lora_A[name].bias is not None or module.lora_B[name].bias is not None
    parts = (module, module.base_layer, module.lora_A[name], module.lora_B[name])
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in parts)
    return None if bias or hooked or getattr(module, "fan_in_fan_out", False) else name


def _stack(size: int, *modules: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Linear modules side by side, whatever is in them: made of their answers to unit vectors and zero."""
    units = torch.cat((torch.zeros(1, size), torch.eye(size)))
    answers = torch.cat([module(units) for module in modules], -1)
    return _affine((answers[1:] - answers[0]).T.contiguous(), answers[0].clone())


def _affine(weight: torch.Tensor, bias: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function x -> x weight^T + bias, from a copy of the weights in the order that is read fastest."""
    # The operators that torch's compiler uses for frozen weights; there are no others for blocked ones.
    block, run = (getattr(torch.ops.mkldnn, n, None) for n in ("_reorder_linear_weight", "_linear_pointwise"))
    if weight.shape[1] < WIDE or not torch.backends.mkldnn.is_available() or block is None or run is None:
        return lambda x: linear(x, weight, bias)
    blocked = block(weight)
    return lambda x: run(x, blocked, bias, "none", [], "")
