"""The text half of a model, run layer by layer over the engine's cache; `models/bases` knows what differs.

Transformers' own forward builds masks, cache objects and rotary tables anew at each step; here a decode step does no
more than the arithmetic, through the model's own submodules, so LoRA and 4-bit layers work as they are. Weights on
several devices, and rope types that change with the length, do not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import rms_norm, scaled_dot_product_attention

from armlite.models.bases import Base, base_of
from armlite.models.engine.kv_cache import KVCache
from armlite.models.engine.layers import layers_of
from armlite.models.engine.selfcheck import SelfCheck

Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(layer, queries (B, H, T, D), keys and values (B, kv_heads, T, D)) -> (B, H, T, D)"""
Seen = tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]
"""(rows (V,), places (V,)) of visual tokens in a batch; and what they get behind the first layers, (V, levels, hidden)
"""


def base_model(model: Any) -> Any:
    """The model of transformers inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def head_size(config: Any) -> int:
    """Numbers in a head, from the text model's configuration."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def rotary(base: Base, text: Any, positions: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and signed sines (..., 1, head_dim) of M-RoPE positions (3, ...), in float32 before they are rounded.

    Args:
        base: the model's architecture.
        text: the text model.
    """
    table, sections = text.rotary_emb, text.config.rope_parameters.get("mrope_section")
    axis = torch.tensor(base.rotary_axes(sections), device=positions.device)
    frequencies = table.inv_freq.to(device=positions.device, dtype=torch.float)
    angles = positions[axis].movedim(0, -1).float() * frequencies
    cos, sin = angles.cos() * table.attention_scaling, angles.sin() * table.attention_scaling
    cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
    return cos.to(dtype).unsqueeze(-2), sin.to(dtype).unsqueeze(-2)


@dataclass(frozen=True)
class Chunk:
    """Consecutive tokens of one conversation that are to enter the cache."""

    slot: int
    start: int
    embeddings: torch.Tensor
    """(T, hidden)"""
    positions: torch.Tensor
    """(3, T) M-RoPE positions"""
    seen: tuple[tuple[int, torch.Tensor], ...] = ()
    """What visual tokens get behind the first layers: (first token in the chunk, (n, levels, hidden)) of each run."""


class Decoder:
    """The layers, with what their forward needs."""

    def __init__(self, model: Any, check: SelfCheck | None = None):
        base = base_model(model)
        text = base.model.language_model
        config = text.config
        self.base = base_of(base)
        # Not the modules themselves: hooks on them (FSDP's) would share weights out again that are whole for a rollout.
        self.embed, self.norm, self.head = text.embed_tokens.forward, text.norm.forward, base.lm_head.forward
        self.layers = layers_of(text, check)
        self.head_dim = head_size(config)
        self.kv_heads = config.num_key_value_heads
        self.groups = config.num_attention_heads // self.kv_heads
        weight = text.embed_tokens.weight
        self.dtype, self.device = weight.dtype, weight.device
        self._head_norms = [self._head_norm(layer.self_attn) for layer in text.layers] if self.base.head_norms else None
        if getattr(config, "use_sliding_window", False):
            raise ValueError("sliding-window attention is not supported")
        self._text = text
        self._rotary_table = (torch.empty(0), torch.empty(0))

    def _head_norm(self, attention: Any) -> tuple[torch.Tensor, float]:
        """Weights (heads + kv_heads, head_dim) of the norms of queries and keys, and their epsilon."""
        q, k = attention.q_norm, attention.k_norm
        sides = ((q, self.groups * self.kv_heads), (k, self.kv_heads))
        return torch.cat([norm.weight.detach().expand(heads, -1) for norm, heads in sides]), q.variance_epsilon

    def new_cache(self) -> KVCache:
        """An empty cache that fits this model."""
        return KVCache(len(self.layers), self.kv_heads, self.head_dim, self.dtype, self.device)

    def extend_rotary_table(self, positions: int) -> None:
        """Make the table of rotary angles cover this many text positions."""
        if len(self._rotary_table[0]) < positions:
            places = torch.arange(max(2 * positions, 1024), device=self.device)
            self._rotary_table = rotary(self.base, self._text, places.expand(3, -1)[..., None], self.dtype)

    def _run(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, attend: Attend, seen: Seen | None = None
    ) -> torch.Tensor:
        """Embeddings (B, T, hidden) to hidden states before the last norm, likewise."""
        rows, length, _ = x.shape
        for i, layer in enumerate(self.layers):
            qkv = layer.qkv(x).view(rows, length, -1, self.head_dim)  # (B, T, heads + 2 kv_heads, D)
            # Queries and keys turn together: (B, T, H, D) * (B, T, 1, D).
            q_and_k, v = qkv[:, :, : -self.kv_heads], qkv[:, :, -self.kv_heads :].transpose(1, 2)
            if self._head_norms:
                weight, epsilon = self._head_norms[i]
                q_and_k = rms_norm(q_and_k, (self.head_dim,), None, epsilon) * weight
            q_and_k = torch.addcmul(q_and_k * cos, q_and_k.roll(self.head_dim // 2, -1), sin).transpose(1, 2)
            q, k = q_and_k[:, : -self.kv_heads], q_and_k[:, -self.kv_heads :]
            x = x + layer.out(attend(i, q, k, v).transpose(1, 2).reshape(rows, length, -1))
            x = x + layer.mlp(x)
            if seen is not None and i < seen[1].shape[1]:
                x[seen[0]] += seen[1][:, i]
        return x

    def step(
        self,
        cache: KVCache,
        slots: Sequence[int],
        tokens: Sequence[int],
        lengths: Sequence[int],
        positions: Sequence[int],
    ) -> torch.Tensor:
        """Take one token a row into the cache.

        Args:
            cache: the cache.
            slots: the rows, ascending; when they are the first ones, nothing is gathered.
            tokens: one text token a row.
            lengths: tokens that each row already holds.
            positions: text position of each token.

        Returns:
            Logits (B, V).
        """
        rows, n = len(slots), max(lengths) + 1
        numbers = torch.tensor([slots, tokens, lengths, positions]).to(self.device, non_blocking=True)
        slot, token, length, position = numbers.unbind(0)
        self.extend_rotary_table(max(positions) + 1)
        first_rows = list(slots) == list(range(rows))

        def append(side: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
            side[slot, :, length] = new
            return side[:rows, :, :n] if first_rows else side[:, :, :n][slot]  # a view, or else a copy

        return self._decode(cache, n, token, length, position, append)

    def fixed_step(self, cache: KVCache, numbers: torch.Tensor) -> torch.Tensor:
        """`step` for the first slots, with no number that comes from the host: all that changes is in one tensor.

        Args:
            cache: the cache.
            numbers: (4, B) on the device: token, length, text position, and whether the row takes part; the cache of
                one that does not stays as it is. The table of angles must cover the positions (`extend_rotary_table`).

        Returns:
            Logits (B, V); those of rows that do not take part mean nothing.
        """
        token, length, position, active = numbers.unbind(0)
        row = torch.arange(len(token), device=self.device)
        keep = active[:, None, None] == 0

        def append(side: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
            side[row, :, length] = torch.where(keep, side[row, :, length], new)
            return side[: len(row)]

        return self._decode(cache, cache.length, token, length, position, append)

    def _decode(
        self,
        cache: KVCache,
        n: int,
        token: torch.Tensor,
        length: torch.Tensor,
        position: torch.Tensor,
        append: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Logits (B, V) of one more token a row, among the first `n` of the cache.

        Args:
            append: writes new keys or values (B, kv_heads, D) into a layer's; returns all of them, (B, kv_heads, n, D).
        """
        # The new token itself is at `length`; what lies behind it is of an earlier, longer row, or zero.
        hidden = torch.arange(n, device=self.device) > length[:, None]  # (B, n)
        mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device).masked_fill_(hidden, float("-inf"))
        mask = mask.repeat_interleave(self.kv_heads, 0)[:, None]  # (B * kv_heads, 1, n)

        def attend(i: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            keys, values = append(cache.keys[i], k[:, :, 0]), append(cache.values[i], v[:, :, 0])
            # The queries that share a key head stand in for query positions, so that no key is repeated.
            q = q.reshape(-1, self.groups, self.head_dim)  # (B * kv_heads, groups, D)
            mixed = _few_queries(q, keys.flatten(0, 1), values.flatten(0, 1), mask)
            return mixed.view(len(token), -1, 1, self.head_dim)

        cos, sin = self._rotary_table[0][position], self._rotary_table[1][position]
        return self.head(self.norm(self._run(self.embed(token)[:, None], cos, sin, attend)[:, 0]))

    def prefill(self, cache: KVCache, chunks: Sequence[Chunk]) -> None:
        """Take chunks of several conversations into the cache, padded to the longest; all first ones or none."""
        x = torch.nn.utils.rnn.pad_sequence([c.embeddings for c in chunks], batch_first=True)
        places = torch.nn.utils.rnn.pad_sequence([c.positions.T for c in chunks], batch_first=True)
        cos, sin = rotary(self.base, self._text, places.permute(2, 0, 1).to(self.device), self.dtype)
        self._run(x, cos, sin, self._attend(cache, chunks, x.shape[1]), self._seen(chunks))

    def _seen(self, chunks: Sequence[Chunk]) -> Seen | None:
        """What the chunks' visual tokens get behind the first layers."""
        runs = [(row, start, features) for row, c in enumerate(chunks) for start, features in c.seen]
        if not runs:
            return None
        rows = torch.cat([torch.full((len(f),), row) for row, _, f in runs]).to(self.device)
        places = torch.cat([torch.arange(start, start + len(f)) for _, start, f in runs]).to(self.device)
        return (rows, places), torch.cat([f for _, _, f in runs])

    def _write(self, cache: KVCache, i: int, chunks: Sequence[Chunk], k: torch.Tensor, v: torch.Tensor) -> None:
        for row, c in enumerate(chunks):
            n = len(c.embeddings)
            cache.keys[i][c.slot, :, c.start : c.start + n] = k[row, :, :n]
            cache.values[i][c.slot, :, c.start : c.start + n] = v[row, :, :n]

    def _repeat(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.repeat_interleave(self.groups, dim=1) if self.groups > 1 else tensor

    def _attend(self, cache: KVCache, chunks: Sequence[Chunk], width: int) -> Attend:
        """Causal attention of new tokens, and to what their slots hold; none can see the padding on the right."""
        slots, starts = torch.tensor([(c.slot, c.start) for c in chunks], device=self.device).T
        n, mask = max(c.start + len(c.embeddings) for c in chunks), None
        if chunks[0].start > 0:
            seen = starts[:, None] + torch.arange(width, device=self.device)  # (B, T) the last token that each one sees
            hidden = torch.arange(n, device=self.device) > seen[:, :, None]  # (B, T, n)
            mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
            mask = mask.masked_fill_(hidden, float("-inf"))[:, None]

        def attend(i: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            self._write(cache, i, chunks, k, v)
            if mask is not None:
                k, v = cache.keys[i][:, :, :n][slots], cache.values[i][:, :, :n][slots]
            k, v = self._repeat(k), self._repeat(v)
            return scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)

        return attend


def _few_queries(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attention of few queries (N, G, D) to many keys (N, T, D) under an additive mask (N, 1, T).

    Fused kernels take a mask with every key on one block of the card for each N, however many there are: on an H200 61
    and 353 microseconds for 8 rows over 1,536 and 8,192 tokens, where plain products take 24 and 70 (2026-11-26).
    """
    scale = q.shape[-1] ** -0.5
    if q.dtype == torch.float32 and q.device.type in ("cpu", "cuda"):
        return torch.bmm(torch.baddbmm(mask, q, k.transpose(1, 2), alpha=scale).softmax(-1), v)
    if q.device.type in ("cuda", "meta") and torch.version.hip is None:
        # Scores of 16 bits would be rounded before the softmax, and in float16 could overflow.
        scores = torch.bmm(q, k.transpose(1, 2), out_dtype=torch.float32)
        return torch.bmm(torch.add(mask, scores, alpha=scale).softmax(-1).to(v.dtype), v)
    return scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], attn_mask=mask[:, None])[:, 0]
