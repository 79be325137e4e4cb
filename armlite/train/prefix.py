"""The update's forward pass: log-probabilities of a group's rollouts, with the prompt that they share computed once.

A batch is packed into one stream without padding: each prompt once, then the completions that go on from it. Every
layer runs on the whole stream; only attention knows where a rollout begins. The model's own modules do the arithmetic,
so LoRA, 4-bit layers, dropout and hooks work as they are, and a checkpointed layer recomputes prompt and completions
together. Numbers are those of a plain forward of each rollout alone, up to rounding. Called by the trainer through
`model.forward`, and with it through whatever wraps the model.
"""

import functools
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from armlite.models.engine.decoder import base_model, rotary
from armlite.models.engine.tokens import Span, Tokens
from armlite.models.engine.vision import Picture
from armlite.train.attention import Branches, packed_attention
from armlite.train.lowrank import lora_linear

LOGITS = 1 << 24
"""Logits (tokens times vocabulary) that are in memory at once; 64 MiB in float32."""


@dataclass(frozen=True, eq=False)
class Row:
    """One rollout of a batch, without padding."""

    number: int
    """Its place in the batch."""
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    wanted: tuple[int, ...]
    """Places in the completion, ascending, of the tokens whose log-probability is wanted."""
    images: tuple[tuple[int, int, int], ...]
    """(number in the batch, first row of `pixel_values`, visual tokens) of each image, prompt first."""
    prompt_images: int
    group: int
    """Equal for rows with the same prompt and the same images in it."""

    @property
    def length(self) -> int:
        """Tokens of the completion that must go through the model: those before the last one wanted."""
        return self.wanted[-1] if self.wanted else 0


@dataclass(frozen=True, eq=False)
class Pack:
    """Rows as one stream of N tokens, and what is wanted of it: M log-probabilities."""

    ids: torch.Tensor
    """(N,)"""
    positions: torch.Tensor
    """(3, N) M-RoPE positions."""
    branches: Branches
    sources: torch.Tensor
    """(M,) token of the stream that predicts each target."""
    targets: torch.Tensor
    """(M,) token ids."""
    places: tuple[torch.Tensor, torch.Tensor]
    """(M,) each: row and column of the batch."""
    pixel_values: torch.Tensor | None
    image_grid_thw: torch.Tensor | None
    visual: tuple[tuple[int, int], ...]
    """(image in `image_grid_thw`, visual tokens of it that are in the stream), in the stream's order."""
    visual_places: torch.Tensor
    """Where the stream has visual tokens: made on the host, so that no device is asked for it."""


def rows_of(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    keep: int,
    image_token: int,
    merge: int,
    wanted: torch.Tensor | None = None,
    pixel_values: torch.Tensor | None = None,
    image_grid_thw: torch.Tensor | None = None,
    num_images: Sequence[int] | None = None,
) -> list[Row]:
    """What a padded batch holds.

    Args:
        input_ids: (B, P + T) prompts padded on the left, completions padded on the right.
        attention_mask: likewise, 0 on padding.
        keep: T.
        image_token: id of a visual token.
        merge: patches that make a visual token.
        wanted: (B, T) tokens whose log-probability is wanted; None: all.
        pixel_values: (patches, d) of all images, row after row.
        image_grid_thw: (images, 3)
        num_images: images of each row.
    """
    lines, mask = input_ids.cpu(), attention_mask.cpu().bool()
    chosen = wanted.cpu().bool() if wanted is not None else mask[:, -keep:]
    befores = mask[:, :-keep].sum(1).tolist()
    patches = image_grid_thw.prod(-1).tolist() if pixel_values is not None else []  # type: ignore[union-attr]
    starts = [sum(patches[:i]) for i in range(len(patches))]
    rows: list[Row] = []
    seen: dict[tuple[int, ...], list[Row]] = {}
    used = 0
    for number, (line, real, before) in enumerate(zip(lines, mask, befores, strict=True)):
        ids = tuple(line[real].tolist())
        prompt, completion = ids[:before], ids[before:]
        own = range(used, used + (num_images[number] if num_images is not None and patches else 0))
        used = own.stop
        images = tuple((i, starts[i], patches[i] // merge) for i in own)
        n, tokens = 0, prompt.count(image_token) if images else 0
        while tokens > 0:
            tokens, n = tokens - images[n][2], n + 1
        twins = seen.setdefault(prompt, [])
        twin = next((r for r in twins if _same_images(r, images[:n], patches, pixel_values)), None)
        want = tuple((chosen[number] & real[-keep:]).nonzero()[:, 0].tolist())
        group = number if twin is None else twin.group
        rows.append(Row(number, prompt, completion, want, images, n, group))
        if twin is None:
            twins.append(rows[-1])
    return rows


def _same_images(
    row: Row, images: Sequence[tuple[int, int, int]], patches: Sequence[int], pixels: torch.Tensor | None
) -> bool:
    """Whether a row's prompt shows the same images."""
    if row.prompt_images != len(images):
        return False
    pairs = zip(row.images, images, strict=False)
    return all(
        patches[i] == patches[j] and torch.equal(pixels[a : a + patches[i]], pixels[b : b + patches[j]])  # type: ignore[index]
        for (i, a, _), (j, b, _) in pairs
    )


def pack_rows(
    rows: Sequence[Row],
    model: Any,
    pixel_values: torch.Tensor | None = None,
    image_grid_thw: torch.Tensor | None = None,
) -> Pack:
    """Put rows into one stream; those of which nothing is wanted are left out.

    Args:
        rows: of one batch; those of a group need not be neighbours.
        model: knows positions, and where the tensors go.
        pixel_values: of the batch.
        image_grid_thw: of the batch.
    """
    inner = base_model(model).model
    image, device = inner.config.image_token_id, inner.language_model.embed_tokens.weight.device
    groups: dict[int, list[Row]] = {}
    for row in rows:
        if row.wanted:
            groups.setdefault(row.group, []).append(row)
    grids = image_grid_thw.cpu() if image_grid_thw is not None else None
    ids: list[int] = []
    positions: list[torch.Tensor] = []
    layout: list[tuple[int, int, list[tuple[int, int]]]] = []
    found: list[tuple[int, int, int, int]] = []
    shown: list[tuple[tuple[int, int, int], int]] = []
    for members in groups.values():
        prompt, start = members[0].prompt, len(ids)
        ids.extend(prompt)
        shown += [(i, i[2]) for i in members[0].images[: members[0].prompt_images]]
        spans: list[tuple[int, int]] = []
        for row in members:
            places = _positions(inner, row, grids)
            if row is members[0]:
                positions.append(places[:, : len(prompt)])
            first = len(ids)
            tail = row.completion[: row.length]
            ids.extend(tail)
            positions.append(places[:, len(prompt) :])
            spans.append((first, len(ids)))
            shown += list(_visible(row.images[row.prompt_images :], tail.count(image)))
            last = start + len(prompt) - 1
            found += [(first + t - 1 if t else last, row.completion[t], row.number, t) for t in row.wanted]
        layout.append((start, len(prompt), spans))
    sources, targets, places, columns = torch.tensor(found, device=device).T
    pixels = grid = None
    if shown:
        pixels = torch.cat([pixel_values[a : a + int(grids[i].prod())] for (i, a, _), _ in shown])  # type: ignore[index]
        grid = torch.stack([image_grid_thw[i] for (i, _, _), _ in shown])  # type: ignore[index]
    return Pack(
        ids=torch.tensor(ids, device=device),
        positions=torch.cat(positions, -1).to(device),
        branches=Branches(tuple((s, n, tuple(b)) for s, n, b in layout)),
        sources=sources,
        targets=targets,
        places=(places, columns),
        pixel_values=pixels,
        image_grid_thw=grid,
        visual=tuple((k, n) for k, (_, n) in enumerate(shown)),
        visual_places=torch.tensor(
            [i for i, token in enumerate(ids) if token == image], dtype=torch.long, device=device
        ),
    )


def _visible(images: Sequence[tuple[int, int, int]], tokens: int) -> Iterator[tuple[tuple[int, int, int], int]]:
    """The images of a completion of which some visual tokens are in the stream, and how many."""
    for image in images:
        if tokens <= 0:
            return
        yield image, min(tokens, image[2])
        tokens -= image[2]


def _positions(inner: Any, row: Row, grids: torch.Tensor | None) -> torch.Tensor:
    """M-RoPE positions (3, tokens) of a row's prompt and of what goes through the model of its completion."""
    ids, spans, at = [*row.prompt, *row.completion], [], 0
    merge = inner.config.vision_config.spatial_merge_size
    for i, _, tokens in row.images:
        at = ids.index(inner.config.image_token_id, at)
        grid = tuple(grids[i].tolist())  # type: ignore[index]
        spans.append(Span(at, Picture("", None, grid, tokens), merge))  # type: ignore[arg-type]
        at += tokens
    places = Tokens(ids=ids, spans=spans).positions(0, len(row.prompt) + row.length)
    return torch.from_numpy(places)


def install_packed_forward(model: Any, temperature: float) -> None:
    """Teach a model's `forward` to answer `packed=Pack` with `packed_logprobs`, through whatever wraps it.

    Args:
        model: `Qwen2_5_VLForConditionalGeneration`, possibly in a PEFT wrapper.
        temperature: that log-probabilities are taken at.
    """
    base = base_model(model)
    plain = base.forward

    @functools.wraps(type(base).forward)  # `generate` and PEFT read the signature
    def forward(self: Any, *args: Any, packed: Pack | None = None, **kwargs: Any) -> Any:
        return plain(*args, **kwargs) if packed is None else packed_logprobs(self, packed, temperature)

    base.forward = types.MethodType(forward, base)


def why_not_packed(model: Any) -> str | None:
    """Why this model cannot run packed, or None."""
    base = base_model(model)
    text = base.model.language_model
    if text.config.use_sliding_window:
        return "sliding-window attention"
    if len(set((getattr(base, "hf_device_map", None) or {"": 0}).values())) > 1:
        return "weights on several devices"
    if text.config.attention_dropout:
        return "attention dropout"
    return None


def packed_logprobs(base: Any, packed: Pack, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (M,) of the targets under softmax(logits / temperature), and entropies (M,) without gradient.

    Args:
        base: `Qwen2_5_VLForConditionalGeneration`.
        packed: the stream.
        temperature: see above.
    """
    text = base.model.language_model
    x = _embed(base, packed)
    cos, sin = rotary(text, packed.positions, x.dtype)
    for layer in text.layers:
        rows = packed.sources if layer is text.layers[-1] else None
        if layer.training and getattr(layer, "gradient_checkpointing", False) and torch.is_grad_enabled():
            x = checkpoint(_layer, layer, x, cos, sin, packed.branches, rows, use_reentrant=False)
        else:
            x = _layer(layer, x, cos, sin, packed.branches, rows)
    return _head(base, text.norm(x), packed.targets, temperature)


def _embed(base: Any, packed: Pack) -> torch.Tensor:
    """Embeddings (N, hidden), visual tokens in their places."""
    embed = base.model.language_model.embed_tokens
    x = embed(packed.ids)
    if not embed.weight.requires_grad:
        x = x.detach()  # a hook for reentrant checkpoints wants a gradient here that nobody needs
    if packed.pixel_values is None:
        return x
    features = base.model.get_image_features(packed.pixel_values, packed.image_grid_thw).pooler_output
    seen = torch.cat([features[k][:n] for k, n in packed.visual]).to(x)
    return x.index_copy(0, packed.visual_places, seen)


def _layer(
    layer: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, branches: Branches, rows: torch.Tensor | None
) -> torch.Tensor:
    """One decoder layer on the stream (N, hidden); `rows`: the tokens that are needed behind it, None: all."""
    a, h = layer.self_attn, layer.input_layernorm(x)
    q, k, v = (lora_linear(p, h).view(len(x), -1, a.head_dim) for p in (a.q_proj, a.k_proj, a.v_proj))
    half = a.head_dim // 2
    q = torch.addcmul(q * cos, q.roll(half, -1), sin)
    k = torch.addcmul(k * cos, k.roll(half, -1), sin)
    mixed = packed_attention(q, k, v, branches).flatten(1)
    if rows is not None:
        x, mixed = x[rows], mixed[rows]
    x = x + lora_linear(a.o_proj, mixed)
    m, h = layer.mlp, layer.post_attention_layernorm(x)
    return x + lora_linear(m.down_proj, m.act_fn(lora_linear(m.gate_proj, h)) * lora_linear(m.up_proj, h))


def _head(base: Any, x: torch.Tensor, targets: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies from normed hidden states (M, hidden), a few logits at a time."""
    size = max(1, LOGITS // base.config.get_text_config().vocab_size)

    def part(h: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = base.lm_head(h).float() / temperature
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
