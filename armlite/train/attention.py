"""Attention in a stream of pieces that go on from one another, for `prefix`.

A token sees the pieces that its own goes on from, and its own piece causally: nothing of what goes on otherwise.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Branches:
    """Where the pieces are in the stream."""

    pieces: tuple[tuple[int, int, int], ...]
    """(start, end, stop) of each, in the stream's order, without gaps: its own tokens, and where what goes on from it
    ends, which follows it at once.
    """

    def sizes(self) -> list[int]:
        """Lengths of all pieces."""
        return [end - start for start, end, _ in self.pieces]


def packed_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, branches: Branches) -> torch.Tensor:
    """Mix values.

    Args:
        q: queries (N, heads, head_dim).
        k: keys (N, kv_heads, head_dim).
        v: values likewise.
        branches: of the stream.

    Returns:
        (N, heads, head_dim)
    """
    if q.device.type == "cpu" and q.dtype == k.dtype == v.dtype == torch.float32:
        return _InParts.apply(q, k, v, branches)  # type: ignore[no-any-return]
    repeat = q.shape[1] // k.shape[1]  # grouped-query attention: so many heads share a key head
    if repeat > 1:
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    # Split, not slices: the gradient of each slice would be a tensor as long as the stream.
    pieces = [t.transpose(0, 1)[None].split(branches.sizes(), 2) for t in (q, k, v)]
    seen: list[tuple[int, torch.Tensor, torch.Tensor]] = []  # (stop, keys, values) of what a piece goes on from
    mixed = []
    for (start, _, stop), query, key, value in zip(branches.pieces, *pieces, strict=True):
        while seen and seen[-1][0] <= start:
            seen.pop()
        own, before = query.shape[2], sum(keys.shape[2] for _, keys, _ in seen)
        keys = torch.cat([*(t for _, t, _ in seen), key], 2) if seen else key
        values = torch.cat([*(t for _, _, t in seen), value], 2) if seen else value
        mask = None
        if seen:  # (T, before + T): all of what it goes on from, and of itself what came before
            mask = torch.ones(own, before + own, dtype=torch.bool, device=q.device).tril(before)
        mixed.append(scaled_dot_product_attention(query, keys, values, attn_mask=mask, is_causal=mask is None))
        seen.append((stop, key, value))
    return torch.cat(mixed, 2)[0].transpose(0, 1)


class _InParts(torch.autograd.Function):
    """What a token sees, in parts: its own piece causally, and each piece that this goes on from without a mask, which
    is done for all that go on from it at once.

    Softmax over the keys A and B together is softmax over A times exp(logsumexp_A - logsumexp_AB), and likewise for B:
    the parts add up exactly. In backward, flash attention's kernel needs only the output and the logsumexp of the whole
    to give each part's gradient. So no key is copied and no mask is made. As ring attention does it (Liu et al. 2023).
    """

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, branches: Branches) -> torch.Tensor:
        kv, mixed = k.shape[1], torch.empty_like(q)  # q (N, heads, D); k, v (N, kv_heads, D)
        sums = q.new_empty(kv, q.shape[1] // kv, len(q))  # logsumexp of all that a token sees
        known = 0  # up to here the stream has something already: what it goes on from

        def add(here: slice, seen: slice, causal: bool) -> None:
            out, total = _mix(q[here], k[seen], v[seen], kv, causal)
            if here.start >= known:
                mixed[here], sums[:, :, here] = out, total
                return
            both = torch.logaddexp(sums[:, :, here], total)
            mixed[here] = mixed[here] * _share(sums[:, :, here], both) + out * _share(total, both)
            sums[:, :, here] = both

        for start, end, stop in branches.pieces:
            own = slice(start, end)
            add(own, own, True)
            if stop > end:
                add(slice(end, stop), own, False)
            known = max(known, stop)
        ctx.branches = branches
        ctx.save_for_backward(q, k, v, mixed, sums)
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        q, k, v, mixed, sums = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        kv, groups, known = k.shape[1], q.shape[1] // k.shape[1], 0

        def back(here: slice, seen: slice, causal: bool) -> None:
            """Gradients of queries, and of those of their keys and values that are seen.

            The logsumexp and the output are of the whole that these keys are a part of, not of the part.
            """
            out, queries, mixture = (_heads(t[here], kv) for t in (gradient, q, mixed))
            keys, values = (_shared(t[seen], groups) for t in (k, v))
            to_q, to_k, to_v = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                out, queries, keys, values, mixture, sums[:, :, here], 0.0, causal
            )
            # Keys were expanded to all heads that share them, so their gradient is the sum over these.
            sides = ((dk, to_k.sum(1)), (dv, to_v.sum(1)))
            for whole, place, part, is_first in (
                (dq, here, to_q.flatten(0, 1), here.start >= known),
                *((whole, seen, part, causal) for whole, part in sides),
            ):
                if is_first:
                    whole[place] = part.transpose(0, 1)
                else:
                    whole[place] += part.transpose(0, 1)

        for start, end, stop in ctx.branches.pieces:
            own = slice(start, end)
            back(own, own, True)
            if stop > end:
                back(slice(end, stop), own, False)
            known = max(known, stop)
        return dq, dk, dv, None


def _heads(t: torch.Tensor, kv: int) -> torch.Tensor:
    """(T, heads, D) as (kv_heads, heads that share keys, T, D), without a copy."""
    return t.unflatten(1, (kv, -1)).permute(1, 2, 0, 3)


def _shared(t: torch.Tensor, groups: int) -> torch.Tensor:
    """Keys or values (T, kv_heads, D) as (kv_heads, groups, T, D), without a copy."""
    return t.transpose(0, 1)[:, None].expand(-1, groups, -1, -1)


def _share(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Weight of a part in the whole, from their logsumexps (kv_heads, groups, T), as (T, heads, 1)."""
    return (part - whole).exp().flatten(0, 1).T[:, :, None]


def _mix(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, kv: int, causal: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention (T, heads, D), and the logsumexp (kv_heads, groups, T) of its scores."""
    groups = q.shape[1] // kv
    out, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        _heads(q, kv), _shared(k, groups), _shared(v, groups), 0.0, causal
    )
    return out.flatten(0, 1).transpose(0, 1), total
