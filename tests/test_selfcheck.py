"""Fast ways are compared with the plain ones at first, and turned off in a sentence where they disagree."""

import pytest
import torch
from test_engine import WARM, mixed
from test_graphs import Recorder
from tiny_qwen import converse, plain, tiny

from armlite.models.engine import session as engine
from armlite.models.engine.decoder import Decoder
from armlite.models.engine.graphs import EAGER_STEPS, WAY, GraphedDecoder
from armlite.models.engine.layers import Layer, PackedLayer, PlainLayer
from armlite.models.engine.oom import out_of_memory
from armlite.models.engine.prefix_cache import PrefixCache
from armlite.models.engine.selfcheck import TIMES, SelfCheck
from armlite.models.engine.session import SHARED
from armlite.models.local import LocalModel

torch.set_num_threads(1)


def exact(session, model, processor, conversations):
    """Whether what was said has the numbers of a plain forward."""
    for conversation in conversations:
        record = session.tokens(conversation)
        mask = torch.tensor(record.mask).bool()
        right = plain(model, processor, record, WARM.temperature)
        if (right[mask] - torch.tensor(record.logprobs)[mask]).abs().max() > 1e-5:
            return False
    return True


@pytest.mark.parametrize(
    ("dtype", "wrong_by", "agrees"),
    [
        (torch.float32, 1e-5, True),
        (torch.float32, 1e-2, False),
        (torch.bfloat16, 1e-2, True),
        (torch.bfloat16, 1.0, False),
        (torch.float32, float("nan"), False),
    ],
    ids=["rounding", "wrong", "16 bits round more", "wrong in 16 bits", "not a number"],
)
def test_a_way_is_trusted_after_it_has_agreed_a_few_times_and_off_once_it_has_not(dtype, wrong_by, agrees):
    said = []
    check, right = SelfCheck(said.append), torch.randn(200, generator=torch.Generator().manual_seed(0))
    for _ in range(TIMES):
        assert check.due("shortcuts")
        assert check.agree("shortcuts", right + wrong_by, right, dtype) == agrees
        if not agrees:
            break
    assert not check.due("shortcuts") and check.on("shortcuts") == agrees
    check.turn_off("shortcuts", "again") if not agrees else None
    assert len(said) == (not agrees)
    assert not said or said[0].startswith("shortcuts are off: they differ from the plain way by ")


def test_graphs_that_replay_other_numbers_are_off_and_the_rollout_goes_on_without_them(monkeypatch):
    said, model, recorders = [], tiny(), []
    check = SelfCheck(said.append)

    class Broken(Recorder):
        def __call__(self, work):
            replay = super().__call__(work)
            return lambda: replay().roll(1, -1)

    def stepper(session):
        recorders.append(Broken())
        return GraphedDecoder(session._decoder, recorders[-1], check)

    monkeypatch.setattr(engine.EngineSession, "_make_stepper", stepper)
    for _ in range(2):
        conversations, plans = mixed()
        session, _ = converse(LocalModel(*model, WARM), conversations, plans)
        assert exact(session, *model, conversations)
    assert [r.recorded for r in recorders] == [1, 0], "the second session does not try again"
    assert len(said) == 1 and said[0].startswith(f"{WAY} are off: they differ")


def test_graphs_that_agree_are_compared_only_at_first(monkeypatch):
    check, recorder, eager = SelfCheck(), Recorder(), []
    step = Decoder.step
    monkeypatch.setattr(Decoder, "step", lambda *a: eager.append(None) or step(*a))
    monkeypatch.setattr(engine.EngineSession, "_make_stepper", lambda s: GraphedDecoder(s._decoder, recorder, check))
    conversations, plans = mixed()
    session, _ = converse(LocalModel(*tiny(), WARM), conversations, plans)
    assert check.on(WAY) and not check.due(WAY)
    assert len(eager) + recorder.replayed == session.stats.steps + TIMES


def test_what_cannot_be_recorded_is_said_once_and_memory_that_runs_out_is_not_that():
    def fails(error):
        def record(work):
            raise error

        return record

    said = []
    with torch.no_grad():
        decoder = Decoder(tiny()[0])
        cache = decoder.new_cache()
        cache.resize(2, 64)
        broken = GraphedDecoder(decoder, fails(RuntimeError("operation not permitted\nmore")), SelfCheck(said.append))
        short = GraphedDecoder(decoder, fails(torch.OutOfMemoryError("CUDA out of memory")), SelfCheck(said.append))
        for n in range(6):
            assert broken.step(cache, [0], [5], [n], [n]).isfinite().all()
        assert said == ["CUDA graphs are off: they cannot be recorded here (operation not permitted)"]
        for n in range(EAGER_STEPS):
            short.step(cache, [0], [5], [n], [n])
        with pytest.raises(torch.OutOfMemoryError):
            short.step(cache, [0], [5], [n], [n])
    assert len(said) == 1


def test_memory_that_ran_out_inside_a_capture_is_recognised():
    def capture():
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    with pytest.raises(RuntimeError) as found:
        capture()
    assert out_of_memory(found.value)
    bug = RuntimeError("shape mismatch")
    bug.__context__ = torch.OutOfMemoryError("CUDA out of memory")
    assert not out_of_memory(bug), "a bug in what is done about it is a bug"


@pytest.mark.parametrize(("small", "kind"), [(1 << 26, PackedLayer), (0, Layer)], ids=["packed", "adapters"])
def test_layers_that_give_other_numbers_than_their_modules_are_off(small, kind, monkeypatch):
    monkeypatch.setattr("armlite.models.engine.layers.SMALL", small)
    said, model = [], tiny()
    local = LocalModel(*model, WARM)
    local.check = SelfCheck(said.append)
    assert {type(layer) for layer in local.session()._decoder.layers} == {kind} and not said
    mlp = kind.mlp
    monkeypatch.setattr(kind, "mlp", lambda self, x: 2 * mlp(self, x))
    for _ in range(2):
        conversations, plans = mixed()
        session, _ = converse(local, conversations, plans)
        assert {type(layer) for layer in session._decoder.layers} == {PlainLayer}
        assert exact(session, *model, conversations)
    assert len(said) == 1 and "are off: they differ" in said[0]


def test_beginnings_that_were_copied_wrongly_are_computed_by_each_itself(monkeypatch):
    said, model = [], tiny()
    local = LocalModel(*model, WARM)
    local.check = SelfCheck(said.append)
    fill = PrefixCache.fill

    def amiss(self, sequence, held, cache):
        before = sequence.cached
        fill(self, sequence, held, cache)
        for tensor in (*cache.keys, *cache.values):
            tensor[sequence.slot, :, before : sequence.cached] += 1

    monkeypatch.setattr(PrefixCache, "fill", amiss)
    conversations, plans = mixed()
    session, _ = converse(local, conversations, plans)
    assert exact(session, *model, conversations)
    assert len(said) == 1 and said[0].startswith(f"{SHARED} are off")
