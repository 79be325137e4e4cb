"""The update's forward pass: log-probabilities of rollouts, with all that they begin with alike computed once.

A batch is packed into one stream without padding: a tree (`tree`), each piece of which is followed by what goes on
from it. Every layer runs on the whole stream; only attention and the positions know where a rollout begins. The model's
own modules do the arithmetic, so LoRA, 4-bit layers, dropout and hooks work as they are, and a checkpointed layer
recomputes all of it together. Numbers are those of a plain forward of each rollout alone, up to rounding. Called by the
trainer through `model.forward`, and with it through whatever wraps the model.
"""

import functools
import math
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from armlite.models.bases import base_of
from armlite.models.engine.decoder import base_model, rotary
from armlite.models.engine.tokens import Span, TokenRecord, rope_positions
from armlite.train.attention import Branches, packed_attention
from armlite.train.lowrank import lora_linear, lora_linears, put_side_by_side
from armlite.train.tree import pieces_of

LOGITS = 1 << 24
"""Logits (tokens times vocabulary) that are in memory at once; 64 MiB in float32."""


@dataclass(frozen=True, eq=False)
class Row:
    """One rollout of a batch, and what is wanted of it."""

    number: int
    """Its place in the batch."""
    record: TokenRecord
    """Its tokens and images."""
    wanted: tuple[int, ...]
    """Places in the completion, ascending, of the tokens whose log-probability is wanted."""
    first_patch: int = 0
    """Row of the batch's `pixel_values` at which its images begin."""

    @property
    def group(self) -> bytes:
        """Equal for rows with the same prompt and the same images in it."""
        return self.record.prompt_key

    @property
    def length(self) -> int:
        """Tokens of the completion that must go through the model: those before the last one wanted."""
        return self.wanted[-1] if self.wanted else 0

    @cached_property
    def path(self) -> list[int]:
        """Its tokens that go through the model, images told by what they show."""
        return self.record.path[: len(self.record.prompt_ids) + self.length]

    def images(self) -> Iterator[tuple[Span, slice]]:
        """Its images, and the rows of `pixel_values` of each."""
        at = self.first_patch
        for span in self.record.spans:
            patches = math.prod(span.picture.grid)
            yield span, slice(at, at + patches)
            at += patches


@dataclass(frozen=True, eq=False)
class Pack:
    """Rows as one stream of N tokens, and what is wanted of it: M log-probabilities."""

    ids: torch.Tensor
    """(N,)"""
    positions: torch.Tensor
    """(3, N) M-RoPE positions."""
    branches: Branches
    sources: torch.Tensor
    """(U,) token of the stream that predicts each target."""
    targets: torch.Tensor
    """(U,) token ids; no pair of source and target comes twice."""
    which: torch.Tensor
    """(M,) which of these is wanted: rollouts that are alike so far want the same."""
    places: tuple[torch.Tensor, torch.Tensor]
    """(M,) each: row and column of the batch."""
    pixel_values: torch.Tensor | None
    """(patches, d) of the images in the stream, in its order."""
    image_grid_thw: torch.Tensor | None
    """(images, 3)"""
    visual_tokens: tuple[slice, ...]
    """Which visual tokens of each image are in the stream: a row may end amid its last one."""
    visual_places: torch.Tensor
    """Where the stream has visual tokens."""


def rows_from_records(records: Sequence[TokenRecord], wanted: torch.Tensor | None = None) -> list[Row]:
    """The rows of a batch, from what the engine recorded of its rollouts.

    Args:
        records: the batch's rollouts, in its order.
        wanted: (B, T) tokens of the completions whose log-probability is wanted; None: all.
    """
    chosen = None if wanted is None else wanted.bool().cpu()
    rows: list[Row] = []
    patches = 0
    for number, record in enumerate(records):
        n = len(record.completion_ids)
        places = range(n) if chosen is None else chosen[number, :n].nonzero()[:, 0].tolist()
        rows.append(Row(number, record, tuple(places), patches))
        patches += sum(math.prod(span.picture.grid) for span in record.spans)
    return rows


def pack_rows(rows: Sequence[Row], model: Any, pixel_values: torch.Tensor | None = None) -> Pack:
    """Put rows into one stream; those of which nothing is wanted are left out.

    Args:
        rows: of one batch.
        model: tells where the tensors go.
        pixel_values: (patches, d) of the batch.
    """
    device = base_model(model).model.language_model.embed_tokens.weight.device
    used = [row for row in rows if row.wanted]
    ids: list[int] = []
    positions: list[np.ndarray] = []
    layout: list[tuple[int, int, int]] = []
    places: list[list[int]] = [[] for _ in used]  # of each row's tokens in the stream
    shown: list[tuple[Span, slice]] = []
    visual: list[tuple[int, int, int]] = []  # of each image: which of its tokens are in the piece, and where
    for piece in pieces_of([row.path for row in used]):
        row, at = used[piece.rows[0]], len(ids)
        ids.extend((row.record.prompt_ids + row.record.completion_ids)[piece.start : piece.end])
        positions.append(rope_positions(row.record.spans, piece.start, piece.end))
        layout.append((at, len(ids), len(ids) + piece.below))
        for number in piece.rows:
            places[number] += range(at, len(ids))
        for span, patches in row.images():
            low, high = max(span.start, piece.start), min(span.end, piece.end)
            if low < high:
                shown.append((span, patches))
                visual.append((low - span.start, high - span.start, at + low - piece.start))
    found: dict[tuple[int, int], int] = {}  # (what predicts a token, the token), for all that are alike so far
    which, cells = [], []
    for row, own in zip(used, places, strict=True):
        prompt = len(row.record.prompt_ids)
        for t in row.wanted:
            pair = own[prompt + t - 1], row.record.completion_ids[t]
            which.append(found.setdefault(pair, len(found)))
            cells.append((row.number, t))
    pixels = grids = None
    if shown:
        assert pixel_values is not None
        pixels = torch.cat([pixel_values[patches] for _, patches in shown])
        grids = torch.tensor([span.picture.grid for span, _ in shown], device=pixels.device)
    sources, targets = torch.tensor(list(found), device=device).T
    rows_of, columns = torch.tensor(cells, device=device).T
    return Pack(
        ids=torch.tensor(ids, device=device),
        positions=torch.from_numpy(np.concatenate(positions, -1)).to(device),
        branches=Branches(tuple(layout)),
        sources=sources,
        targets=targets,
        which=torch.tensor(which, device=device),
        places=(rows_of, columns),
        pixel_values=pixels,
        image_grid_thw=grids,
        visual_tokens=tuple(slice(low, high) for low, high, _ in visual),
        visual_places=torch.tensor(
            [at + i for low, high, at in visual for i in range(high - low)], dtype=torch.long, device=device
        ),
    )


def install_packed_forward(model: Any, temperature: float) -> None:
    """Teach a model's `forward` to answer `packed=Pack` with `packed_logprobs`, through whatever wraps it.

    Args:
        model: of an architecture in `armlite.models.bases`, possibly in a PEFT wrapper.
        temperature: that log-probabilities are taken at.
    """
    base = base_model(model)
    put_side_by_side(base.model.language_model.layers)
    plain = base.forward

    @functools.wraps(type(base).forward)  # `generate` and PEFT read the signature
    def forward(self: Any, *args: Any, packed: Pack | None = None, **kwargs: Any) -> Any:
        return plain(*args, **kwargs) if packed is None else packed_logprobs(self, packed, temperature)

    base.forward = types.MethodType(forward, base)


def why_not_packed(model: Any) -> str | None:
    """Why this model cannot run packed, or None."""
    base = base_model(model)
    text = base.model.language_model
    if getattr(text.config, "use_sliding_window", False):
        return "sliding-window attention"
    if len(set((getattr(base, "hf_device_map", None) or {"": 0}).values())) > 1:
        return "weights on several devices"
    if text.config.attention_dropout:
        return "attention dropout"
    if base_of(base).levels(base.config.vision_config.to_dict()) >= len(text.layers):
        return "visual features that enter behind the last layer"
    return None


def packed_logprobs(base: Any, packed: Pack, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (M,) of what is wanted at a temperature, and entropies (M,) without gradient.

    Args:
        base: the model, in no wrapper.
        packed: the stream.
        temperature: log-probabilities are under softmax(logits / temperature).
    """
    text = base.model.language_model
    x, seen = _embed(base, packed)  # (N, hidden)
    cos, sin = rotary(base_of(base), text, packed.positions, x.dtype)  # (N, 1, head_dim)
    for i, layer in enumerate(text.layers):
        # Behind the last attention only the tokens that predict a target are needed: N becomes U.
        rows = packed.sources if layer is text.layers[-1] else None
        if layer.training and getattr(layer, "gradient_checkpointing", False) and torch.is_grad_enabled():
            x = checkpoint(_layer, layer, x, cos, sin, packed.branches, rows, use_reentrant=False)
        else:
            x = _layer(layer, x, cos, sin, packed.branches, rows)
        if i < len(seen):
            x = x.index_add(0, packed.visual_places, seen[i])
    logps, entropies = _head(base, text.norm(x), packed.targets, temperature)  # (U,)
    return logps[packed.which], entropies[packed.which]


def _embed(base: Any, packed: Pack) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Embeddings (N, hidden), visual tokens in their places; and what these (V, hidden) get behind the first layers."""
    embed = base.model.language_model.embed_tokens
    x = embed(packed.ids)
    if not embed.weight.requires_grad:
        x = x.detach()  # a hook for reentrant checkpoints wants a gradient here that nobody needs
    if packed.pixel_values is None:
        return x, []
    features = base_of(base).features(base.model.get_image_features(packed.pixel_values, packed.image_grid_thw))
    seen = torch.cat([f[own] for f, own in zip(features, packed.visual_tokens, strict=True)]).to(x)
    first, *later = seen.split(x.shape[1], 1)
    return x.index_copy(0, packed.visual_places, first), later


def _layer(
    layer: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, branches: Branches, rows: torch.Tensor | None
) -> torch.Tensor:
    """One decoder layer on the stream (N, hidden).

    Args:
        rows: (M,) the tokens that are needed behind it, in any order and repeated; None: all.
    """
    a, h = layer.self_attn, layer.input_layernorm(x)
    qkv = lora_linears((a.q_proj, a.k_proj, a.v_proj), h)
    q, k, v = (made.view(len(x), -1, a.head_dim) for made in qkv)  # (N, H, D)
    if hasattr(a, "q_norm"):
        q, k = a.q_norm(q), a.k_norm(k)
    half = a.head_dim // 2
    q = torch.addcmul(q * cos, q.roll(half, -1), sin)
    k = torch.addcmul(k * cos, k.roll(half, -1), sin)
    mixed = packed_attention(q, k, v, branches).flatten(1)
    if rows is not None:
        x, mixed = x[rows], mixed[rows]
    x = x + lora_linear(a.o_proj, mixed)
    m, h = layer.mlp, layer.post_attention_layernorm(x)
    gate, up = lora_linears((m.gate_proj, m.up_proj), h)
    return x + lora_linear(m.down_proj, m.act_fn(gate) * up)


def _head(base: Any, x: torch.Tensor, targets: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies from normed hidden states (M, hidden), a few logits at a time."""
    size = max(1, LOGITS // base.config.get_text_config().vocab_size)

    def part(h: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = base.lm_head(h).float() / temperature  # (m, V), m * V <= LOGITS
        logps = logits - logits.logsumexp(-1, keepdim=True)
        with torch.no_grad():
            entropy = -(logps.exp() * logps).sum(-1)
        return logps.gather(-1, ids[:, None])[:, 0], entropy

    parts = list(zip(x.split(size), targets.split(size), strict=True))
    if len(parts) == 1 or not torch.is_grad_enabled():
        done = [part(*p) for p in parts]
    else:
        done = [checkpoint(part, *p, use_reentrant=False) for p in parts]
    return torch.cat([p for p, _ in done]), torch.cat([e for _, e in done])
