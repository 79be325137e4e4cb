"""Attention in a stream of prompts and of the completions that go on from them, for `prefix`.

A prompt sees itself causally; a completion sees all of its prompt and itself causally, and nothing of its siblings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Branches:
    """Where prompts and completions are in the stream."""

    groups: tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...]
    """(start, length, ((start, end) of each completion, ...)) of each prompt; completions follow their prompt."""

    def sizes(self) -> list[int]:
        """Lengths of all pieces, in the stream's order."""
        return [n for _, length, spans in self.groups for n in (length, *(e - s for s, e in spans))]


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
        return _TwoParts.apply(q, k, v, branches)  # type: ignore[no-any-return]
    repeat = q.shape[1] // k.shape[1]  # grouped-query attention: so many heads share a key head
    if repeat > 1:
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    # Split, not slices: the gradient of each slice would be a tensor as long as the stream.
    pieces = [t.transpose(0, 1)[None].split(branches.sizes(), 2) for t in (q, k, v)]
    mixed, at = [], iter(zip(*pieces, strict=True))
    for _, length, spans in branches.groups:
        query, key, value = next(at)
        mixed.append(scaled_dot_product_attention(query, key, value, is_causal=True))
        width = max((e - s for s, e in spans), default=0)
        # (T, prompt + T): all of the prompt, and of itself what came before. Shorter completions use a corner of it.
        allowed = torch.ones(width, length + width, dtype=torch.bool, device=q.device).tril(length)
        for s, e in spans:
            query, own_key, own_value = next(at)
            if s == e:
                continue
            keys, values = torch.cat((key, own_key), 2), torch.cat((value, own_value), 2)
            mask = allowed[: e - s, : length + e - s]
            mixed.append(scaled_dot_product_attention(query, keys, values, attn_mask=mask))
    return torch.cat(mixed, 2)[0].transpose(0, 1)


class _TwoParts(torch.autograd.Function):
    """What a completion sees, in two parts: its prompt without any mask, all completions at once, and itself causally.

    Softmax over the keys A and B together is softmax over A times exp(logsumexp_A - logsumexp_AB), and likewise for B:
    the parts add up exactly. In backward, flash attention's kernel needs only the output and the logsumexp of the whole
    to give each part's gradient. So no key is copied and no mask is made. As ring attention does it (Liu et al. 2023).
    """

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, branches: Branches) -> torch.Tensor:
        kv, mixed, sums = k.shape[1], torch.empty_like(q), []  # q (N, heads, D); k, v (N, kv_heads, D)
        for prompt, rest, spans in _pieces(branches):
            out, total = _mix(q[prompt], k[prompt], v[prompt], kv, True)
            mixed[prompt] = out
            sums.append(total)
            if rest.start == rest.stop:
                continue
            out, total = _mix(q[rest], k[prompt], v[prompt], kv, False)  # total: (kv_heads, groups, T) logsumexp
            for own in spans:
                here = slice(own.start - rest.start, own.stop - rest.start)
                more, its = _mix(q[own], k[own], v[own], kv, True)
                both = torch.logaddexp(total[:, :, here], its)
                mixed[own] = out[here] * _share(total[:, :, here], both) + more * _share(its, both)
                total[:, :, here] = both
            sums.append(total)
        ctx.branches = branches
        ctx.save_for_backward(q, k, v, mixed, *sums)
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        q, k, v, mixed, *sums = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        totals = iter(sums)

        def back(own: slice, seen: slice, total: torch.Tensor, causal: bool) -> tuple[torch.Tensor, ...]:
            """Gradients of queries (T, heads, D), and of those of their keys and values (S, kv_heads, D) that are seen.

            `total` and the output are of the whole that these keys are a part of, not of the part.
            """
            kv = k.shape[1]
            groups = q.shape[1] // kv
            out, queries, mixture = (_heads(t[own], kv) for t in (gradient, q, mixed))
            keys, values = (_shared(t[seen], groups) for t in (k, v))
            to_q, to_k, to_v = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                out, queries, keys, values, mixture, total, 0.0, causal
            )
            # Keys were expanded to all heads that share them, so their gradient is the sum over these.
            return to_q.flatten(0, 1).transpose(0, 1), to_k.sum(1).transpose(0, 1), to_v.sum(1).transpose(0, 1)

        for prompt, rest, spans in _pieces(ctx.branches):
            dq[prompt], dk[prompt], dv[prompt] = back(prompt, prompt, next(totals), True)
            if rest.start == rest.stop:
                continue
            total = next(totals)
            dq[rest], to_keys, to_values = back(rest, prompt, total, False)
            dk[prompt] += to_keys
            dv[prompt] += to_values
            for own in spans:
                here = total[:, :, own.start - rest.start : own.stop - rest.start]
                to_queries, dk[own], dv[own] = back(own, own, here, True)
                dq[own] += to_queries
        return dq, dk, dv, None


def _pieces(branches: Branches) -> Iterator[tuple[slice, slice, list[slice]]]:
    """Each prompt, all of its completions, and each of them that is not empty."""
    for start, length, spans in branches.groups:
        end = start + length
        stop = max((e for _, e in spans), default=end)
        yield slice(start, end), slice(end, stop), [slice(s, e) for s, e in spans if e > s]


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
