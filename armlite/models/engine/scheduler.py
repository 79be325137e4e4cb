"""The engine's scheduler: which conversations hold a slot of the key-value cache, and which wait for one.

Invariants: slots in use have no holes (`held[i]` sits in slot `i`); a conversation that waits has nothing in the cache;
the cache never takes more tokens than the budget, which is why the newest may have to leave. Who comes and goes depends
on nothing but the order of what was asked for. It never runs the model.
"""

from collections import deque
from collections.abc import Callable

from armlite.errors import ArmliteError
from armlite.models.engine.kv_cache import KVCache
from armlite.models.engine.oom import print_to_stderr
from armlite.models.engine.prefix_cache import PrefixCache
from armlite.models.engine.sequence import Sequence, Stats
from armlite.models.sampling import CACHE_BLOCK, EngineSettings, Sampling

HEADROOM = 256
"""Tokens a conversation is expected to grow by when it is decided whether it still fits into the cache."""


class Scheduler:
    """The slots of one session.

    Args:
        make_cache: makes an empty cache.
        sampling: for the budgets of a conversation.
        settings: for those of the cache.
        stats: where evictions and shortages are counted.

    Raises:
        ArmliteError: the cache is too small for one conversation.
    """

    def __init__(self, make_cache: Callable[[], KVCache], sampling: Sampling, settings: EngineSettings, stats: Stats):
        self._make_cache, self._sampling, self.settings, self._stats = make_cache, sampling, settings, stats
        self.cache = make_cache()
        self.held: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self._prefixes = PrefixCache()
        budget, name = settings.max_tokens_in_cache, "max_tokens_in_cache"
        if settings.kv_budget_gib is not None:
            budget, name = int(settings.kv_budget_gib * 2**30 / self.cache.token_bytes), "kv_budget_gib, in tokens,"
        self._budget = budget
        if budget is not None and budget < _whole_blocks(sampling.max_context):
            raise ArmliteError(
                f"{name} is {budget}, but one conversation may need {_whole_blocks(sampling.max_context)} "
                f"(max_context {sampling.max_context}): raise the first or lower the second"
            )

    @property
    def active(self) -> list[Sequence]:
        """Those in slots whose turn has not ended, in the order of the slots."""
        return [s for s in self.held if s.active]

    def schedule(self) -> None:
        """Give slots to those who wait as far as there is room, then make the cache hold all that is known of them."""
        self._admit()
        self._make_room()

    def remove(self, sequence: Sequence) -> None:
        """A conversation has ended, or is no longer wanted."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        self._release(sequence)

    def copy_shared(self, sequence: Sequence) -> None:
        """Copy what others have of a sequence's missing tokens into its slot."""
        self._prefixes.fill(sequence, self.held, self.cache)

    def drop_unused_prefixes(self) -> None:
        """Forget the prompts that nobody waits for."""
        self._prefixes.drop_unused(self.waiting)

    def shrink(self) -> list[Sequence]:
        """Memory has run out: all leave the cache, and at most half as many come back at once.

        Returns:
            Those whose turn has to go on, now in the queue.

        Raises:
            ArmliteError: one conversation alone is too much.
        """
        held, prefill = self.held, self.settings.prefill_tokens
        if len(held) <= 1 and prefill <= CACHE_BLOCK:
            raise ArmliteError(
                "out of memory in the rollout with one conversation at a time; the cheapest ways out: "
                "a lower max_context, smaller images (episode.limits), model.quantize: 4bit"
            )
        less = {"max_slots": max(1, len(held) // 2), "prefill_tokens": max(CACHE_BLOCK, prefill // 2)}
        self.settings = self.settings.model_copy(update=less)
        self._stats.shortages += 1
        print_to_stderr(
            f"rollout: out of memory; goes on with {less['max_slots']} slots, prefill_tokens {less['prefill_tokens']}"
        )
        self.held, self.cache = [], self._make_cache()
        self._prefixes.clear()
        for sequence in reversed(held):  # so that the oldest is the first in the queue again
            sequence.slot, sequence.cached = None, 0
            if sequence.active:
                self._stats.evictions += 1
                self.waiting.appendleft(sequence)
        return [sequence for sequence in held if sequence.active]

    def _admit(self) -> None:
        """Give slots to those who wait, in order, as far as there is room."""
        while self.waiting:
            if not self._fits(self.waiting[0]):
                # Idle ones keep their slots as long as anybody decodes, and give them up rather than block everything.
                if self.active or not self.held:
                    return
                self._evict(self.held[-1])
                continue
            sequence = self.waiting.popleft()
            sequence.slot = len(self.held)
            self.held.append(sequence)

    def _expected(self, sequence: Sequence) -> int:
        """Tokens that a conversation is expected to have soon."""
        rest = min(HEADROOM, self._sampling.max_new_tokens)
        return min(sequence.length + rest + 1, self._sampling.max_context)

    def _fits(self, sequence: Sequence) -> bool:
        slots = len(self.held) + 1
        if slots > self.settings.max_slots:
            return False
        longest = max(self._expected(s) for s in [*self.held, sequence])
        return self._budget is None or slots * _whole_blocks(longest) <= self._budget

    def _make_room(self) -> None:
        """Make the cache hold all tokens of those in slots; the newest go back to the queue where it cannot."""
        cache, budget = self.cache, self._budget
        # All slots are as long as the longest, so what counts against the budget is slots times that length.
        while budget is not None and len(self.held) * _whole_blocks(max(s.length for s in self.held)) > budget:
            self._evict(self.held[-1])
        if len(self.held) <= cache.slots and all(s.length <= cache.length for s in self.held):
            return
        length = max(cache.length, _whole_blocks(max(self._expected(s) for s in self.held)))
        slots = max(cache.slots, min(len(self.held) + len(self.waiting), self.settings.max_slots))
        if budget is not None:
            length = max(min(length, budget // len(self.held)), _whole_blocks(max(s.length for s in self.held)))
            slots = min(slots, budget // length)
        cache.resize(slots, length)
        self._stats.cache_bytes = max(self._stats.cache_bytes, slots * length * cache.token_bytes)

    def _evict(self, sequence: Sequence) -> None:
        """Take a conversation out of the cache; if it is active it waits, first in the queue, to come back."""
        self._release(sequence)
        self._stats.evictions += 1
        if sequence.active:
            self.waiting.appendleft(sequence)

    def _release(self, sequence: Sequence) -> None:
        """Free a slot; the last one moves into its place, so that slots in use have no holes."""
        if sequence.slot is None:
            return
        self._prefixes.save(sequence, self.held, self.waiting, self.cache)
        last = self.held.pop()
        if last is not sequence:
            self.cache.copy(last.slot, sequence.slot, last.cached)  # type: ignore[arg-type]
            self.held[sequence.slot], last.slot = last, sequence.slot
        sequence.slot, sequence.cached = None, 0


def _whole_blocks(tokens: int) -> int:
    """Tokens, rounded up to whole blocks of the cache."""
    return -(-tokens // CACHE_BLOCK) * CACHE_BLOCK
