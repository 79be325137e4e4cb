"""From logits to tokens: forbidden ids, temperature, top-k, top-p, and draws by inverse CDF from given uniforms."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from armlite.errors import ArmliteError
from armlite.models.sampling import Sampling


def sample_tokens(
    logits: torch.Tensor,
    sampling: Sampling,
    forbidden: torch.Tensor,
    uniforms: Sequence[float],
    forced: Sequence[int] | None = None,
) -> tuple[list[int], list[float]]:
    """Sample one token a row.

    Args:
        logits: (B, V), any float type.
        sampling: temperature, top_k, top_p.
        forbidden: ids that are never sampled.
        uniforms: one number in [0, 1) a row; not used when greedy.
        forced: token to take whatever the logits say, or -1, for each row.

    Raises:
        ArmliteError: logits that are not finite (NaN, or infinity).

    Returns:
        The tokens, and their log-probabilities under softmax(logits / temperature) over the whole vocabulary, as TRL
        computes them: neither forbidden ids nor top-k and top-p renormalise. At temperature 0: under softmax(logits).
    """
    half = logits.dtype == torch.float16
    logits = logits.float()
    if logits.device.type == "mps":  # which has no float64
        logits, forbidden = logits.cpu(), forbidden.cpu()
    if sampling.temperature > 0:
        logits = logits / sampling.temperature
    allowed = logits.index_fill(-1, forbidden, float("-inf"))
    if sampling.temperature > 0:
        drawn = torch.tensor(uniforms, dtype=torch.float64)
        tokens = _inverse_cdf(_filter(allowed, sampling), drawn.to(logits.device, non_blocking=True))
    else:
        tokens = allowed.argmax(-1, keepdim=True)
    if forced is not None:
        given = torch.tensor(forced).to(logits.device, non_blocking=True)[:, None]
        tokens = torch.where(given >= 0, given, tokens)
    logprobs = logits.gather(-1, tokens)[:, 0] - logits.logsumexp(-1)
    # The bits of both in one tensor: reading one from a card waits for it, and a step is to wait once.
    both = np.array(torch.stack((tokens[:, 0].int(), logprobs.view(torch.int32))).tolist(), np.int32)
    said = both[1].view(np.float32).tolist()
    if not all(map(math.isfinite, said)):
        raise ArmliteError(
            "the model's logits are not finite (NaN or infinity): its weights are damaged, or its precision too low"
            f"{' (float16 ends at 65,504; a card from 2020 on has bfloat16)' if half else ''}; take an earlier "
            "checkpoint, train again with a lower learning rate, or load it as float32"
        )
    return both[0].tolist(), said


def top_logprobs(
    logits: torch.Tensor, tokens: Sequence[int], count: int
) -> list[tuple[float, list[tuple[int, float]]]]:
    """For each row the log-probability of its token, and the `count` likeliest ids with theirs, before temperature.

    Args:
        logits: (B, V).
        tokens: B ids.
        count: k.
    """
    logprobs = logits.float().log_softmax(-1)
    values, ids = logprobs.topk(min(count, logprobs.shape[-1]), dim=-1)  # (B, k)
    own = logprobs.gather(-1, torch.tensor(tokens, device=logits.device)[:, None])[:, 0]
    rows = zip(own.tolist(), ids.tolist(), values.tolist(), strict=True)
    return [(said, list(zip(i, v, strict=True))) for said, i, v in rows]


def _filter(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Logits (B, V) with -inf outside top-k and top-p; the likeliest token always stays."""
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        share = ordered.softmax(-1)
        ordered = ordered.masked_fill(share.cumsum(-1) - share >= sampling.top_p, float("-inf"))
        logits = logits.scatter(-1, order, ordered)
    return logits


def _inverse_cdf(logits: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """First token (B, 1) at which the cumulated probability exceeds the row's uniform: never one of probability 0."""
    cumulated = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    target = uniforms.clamp(max=1 - 1e-9)[:, None] * cumulated[:, -1:]
    # Where a logit is NaN nothing exceeds it; an id behind the last would end the process on a GPU.
    return torch.searchsorted(cumulated, target, right=True).clamp(max=logits.shape[-1] - 1)
