"""Prompts that several conversations share: each goes through the model once, and is copied to the others.

Holds the cached keys and values of prompts whose last holder has left while others with the same prompt still wait; as
long as one of them is in a slot, that slot is the copy. Nothing is kept that nobody waits for.
"""

from collections.abc import Collection, Iterable, Sequence

import torch

from armlite.models.engine.cache import Slab
from armlite.models.engine.sequence import Track


class Prefixes:
    """Shared prompts of one session."""

    def __init__(self) -> None:
        self._kept: dict[bytes, list[torch.Tensor]] = {}

    def give(self, track: Track, held: Sequence[Track], slab: Slab) -> bool:
        """Copy the prompt into a track's slot from whoever has it; False where nobody has."""
        n = track.tokens.prompt - 1
        other = next((t for t in held if t.key == track.key and t.cached >= n), None)
        if other is not None:
            slab.copy(other.slot, track.slot, n)  # type: ignore[arg-type]
        elif track.key in self._kept:
            slab.put(track.slot, self._kept[track.key])  # type: ignore[arg-type]
        else:
            return False
        track.cached = n
        return True

    def keep(self, track: Track, held: Sequence[Track], waiting: Iterable[Track], slab: Slab) -> None:
        """Save the prompt of a track that leaves its slot, if someone waits for it and nobody else in a slot has it."""
        n, key = track.tokens.prompt - 1, track.key
        if track.cached < n or key in self._kept or not any(t.key == key for t in waiting):
            return
        if not any(t is not track and t.key == key and t.cached >= n for t in held):
            self._kept[key] = slab.take(track.slot, n)  # type: ignore[arg-type]

    def drop(self, waiting: Iterable[Track]) -> None:
        """Forget the prompts that nobody waits for."""
        wanted: Collection[bytes] = {t.key for t in waiting}
        self._kept = {key: taken for key, taken in self._kept.items() if key in wanted}

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()
