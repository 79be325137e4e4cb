"""The blocks of a frozen vision tower with few operators: one attention call each, however many windows there are.

Transformers calls attention once a window (49 times for an image of 756 tokens, in 28 of Qwen2.5-VL-7B's 32 blocks),
waits for their lengths in each block, and spells out norms and rotations: 4,064 operators of its blocks, and 600 here.
What a card takes for them is the launches more than the work. Windows of one length lie side by side; where some are
shorter, all are padded to the longest, under a mask. Weights are not copied, and modules are called as ever; only their
`forward` is stood in for. `engine.vision` compares the first images with the modules' own (`selfcheck`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import rms_norm, scaled_dot_product_attention

WAY = "fused vision blocks"
"""The name of this way in `selfcheck`."""
ATTENTION = ("Qwen2_5_VLVisionAttention", "Qwen3VLVisionAttention")
"""Classes of transformers (alike from 5.17 to 5.24) whose forward is known here; the latter's have one window."""
NORM = "Qwen2_5_VLRMSNorm"


def can_fuse(tower: Any) -> bool:
    """Whether the blocks of a tower are known here, and nothing else stands in for their forward (as accelerate may).

    Hooks are no matter: modules are called, so FSDP's run as ever. Nor is the training mode, in which a trainer may
    have the whole model: a frozen tower has no dropout.
    """
    known = all(type(block.attn).__name__ in ATTENTION for block in tower.blocks)
    if not known or tower.config._attn_implementation != "sdpa":
        return False
    return not any("forward" in vars(module) for module in _parts(tower))


def _parts(tower: Any) -> Iterator[torch.nn.Module]:
    """The modules whose forward is stood in for."""
    for block in tower.blocks:
        yield block.attn
        yield from (norm for norm in (block.norm1, block.norm2) if type(norm).__name__ == NORM)


@contextmanager
def fused_blocks(tower: Any) -> Iterator[None]:
    """Inside, the blocks of a tower that `can_fuse` run fused; their numbers are the modules' up to rounding.

    For one image or a few encoded together, without gradients: the windows of what was seen inside are remembered.
    """
    layout_of, parts = _remembered(), list(_parts(tower))
    for module in parts:
        module.forward = _norm(module) if type(module).__name__ == NORM else _attention(module, layout_of)
    try:
        yield
    finally:
        for module in parts:
            del module.forward


@dataclass(frozen=True)
class _Layout:
    """Where the rows of an image lie in its windows (W), each L rows long."""

    shape: tuple[int, int]
    """(W, L)"""
    cos: torch.Tensor
    sin: torch.Tensor
    """Angles (W, L, 1, 1, head_dim) in float32, the sines with the sign of what they turn."""
    rows: torch.Tensor | None = None
    """(W * L,): the row at each place of a window, its last one behind its end; None: all windows have a length."""
    places: torch.Tensor | None = None
    """(N,): the place of each row."""
    mask: torch.Tensor | None = None
    """(W, 1, 1, L), added to scores: minus infinity behind a window's end."""


def _layout(ends: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor], dtype: torch.dtype) -> _Layout:
    """Of windows that end at `ends` (W + 1,), the first of which is 0, and angles (N, head_dim) of the rows."""
    cos, sin = (a.float() for a in angles)
    half = sin.shape[-1] // 2
    sin = torch.cat((-sin[:, :half], sin[:, half:]), -1)
    # The one wait for the card, and none where all is one window.
    bounds = torch.tensor(ends.tolist()) if len(ends) > 2 else torch.tensor([0, len(cos)])
    lengths, device = bounds.diff(), cos.device
    shape = len(lengths), int(lengths.max())
    rows = places = mask = None
    if int(lengths.min()) < shape[1]:
        place = torch.arange(shape[1])
        filled = place < lengths[:, None]  # (W, L)
        rows = (bounds[:-1, None] + place.minimum(lengths[:, None] - 1)).flatten().to(device)
        places = filled.flatten().nonzero()[:, 0].to(device)
        mask = torch.zeros(shape, dtype=dtype).masked_fill_(~filled, float("-inf"))[:, None, None].to(device)
        cos, sin = cos[rows], sin[rows]
    return _Layout(shape, cos.view(*shape, 1, 1, -1), sin.view(*shape, 1, 1, -1), rows, places, mask)


LayoutOf = Callable[[torch.Tensor, tuple[torch.Tensor, torch.Tensor], torch.dtype], _Layout]


def _remembered() -> LayoutOf:
    """`_layout`, made once for all blocks that are given the very same tensors."""
    made: dict[tuple[int, ...], tuple[Any, _Layout]] = {}

    def layout_of(ends: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor], dtype: torch.dtype) -> _Layout:
        given = ends, *angles
        key = tuple(map(id, given))
        if key not in made:  # and held on to, so that no other tensor gets their ids
            made[key] = given, _layout(ends, angles, dtype)
        return made[key][1]

    return layout_of


def _attention(attention: Any, layout_of: LayoutOf) -> Callable[..., torch.Tensor]:
    heads = attention.num_heads

    def forward(hidden_states: torch.Tensor, cu_seqlens: torch.Tensor, position_embeddings: Any, **_: Any) -> Any:
        """Of an image's rows (N, hidden), those of a window one after the other."""
        qkv = attention.qkv(hidden_states)  # (N, 3 * hidden)
        layout = layout_of(cu_seqlens, position_embeddings, qkv.dtype)
        if layout.rows is not None:
            qkv = qkv.index_select(0, layout.rows)
        qkv = qkv.view(*layout.shape, 3, heads, -1)
        q_and_k, v = qkv[:, :, :2], qkv[:, :, 2]  # (W, L, 2, H, D), (W, L, H, D)
        # Half a head is exchanged for the other; `roll` would copy what is not contiguous first.
        turned = q_and_k.unflatten(-1, (2, -1)).flip(-2).flatten(-2)
        q_and_k = torch.addcmul(q_and_k * layout.cos, turned, layout.sin).to(v.dtype)  # the angles' float32 until here
        q, k, v = (side.transpose(1, 2) for side in (*q_and_k.unbind(2), v))  # (W, H, L, D) each
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=layout.mask, scale=attention.scaling)
        mixed = mixed.transpose(1, 2).flatten(2).flatten(0, 1)  # (W * L, hidden)
        return attention.proj(mixed if layout.places is None else mixed.index_select(0, layout.places))

    return forward


def _norm(norm: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)
