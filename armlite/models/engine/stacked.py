"""Parameters that lie behind one another, and linear modules in 4 bits that share an input as one product: one
kernel in place of three, which keeps a card busier (queries, keys and values of a 7B, 8 rows, on an H200: 72
microseconds apart).

Nothing is copied for good: the packed weights move side by side once, and the modules then hold views of them. Blocks
of weights have a scale each; scales that are quantised themselves have one offset a module, so they are unpacked here,
for as long as the product is kept (4 bytes for 64 weights).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import torch

MOST_ROWS = MOST_RANK = 64
"""Of a product by our own kernel, and of its adapters together; of more rows, unpacking is the smaller part."""
PROGRAMS = 4
"""Of that kernel for each multiprocessor of a card, about."""


@dataclass(frozen=True)
class Stack:
    """Linear modules in 4 bits with the same input, as one."""

    packed: torch.Tensor
    """Bytes of two weights each, (bytes, 1)."""
    scales: torch.Tensor
    """Of each block of weights, in float32."""
    shape: torch.Size
    """(sum of out, in)"""
    bias: torch.Tensor | None
    """(sum of out,)"""
    state: Any
    """bitsandbytes' description of the first module's weights."""
    dtype: torch.dtype | None
    """In which the modules compute; None: that of the inputs."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs (..., in) -> the modules' outputs side by side, (..., sum of out)."""
        # The very operator behind the modules' forward, which is fused for few rows.
        made = torch.ops.bitsandbytes.gemm_4bit.default(
            x if self.dtype is None else x.to(self.dtype),
            self.packed,
            self.shape,
            self.scales,
            self.state.blocksize,
            self.state.quant_type,
            bias=self.bias,
        )
        return made.to(x.dtype)

    def few(self, x: torch.Tensor, down: torch.Tensor | None = None, up: torch.Tensor | None = None) -> torch.Tensor:
        """The same for at most `MOST_ROWS` rows of inputs, by our own kernel; only where `has_kernel`.

        Args:
            x: in the dtype that the modules compute in.
            down: (rank, in), all modules' LoRA A matrices in the dtype of the inputs; None: they have no adapter.
            up: (rank, sum of out), what of them goes into which output.
        """
        from armlite.models.engine.nf4_kernel import multiply

        rows = x.reshape(-1, self.shape[1]).contiguous()
        return multiply(rows, self._weights, down, up).view(*x.shape[:-1], -1)

    @property
    def has_kernel(self) -> bool:
        """Whether the kernel knows such weights."""
        return (
            self.state.blocksize == 64
            and self.shape[1] % 128 == 0  # a step of the kernel
            and self.dtype in (torch.bfloat16, torch.float16)
        )

    @cached_property
    def _weights(self) -> Any:
        """As the kernel takes them."""
        from armlite.models.engine.nf4_kernel import BN, Weights, table_of

        code, outputs = self.state.code.float().contiguous(), self.shape[0]
        programs = PROGRAMS * torch.cuda.get_device_properties(self.packed.device).multi_processor_count
        shares = max(1, min(programs // -(-outputs // BN), self.shape[1] // 512))  # so that all have something to do
        return Weights(self.packed, self.scales, code, table_of(code), outputs, self.bias, shares)


def kernel_here(device: torch.device) -> bool:
    """Whether a card and a Triton are there that our own kernel is made for."""
    if device.type != "cuda" or torch.version.hip is not None or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)  # Triton multiplies without tensor cores before


def stack_4bit(modules: Sequence[Any]) -> Stack | None:
    """Modules with the same input, as one product; None: they cannot be stacked.

    Args:
        modules: what is not bitsandbytes' `Linear4bit` as it is made on a card cannot be stacked.
    """
    if not all(map(_is_plain, modules)):
        return None
    states = [module.weight.quant_state for module in modules]
    kinds = {(s.shape[1], s.blocksize, s.quant_type, m.compute_dtype) for s, m in zip(states, modules, strict=True)}
    # A module ends with a block of scales, or the next one's would be shifted.
    if len(kinds) > 1 or any(s.shape.numel() % s.blocksize for s in states):
        return None
    dtype, biases = modules[0].compute_dtype, [module.bias for module in modules]
    return Stack(
        packed=put_together([module.weight for module in modules]),
        scales=torch.cat([_scales(state) for state in states]),
        shape=torch.Size((sum(s.shape[0] for s in states), states[0].shape[1])),
        bias=torch.cat([b.detach().to(dtype or b.dtype) for b in biases]) if biases[0] is not None else None,
        state=states[0],
        dtype=dtype,
    )


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
