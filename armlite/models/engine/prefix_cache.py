"""Beginnings that several conversations share: computed once, and their keys and values copied to the others.

Not prompts alone: rollouts that have said the same so far and were shown the same go on sharing, and other tasks share
what the prompts begin with. Whoever is in a slot has the copy. When the last one with a prompt leaves and others with
the same prompt still wait, the prompt is saved here until they have it. Nothing is kept that nobody waits for.
"""

from collections.abc import Iterable

import torch

from armlite.models.engine.kv_cache import KVCache
from armlite.models.engine.sequence import Sequence
from armlite.models.engine.tokens import common_prefix

LEAST = 32
"""Tokens from which on it is worth a pass of its own that others wait and copy."""


class PrefixCache:
    """Shared beginnings of one session."""

    def __init__(self) -> None:
        self._saved: dict[bytes, list[torch.Tensor]] = {}

    def fill(self, sequence: Sequence, held: list[Sequence], cache: KVCache) -> None:
        """Copy what is known of a sequence's missing tokens into its slot, from whoever has most of them."""
        best, source = 0, None
        for other in held:
            if other.cached > max(best, sequence.cached) and other is not sequence:
                n = min(shared_tokens(sequence, other), other.cached, sequence.length - 1)
                if n > best and worth_sharing(sequence, n):
                    best, source = n, other
        saved = self._saved.get(sequence.prompt_key) if sequence.cached == 0 else None
        if saved is not None and sequence.prefix > best:
            best = sequence.prefix
            cache.write(sequence.slot, saved)  # type: ignore[arg-type]
        elif source is not None:
            cache.copy(source.slot, sequence.slot, best, sequence.cached)  # type: ignore[arg-type]
        sequence.cached = max(sequence.cached, best)

    def save(self, leaving: Sequence, held: list[Sequence], waiting: Iterable[Sequence], cache: KVCache) -> None:
        """Save the prompt of a sequence that leaves its slot, if one that waits needs it and no other slot has it."""
        n, key = leaving.prefix, leaving.prompt_key
        if leaving.cached < n or key in self._saved or not any(s.prompt_key == key for s in waiting):
            return
        if not any(s is not leaving and s.prompt_key == key and s.cached >= n for s in held):
            self._saved[key] = cache.read(leaving.slot, n)  # type: ignore[arg-type]

    def drop_unused(self, waiting: Iterable[Sequence]) -> None:
        """Forget the prompts that nobody waits for."""
        needed = {s.prompt_key for s in waiting}
        self._saved = {key: saved for key, saved in self._saved.items() if key in needed}

    def clear(self) -> None:
        """Forget all of them."""
        self._saved.clear()


def shared_tokens(sequence: Sequence, other: Sequence) -> int:
    """Tokens that two sequences begin with alike; 0 where those of the first that are cached differ already."""
    if sequence.prompt_key == other.prompt_key:
        known = min(sequence.prefix, other.prefix)
    elif sequence.cached:
        return 0  # what prompts begin with is shared when a sequence begins
    else:
        known = 0
    mine, theirs = sequence.tokens.path, other.tokens.path
    last = max(sequence.cached - 1, 0)
    if len(theirs) <= last or mine[last] != theirs[last]:
        return 0
    return common_prefix(mine, theirs, known)


def worth_sharing(sequence: Sequence, tokens: int) -> bool:
    """Whether it is worth while to have the first so many of a sequence's tokens from another."""
    missing = sequence.length - 1 - sequence.cached  # the last one is decoded, by each itself
    return min(tokens - sequence.cached, missing) >= min(LEAST, missing)


def later_from(sequence: Sequence, other: Sequence) -> bool:
    """Whether a sequence should wait for what another is about to compute."""
    if other.length - 1 <= sequence.cached:
        return False
    return worth_sharing(sequence, min(shared_tokens(sequence, other), other.length - 1))
