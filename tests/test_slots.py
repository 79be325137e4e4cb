"""The scheduler and the shared prompts, without a model: what has to hold whatever comes and goes."""

import random

import pytest
import torch

from armlite.errors import ArmliteError
from armlite.models.engine.cache import Slab
from armlite.models.engine.scheduler import GRAIN, Slots
from armlite.models.engine.sequence import Stats, Track
from armlite.models.engine.tokens import Tokens
from armlite.models.sampling import EngineSettings, Sampling
from armlite.protocol.render import Conversation

SAMPLING = Sampling(max_context=1000, max_new_tokens=100)


def slab():
    return Slab(layers=2, kv_heads=2, head_dim=4, dtype=torch.float32, device=torch.device("cpu"))


def make(stats=None, **settings):
    return Slots(slab, SAMPLING, EngineSettings(**settings), stats or Stats())


def track(name, length, key=b"", prompt=None):
    """A conversation whose turn has been asked for, the tokens up to `prompt` being the prompt."""
    tokens = Tokens()
    tokens.extend(list(range(prompt or length)), [])
    if prompt is not None and length > prompt:
        tokens.extend(list(range(length - prompt)), [])
    return Track(Conversation(name), tokens=tokens, key=key or name.encode(), active=True)


def check(slots, budget):
    """The invariants."""
    assert [t.slot for t in slots.held] == list(range(len(slots.held))), "no holes"
    assert all(t.slot is None and t.cached == 0 for t in slots.queue), "who waits holds nothing"
    assert len(slots.held) <= slots.slab.slots and all(t.length <= slots.slab.length for t in slots.held)
    assert budget is None or slots.slab.slots * slots.slab.length <= budget


@pytest.mark.parametrize("budget", [None, 1024, 2048, 5000])
@pytest.mark.parametrize("seed", range(5))
def test_slots_have_no_holes_and_stay_within_the_budget_whatever_comes_and_goes(budget, seed):
    rng, stats = random.Random(seed), Stats()
    slots = make(stats, max_slots=6, max_tokens_in_cache=budget)
    ended = 0
    for n in range(80):
        if rng.random() < 0.6:
            slots.queue.append(track(str(n), rng.randint(5, 900)))
        if not slots.queue and not slots.active:
            continue
        slots.arrange()
        check(slots, budget)
        assert slots.active, "someone is always being served"
        for t in slots.active:
            t.cached = t.length - 1
        one = rng.choice(slots.active)
        if rng.random() < 0.5:
            one.active = False  # its turn has ended; a tool runs
            if rng.random() < 0.7:
                slots.leave(one)
                ended += 1
        elif one.length < 980:
            one.tokens.extend([1] * rng.randint(1, 15), [])
    assert ended > 5
    assert budget != 1024 or stats.evictions > 0


def test_those_who_wait_are_served_in_order():
    slots = make(max_slots=2)
    tracks = [track(str(n), 10) for n in range(4)]
    slots.queue.extend(tracks)
    slots.arrange()
    assert slots.active == tracks[:2]
    slots.leave(tracks[0])
    slots.arrange()
    assert sorted(slots.active, key=tracks.index) == tracks[1:3]


def test_a_prompt_is_copied_from_whoever_holds_it_and_outlives_its_last_holder_while_someone_waits():
    slots = make(max_slots=1)
    first, second, other = track("a", 9, b"p"), track("b", 9, b"p"), track("c", 9, b"q")
    slots.queue.extend([first, second, other])
    slots.arrange()
    assert not slots.share(first), "nobody has it yet"
    for tensor in (*slots.slab.keys, *slots.slab.values):
        tensor[0, :, :8] = 7.0
    first.cached = 8
    slots.leave(first)
    slots.arrange()
    assert slots.active == [second]
    for tensor in (*slots.slab.keys, *slots.slab.values):
        tensor.zero_()
    assert slots.share(second) and second.cached == 8
    assert all(bool((tensor[0, :, :8] == 7.0).all()) for tensor in (*slots.slab.keys, *slots.slab.values))
    slots.leave(second)
    slots.tidy()
    slots.arrange()
    assert slots.active == [other] and not slots.share(other)


def test_a_shortage_empties_the_cache_and_halves_what_comes_back():
    stats = Stats()
    slots = make(stats, max_slots=4, prefill_tokens=256)
    tracks = [track(str(n), 50) for n in range(4)]
    slots.queue.extend(tracks)
    slots.arrange()
    tracks[3].active = False
    assert slots.shrink() == tracks[:3]
    assert list(slots.queue) == tracks[:3] and not slots.held and slots.slab.slots == 0
    assert (slots.settings.max_slots, slots.settings.prefill_tokens) == (2, 128)
    assert (stats.shortages, stats.evictions) == (1, 3)
    slots.arrange()
    assert slots.active == tracks[:2]


def test_a_shortage_with_one_conversation_and_the_smallest_pass_is_the_end():
    slots = make(max_slots=1, prefill_tokens=GRAIN)
    slots.queue.append(track("a", 10))
    slots.arrange()
    with pytest.raises(ArmliteError, match="lower max_context"):
        slots.shrink()


def test_a_budget_in_gib_is_one_in_tokens():
    # 2 layers x 2 heads x 4 numbers x 4 bytes, keys and values: 128 bytes a token.
    assert slab().token_bytes == 128
    slots = make(kv_budget_gib=2048 * 128 / 2**30)
    slots.queue.extend(track(str(n), 900) for n in range(3))
    slots.arrange()
    assert len(slots.active) == 2
    with pytest.raises(ArmliteError, match="kv_budget_gib, in tokens, is 512"):
        make(kv_budget_gib=512 * 128 / 2**30)
    with pytest.raises(ValueError, match="give one of them"):
        EngineSettings(kv_budget_gib=1, max_tokens_in_cache=1000)
