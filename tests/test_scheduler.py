"""The scheduler and the shared prompts, without a model: what has to hold whatever comes and goes."""

import random

import pytest
import torch

from armlite.errors import ArmliteError
from armlite.models.engine.kv_cache import KVCache
from armlite.models.engine.scheduler import CACHE_BLOCK, Scheduler
from armlite.models.engine.sequence import Sequence, Stats
from armlite.models.engine.tokens import Tokens
from armlite.models.sampling import EngineSettings, Sampling
from armlite.protocol.render import Conversation

SAMPLING = Sampling(max_context=1000, max_new_tokens=100)


def new_cache():
    return KVCache(layers=2, kv_heads=2, head_dim=4, dtype=torch.float32, device=torch.device("cpu"))


def make(stats=None, **settings):
    return Scheduler(new_cache, SAMPLING, EngineSettings(**settings), stats or Stats())


def sequence(name, length, key=b"", prompt=None):
    """A conversation whose turn has been asked for, the tokens up to `prompt` being the prompt."""
    tokens = Tokens()
    key = key or name.encode()
    first = sum(key) * 1000  # prompts of other keys begin otherwise
    tokens.extend([first + i for i in range(prompt or length)], [])
    if prompt is not None and length > prompt:
        tokens.extend(list(range(length - prompt)), [])
    tokens.prompt_key = key
    return Sequence(Conversation(name), tokens=tokens, active=True)


def check(scheduler, budget):
    """The invariants."""
    assert [t.slot for t in scheduler.held] == list(range(len(scheduler.held))), "no holes"
    assert all(t.slot is None and t.cached == 0 for t in scheduler.waiting), "who waits holds nothing"
    assert len(scheduler.held) <= scheduler.cache.slots and all(
        t.length <= scheduler.cache.length for t in scheduler.held
    )
    assert budget is None or scheduler.cache.slots * scheduler.cache.length <= budget


@pytest.mark.parametrize("budget", [None, 1024, 2048, 5000])
@pytest.mark.parametrize("seed", range(5))
def test_slots_have_no_holes_and_stay_within_the_budget_whatever_comes_and_goes(budget, seed):
    rng, stats = random.Random(seed), Stats()
    scheduler = make(stats, max_slots=6, max_tokens_in_cache=budget)
    ended = 0
    for n in range(80):
        if rng.random() < 0.6:
            scheduler.waiting.append(sequence(str(n), rng.randint(5, 900)))
        if not scheduler.waiting and not scheduler.active:
            continue
        scheduler.schedule()
        check(scheduler, budget)
        assert scheduler.active, "someone is always being served"
        for t in scheduler.active:
            t.cached = t.length - 1
        one = rng.choice(scheduler.active)
        if rng.random() < 0.5:
            one.active = False  # its turn has ended; a tool runs
            if rng.random() < 0.7:
                scheduler.remove(one)
                ended += 1
        elif one.length < 980:
            one.tokens.extend([1] * rng.randint(1, 15), [])
    assert ended > 5
    assert budget != 1024 or stats.evictions > 0


def test_those_who_wait_are_served_in_order():
    scheduler = make(max_slots=2)
    sequences = [sequence(str(n), 10) for n in range(4)]
    scheduler.waiting.extend(sequences)
    scheduler.schedule()
    assert scheduler.active == sequences[:2]
    scheduler.remove(sequences[0])
    scheduler.schedule()
    assert sorted(scheduler.active, key=sequences.index) == sequences[1:3]


def test_a_prompt_is_copied_from_whoever_holds_it_and_outlives_its_last_holder_while_someone_waits():
    scheduler = make(max_slots=1)
    first, second, other = sequence("a", 9, b"p"), sequence("b", 9, b"p"), sequence("c", 9, b"q")
    scheduler.waiting.extend([first, second, other])
    scheduler.schedule()
    scheduler.copy_shared(first)
    assert first.cached == 0, "nobody has it yet"
    for tensor in (*scheduler.cache.keys, *scheduler.cache.values):
        tensor[0, :, :8] = 7.0
    first.cached = 8
    scheduler.remove(first)
    scheduler.schedule()
    assert scheduler.active == [second]
    for tensor in (*scheduler.cache.keys, *scheduler.cache.values):
        tensor.zero_()
    scheduler.copy_shared(second)
    assert second.cached == 8
    assert all(bool((tensor[0, :, :8] == 7.0).all()) for tensor in (*scheduler.cache.keys, *scheduler.cache.values))
    scheduler.remove(second)
    scheduler.drop_unused_prefixes()
    scheduler.schedule()
    scheduler.copy_shared(other)
    assert scheduler.active == [other] and other.cached == 0


def test_a_shortage_empties_the_cache_and_halves_what_comes_back():
    stats = Stats()
    scheduler = make(stats, max_slots=4, prefill_tokens=256)
    sequences = [sequence(str(n), 50) for n in range(4)]
    scheduler.waiting.extend(sequences)
    scheduler.schedule()
    sequences[3].active = False
    assert scheduler.shrink() == sequences[:3]
    assert list(scheduler.waiting) == sequences[:3] and not scheduler.held and scheduler.cache.slots == 0
    assert (scheduler.settings.max_slots, scheduler.settings.prefill_tokens) == (2, 128)
    assert (stats.shortages, stats.evictions) == (1, 3)
    scheduler.schedule()
    assert scheduler.active == sequences[:2]


def test_a_shortage_with_one_conversation_and_the_smallest_pass_is_the_end():
    scheduler = make(max_slots=1, prefill_tokens=CACHE_BLOCK)
    scheduler.waiting.append(sequence("a", 10))
    scheduler.schedule()
    with pytest.raises(ArmliteError, match="lower max_context"):
        scheduler.shrink()


def test_a_budget_in_gib_is_one_in_tokens():
    # 2 layers x 2 heads x 4 numbers x 4 bytes, keys and values: 128 bytes a token.
    assert new_cache().token_bytes == 128
    scheduler = make(kv_budget_gib=2048 * 128 / 2**30)
    scheduler.waiting.extend(sequence(str(n), 900) for n in range(3))
    scheduler.schedule()
    assert len(scheduler.active) == 2
    with pytest.raises(ArmliteError, match="kv_budget_gib, in tokens, is 512"):
        make(kv_budget_gib=512 * 128 / 2**30)
    with pytest.raises(ValueError, match="give one of them"):
        EngineSettings(kv_budget_gib=1, max_tokens_in_cache=1000)
