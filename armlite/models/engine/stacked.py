"""Parameters that lie behind one another, and linear modules in 4 bits that share an input as one product: one
kernel in place of three, which keeps a card busier (queries, keys and values of a 7B, 8 rows, on an H200: 72
microseconds apart).

Nothing is copied for good: the packed weights move side by side once, and the modules then hold views of them. Blocks
of weights have a scale each; scales that are quantised themselves have one offset a module, so they are unpacked here
(a third of a per cent of a 7B's weights).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch


def stack_4bit(modules: Sequence[Any]) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What maps inputs (..., in) to the modules' outputs side by side (..., sum of out); None: they cannot be stacked.

    Args:
        modules: with the same input; what is not bitsandbytes' `Linear4bit` as it is made on a card cannot be stacked.
    """
    if not all(map(_is_plain, modules)):
        return None
    states = [module.weight.quant_state for module in modules]
    kinds = {(s.shape[1], s.blocksize, s.quant_type, m.compute_dtype) for s, m in zip(states, modules, strict=True)}
    # A module ends with a block of scales, or the next one's would be shifted.
    if len(kinds) > 1 or any(s.shape.numel() % s.blocksize for s in states):
        return None
    first, dtype = states[0], modules[0].compute_dtype
    shape = torch.Size((sum(s.shape[0] for s in states), first.shape[1]))
    packed = put_together([module.weight for module in modules])  # (bytes, 1)
    scales = torch.cat([_scales(state) for state in states])
    biases = [module.bias for module in modules]
    bias = torch.cat([b.detach().to(dtype or b.dtype) for b in biases]) if biases[0] is not None else None

    def run(x: torch.Tensor) -> torch.Tensor:
        # The very operator behind the modules' forward, which is fused for few rows.
        made = torch.ops.bitsandbytes.gemm_4bit.default(
            x if dtype is None else x.to(dtype), packed, shape, scales, first.blocksize, first.quant_type, bias=bias
        )
        return made.to(x.dtype)

    return run


def _is_plain(module: Any) -> bool:
    """Whether a module's weights are packed row after row, two a byte, with a forward of its own class and no hooks."""
    state = getattr(getattr(module, "weight", None), "quant_state", None)
    if state is None:
        return False
    from bitsandbytes.nn import Linear4bit

    if type(module) is not Linear4bit or module.weight.dtype != torch.uint8:  # PEFT's class has this name, too
        return False
    hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return not hooked and not getattr(state, "packing_format_for_cpu", False)


def _scales(state: Any) -> torch.Tensor:
    """The scale of each block, in float32."""
    from bitsandbytes.functional import dequantize_blockwise

    if not state.nested:
        return state.absmax.float()
    return (dequantize_blockwise(state.absmax, state.state2) + state.offset).float()


def put_together(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Let parameters (n, ...) lie behind one another in memory, each with the same numbers; returns all as one.

    Where somebody moves one elsewhere later, `side_by_side` copies instead.
    """
    joined = side_by_side([part.data for part in parts])
    for part, own in zip(parts, joined.split([len(part) for part in parts]), strict=True):
        part.data = own
    return joined


def side_by_side(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Tensors (n, ...) below one another, without gradient: a view where they lie so already, or else a copy."""
    first, at = parts[0].detach(), parts[0].storage_offset()
    storage = first.untyped_storage().data_ptr()
    for part in parts:
        here = part.untyped_storage().data_ptr() == storage and part.storage_offset() == at
        if not here or not part.is_contiguous() or part.dtype != first.dtype:
            return torch.cat([p.detach() for p in parts])
        at += part.numel()
    return first.as_strided((sum(map(len, parts)), *first.shape[1:]), first.stride(), first.storage_offset())
