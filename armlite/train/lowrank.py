"""A linear module with a LoRA adapter as one product: the adapter is worked into the weight for the length of a call.

Only where that is exact up to rounding and nothing else hangs on the module: float32, no dropout, one plain adapter.
Anything else is called as it is. Saves what PEFT's forward spends on narrow products and on adding them up.
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import nn
from torch.nn import functional


def lora_linear(module: Any, x: torch.Tensor) -> torch.Tensor:
    """`module(x)` for x (N, in)."""
    name = _adapter(module)
    if name is None or torch.is_autocast_enabled(x.device.type):
        return module(x)
    base = module.base_layer
    a, b = module.lora_A[name].weight, module.lora_B[name].weight
    return _Merged.apply(x, base.weight, base.bias, a, b, module.scaling[name])  # type: ignore[no-any-return]


def _adapter(module: Any) -> str | None:
    """The name of a module's adapter, where the module is a frozen float32 linear with nothing but that one."""
    if type(module) is not Linear or type(module.base_layer) is not nn.Linear:
        return None
    if module.disable_adapters or module.merged or len(module.active_adapters) != 1:
        return None
    name, base = module.active_adapters[0], module.base_layer
    if name not in module.lora_A or getattr(module, "lora_variant", {}).get(name) or module.fan_in_fan_out:
        return None
    parts = (module, base, module.lora_A[name], module.lora_B[name])
    dropout = module.lora_dropout[name]
    if any(p._forward_hooks or p._forward_pre_hooks for p in parts) or parts[3].bias is not None:
        return None
    if not isinstance(dropout, nn.Identity) and dropout.training:
        return None
    frozen = not base.weight.requires_grad and (base.bias is None or not base.bias.requires_grad)
    return name if frozen and all(p.weight.dtype == torch.float32 for p in parts[1:]) else None


class _Merged(torch.autograd.Function):
    """x (W + s B A)' + bias for x (N, in), W (out, in), A (r, in), B (out, r); gradients of x, A and B.

    The merged weight is made again in backward: kept, those of all layers would be a second copy of the model.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> torch.Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return functional.linear(x, torch.addmm(weight, b, a, alpha=scale), bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        x, weight, a, b = ctx.saved_tensors
        dx = None
        if ctx.needs_input_grad[0]:
            dx = gradient @ torch.addmm(weight, b, a, alpha=ctx.scale)
        # r is small, so the product with it comes first; written so that each wide matrix is read along its rows.
        db = ((x @ a.T).T @ gradient).T * ctx.scale  # (out, r) = s gradient' (x A')
        da = (gradient @ b).T @ x * ctx.scale  # (r, in) = s (gradient B)' x
        return dx, None, None, da, db, None
