"""Linear modules with LoRA adapters that share an input, in the update: few large products in place of many small ones.

In float32, with frozen plain weights, an adapter is worked into the weight for the length of a call. In 16 and 4 bits
the modules give what they give without adapters, and these are added: one product with all A matrices, one with each B.
Only where nothing else hangs on a module (no dropout, one plain adapter): anything else is called as it is. Numbers and
gradients, of the separate PEFT parameters, are those of the modules up to rounding.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import nn
from torch.nn import functional

from armlite.models.engine.layers import plain_adapter
from armlite.models.engine.stacked import put_together, side_by_side


def lora_linears(modules: Sequence[Any], x: torch.Tensor) -> Sequence[torch.Tensor]:
    """`[module(x) for module in modules]` for x (N, in)."""
    names = [_adapter(module) for module in modules]
    if None in names:
        return [module(x) for module in modules]
    named = list(zip(modules, names, strict=True))
    downs, ups = ([getattr(m, part)[n].weight for m, n in named] for part in ("lora_A", "lora_B"))
    scales = tuple(module.scaling[name] for module, name in named)
    bases = [module.base_layer for module in modules]
    if not torch.is_autocast_enabled(x.device.type) and all(map(_can_be_merged, modules)):
        weights, biases = [base.weight for base in bases], [base.bias for base in bases]
        return _Merged.apply(x, scales, *weights, *biases, *downs, *ups)  # type: ignore[no-any-return]
    down = _Together.apply(side_by_side(downs), *downs)  # (sum of ranks, in)
    # Autocast brings both to its type: a float32 copy before would take twice the input, and its gradient once more.
    given = x if torch.is_autocast_enabled(x.device.type) else x.to(down.dtype)
    lows = functional.linear(given, down).split([len(a) for a in downs], -1)  # (N, rank) each
    return [_add(base(x), low, up, s) for base, low, up, s in zip(bases, lows, ups, scales, strict=True)]


def lora_linear(module: Any, x: torch.Tensor) -> torch.Tensor:
    """`module(x)` for x (N, in)."""
    return lora_linears((module,), x)[0]


def put_side_by_side(layers: Iterable[Any]) -> None:
    """Let the A matrices of modules that share an input lie behind one another in memory.

    Each stays a parameter of its own, with the same numbers, and whatever changes it changes the matrix of all. Where
    somebody moves one elsewhere later, `side_by_side` copies instead.

    Args:
        layers: decoder layers, possibly with adapters.
    """
    for layer in layers:
        a, m = layer.self_attn, layer.mlp
        for modules in ((a.q_proj, a.k_proj, a.v_proj), (m.gate_proj, m.up_proj)):
            names = [plain_adapter(module) for module in modules]
            if None in names:
                continue
            parts = [module.lora_A[name].weight for module, name in zip(modules, names, strict=True)]
            if len({(type(p), p.dtype, p.device, p.shape[1]) for p in parts}) == 1:
                put_together(parts)


def _add(out: torch.Tensor, low: torch.Tensor, up: torch.Tensor, scale: float) -> torch.Tensor:
    """Module outputs (N, out) plus scale times low (N, r) times up (out, r) transposed, as PEFT rounds it."""
    if torch.is_autocast_enabled(out.device.type) or out.dtype == low.dtype == up.dtype:
        return torch.addmm(out, low.to(out.dtype), up.T, alpha=scale)
    return out + (functional.linear(low, up) * scale).to(out.dtype)


def _adapter(module: Any) -> str | None:
    """The name of a module's adapter, where its base may be called alone and the rest be added."""
    name = plain_adapter(module)
    if name is None:
        return None
    dropout = module.lora_dropout[name]
    return name if isinstance(dropout, nn.Identity) or not dropout.training else None


def _can_be_merged(module: Any) -> bool:
    """Whether a module with one plain adapter is a frozen float32 linear."""
    base = module.base_layer
    if type(module) is not Linear or type(base) is not nn.Linear:
        return False
    frozen = not base.weight.requires_grad and (base.bias is None or not base.bias.requires_grad)
    (name,) = module.active_adapters
    weights = (base.weight, module.lora_A[name].weight, module.lora_B[name].weight)
    return frozen and all(w.dtype == torch.float32 for w in weights)


class _Together(torch.autograd.Function):
    """Matrices side by side (sum of n, in), of which each part gets its own gradient."""

    @staticmethod
    def forward(ctx: Any, joined: torch.Tensor, *parts: torch.Tensor) -> torch.Tensor:
        ctx.sizes = [len(part) for part in parts]
        return joined.view_as(joined)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        return None, *gradient.split(ctx.sizes)


class _Merged(torch.autograd.Function):
    """x (W + s B A)' + bias for x (N, in) and each W (out, in), A (r, in), B (out, r); gradients of x, A and B.

    The merged weights are made again in backward: kept, those of all layers would be a second copy of the model.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, scales: tuple[float, ...], *tensors: Any) -> tuple[torch.Tensor, ...]:
        n = len(scales)
        weights, biases, downs, ups = (tensors[i * n : (i + 1) * n] for i in range(4))
        ctx.save_for_backward(x, *weights, *downs, *ups)
        ctx.scales = scales
        each = zip(weights, biases, downs, ups, scales, strict=True)
        return tuple(functional.linear(x, torch.addmm(w, b, a, alpha=s), bias) for w, bias, a, b, s in each)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # type: ignore[override]
        x, *saved = ctx.saved_tensors
        n, scales = len(ctx.scales), ctx.scales
        weights, downs, ups = (saved[i * n : (i + 1) * n] for i in range(3))
        dx = None
        if ctx.needs_input_grad[0]:
            dx = gradients[0] @ torch.addmm(weights[0], ups[0], downs[0], alpha=scales[0])
            for g, w, b, a, s in zip(gradients[1:], weights[1:], ups[1:], downs[1:], scales[1:], strict=True):
                dx.addmm_(g, torch.addmm(w, b, a, alpha=s))
        # r is small, so the product with it comes first; written so that each wide matrix is read along its rows.
        ranks = [len(a) for a in downs]
        lows = (x @ side_by_side(downs).T).T.split(ranks)  # (r, N) each
        dbs = [(low @ g).T * s for low, g, s in zip(lows, gradients, scales, strict=True)]  # (out, r) = s g' (x A')
        back = torch.cat([(g @ b).T * s for g, b, s in zip(gradients, ups, scales, strict=True)])  # (sum of r, N)
        das = (back @ x).split(ranks)  # (r, in) = s (g B)' x
        return dx, None, *(None,) * (2 * n), *das, *dbs
