"""Prompts that several conversations share: each is prefilled once, and its keys and values are copied to the others.

While one of them is in a slot, that slot is the copy. When the last one leaves and others with the same prompt still
wait, the prompt is saved here until they have it. Nothing is kept that nobody waits for.
"""

from collections.abc import Iterable

import torch

from armlite.models.engine.kv_cache import KVCache
from armlite.models.engine.sequence import Sequence


class PrefixCache:
    """Shared prompts of one session, by `prompt_key`."""

    def __init__(self) -> None:
        self._saved: dict[bytes, list[torch.Tensor]] = {}

    def fill(self, sequence: Sequence, held: list[Sequence], cache: KVCache) -> bool:
        """Copy the prompt into a sequence's slot from whoever has it; False where nobody has."""
        n = sequence.prefix
        other = next((s for s in held if s.prompt_key == sequence.prompt_key and s.cached >= n), None)
        if other is not None:
            cache.copy(other.slot, sequence.slot, n)  # type: ignore[arg-type]
        elif sequence.prompt_key in self._saved:
            cache.write(sequence.slot, self._saved[sequence.prompt_key])  # type: ignore[arg-type]
        else:
            return False
        sequence.cached = n
        return True

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
