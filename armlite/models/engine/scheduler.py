"""The engine's scheduler: which conversations hold a slot of the key-value cache, and which wait for one.

Slots in use have no holes: `held[i]` sits in slot `i`. A conversation that waits has nothing in the cache. The slab
never holds more tokens than the budget, which is why the newest may have to leave; who comes and goes depends on
nothing but the order of what was asked for. It never runs the model.
"""

from collections import deque
from collections.abc import Callable

from armlite.errors import ArmliteError
from armlite.models.engine.cache import Slab
from armlite.models.engine.oom import say
from armlite.models.engine.prefixes import Prefixes
from armlite.models.engine.sequence import Stats, Track
from armlite.models.sampling import GRAIN, EngineSettings, Sampling

HEADROOM = 256
"""Tokens a conversation is expected to grow by when it is decided whether it still fits into the cache."""


class Slots:
    """The slots of one session.

    Args:
        make_slab: makes an empty cache.
        sampling: for the budgets of a conversation.
        settings: for those of the cache.
        stats: where evictions and shortages are counted.

    Raises:
        ArmliteError: the cache is too small for one conversation.
    """

    def __init__(self, make_slab: Callable[[], Slab], sampling: Sampling, settings: EngineSettings, stats: Stats):
        self._make_slab, self._sampling, self.settings, self._stats = make_slab, sampling, settings, stats
        self.slab = make_slab()
        self.held: list[Track] = []
        self.queue: deque[Track] = deque()
        self._prefixes = Prefixes()
        budget, name = settings.max_tokens_in_cache, "max_tokens_in_cache"
        if settings.kv_budget_gib is not None:
            budget, name = int(settings.kv_budget_gib * 2**30 / self.slab.token_bytes), "kv_budget_gib, in tokens,"
        self._budget = budget
        if budget is not None and budget < _grains(sampling.max_context):
            raise ArmliteError(
                f"{name} is {budget}, but one conversation may need {_grains(sampling.max_context)} "
                f"(max_context {sampling.max_context}): raise the first or lower the second"
            )

    @property
    def active(self) -> list[Track]:
        """Those in slots whose turn has not ended, in the order of the slots."""
        return [t for t in self.held if t.active]

    def arrange(self) -> None:
        """Give slots to those who wait as far as there is room, then make the slab hold all that is known of them."""
        self._admit()
        self._make_room()

    def leave(self, track: Track) -> None:
        """A conversation has ended, or is no longer wanted."""
        if track in self.queue:
            self.queue.remove(track)
        self._release(track)

    def share(self, track: Track) -> bool:
        """Copy a prompt that is known already into a track's slot; False where it is not."""
        return self._prefixes.give(track, self.held, self.slab)

    def tidy(self) -> None:
        """Forget the prompts that nobody waits for."""
        self._prefixes.drop(self.queue)

    def shrink(self) -> list[Track]:
        """Memory has run out: all leave the cache, and at most half as many come back at once.

        Returns:
            Those whose turn has to go on, now in the queue.

        Raises:
            ArmliteError: one conversation alone is too much.
        """
        held, prefill = self.held, self.settings.prefill_tokens
        if len(held) <= 1 and prefill <= GRAIN:
            raise ArmliteError(
                "out of memory in the rollout with one conversation at a time; the cheapest ways out: "
                "a lower max_context, smaller images (episode.limits), model.quantize: 4bit"
            )
        less = {"max_slots": max(1, len(held) // 2), "prefill_tokens": max(GRAIN, prefill // 2)}
        self.settings = self.settings.model_copy(update=less)
        self._stats.shortages += 1
        say(f"rollout: out of memory; goes on with {less['max_slots']} slots, prefill_tokens {less['prefill_tokens']}")
        self.held, self.slab = [], self._make_slab()
        self._prefixes.clear()
        for track in reversed(held):
            track.slot, track.cached = None, 0
            if track.active:
                self._stats.evictions += 1
                self.queue.appendleft(track)
        return [track for track in held if track.active]

    def _admit(self) -> None:
        """Give slots to those who wait, in order, as far as there is room."""
        while self.queue:
            if not self._fits(self.queue[0]):
                idle = [t for t in self.held if not t.active]
                if len(idle) < len(self.held) or not idle:
                    return
                self._evict(idle[-1])
                continue
            track = self.queue.popleft()
            track.slot = len(self.held)
            self.held.append(track)

    def _expected(self, track: Track) -> int:
        """Tokens that a conversation is expected to have soon."""
        rest = min(HEADROOM, self._sampling.max_new_tokens)
        return min(track.length + rest + 1, self._sampling.max_context)

    def _fits(self, track: Track) -> bool:
        slots = len(self.held) + 1
        if slots > self.settings.max_slots:
            return False
        longest = max(self._expected(t) for t in [*self.held, track])
        return self._budget is None or slots * _grains(longest) <= self._budget

    def _make_room(self) -> None:
        """Make the slab hold all tokens of those in slots; the newest go back to the queue where it cannot."""
        slab, budget = self.slab, self._budget
        while budget is not None and len(self.held) * _grains(max(t.length for t in self.held)) > budget:
            self._evict(self.held[-1])
        if len(self.held) <= slab.slots and all(t.length <= slab.length for t in self.held):
            return
        length = max(slab.length, _grains(max(self._expected(t) for t in self.held)))
        slots = max(slab.slots, min(len(self.held) + len(self.queue), self.settings.max_slots))
        if budget is not None:
            length = max(min(length, budget // len(self.held)), _grains(max(t.length for t in self.held)))
            slots = min(slots, budget // length)
        slab.resize(slots, length)

    def _evict(self, track: Track) -> None:
        """Take a conversation out of the cache; if it is active it waits, first in the queue, to come back."""
        self._release(track)
        self._stats.evictions += 1
        if track.active:
            self.queue.appendleft(track)

    def _release(self, track: Track) -> None:
        """Free a slot; the last one moves into its place, so that slots in use have no holes."""
        if track.slot is None:
            return
        self._prefixes.keep(track, self.held, self.queue, self.slab)
        last = self.held.pop()
        if last is not track:
            self.slab.copy(last.slot, track.slot, last.cached)  # type: ignore[arg-type]
            self.held[track.slot], last.slot = last, track.slot
        track.slot, track.cached = None, 0


def _grains(tokens: int) -> int:
    return -(-tokens // GRAIN) * GRAIN
