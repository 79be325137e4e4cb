"""Decode steps that are recorded once and replayed: the same numbers, and nothing in them that comes from the host.

No card here: PyTorch's tracer stands in for the CUDA graph. It, too, keeps the operators of one run and plays them on
the same tensors, and refuses what would ask the device for a number.
"""

import gc
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_engine import WARM, digest, mixed
from tiny_qwen import converse, plain, tiny
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from armlite.models.engine import session as engine
from armlite.models.engine.graphs import EAGER_STEPS, GraphedDecoder
from armlite.models.local import EngineSettings, LocalModel

HOST = ("aten._local_scalar_dense", "aten.nonzero", "aten.lift_fresh", "aten.is_pinned", "aten.equal")


class NothingFromTheHost(TorchDispatchMode):
    """Refuses operators that copy between host and device, which a graph cannot hold."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not str(func).startswith(HOST), func
        return func(*args, **(kwargs or {}))


class Recorder:
    """Records as the tracer does."""

    def __init__(self):
        self.recorded, self.replayed = 0, 0

    def __call__(self, work):
        self.recorded += 1
        with NothingFromTheHost():
            work()
        graph = make_fx(lambda: work())()

        def replay():
            self.replayed += 1
            return graph()

        return replay


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(engine.EngineSession, "_make_stepper", lambda s: GraphedDecoder(s._decoder, recorder))
    return recorder


def adapted():
    """A model with an adapter that does something, too large in number of weights to be packed."""
    model, processor = tiny(seed=3)
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"]))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return model, processor


@pytest.mark.parametrize("settings", [EngineSettings(), EngineSettings(max_slots=3), EngineSettings(max_slots=5)])
def test_replayed_steps_give_the_numbers_of_a_plain_forward(recorder, settings, monkeypatch):
    monkeypatch.setattr("armlite.models.engine.layers.SMALL", 0)
    model, processor = adapted()
    conversations, plans = mixed()
    session, _ = converse(LocalModel(model, processor, WARM, settings), conversations, plans)
    assert (
        recorder.recorded >= 2 and recorder.replayed >= session.stats.steps - EAGER_STEPS * (recorder.recorded + 1) > 0
    )
    for conversation in conversations:
        record = session.tokens(conversation)
        mask = torch.tensor(record.mask).bool()
        right = plain(model, processor, record, WARM.temperature)
        assert (right[mask] - torch.tensor(record.logprobs)[mask]).abs().max() <= 1e-5


def test_what_is_sampled_does_not_depend_on_replaying(monkeypatch):
    model, processor = tiny()
    found = []
    for recorder in (None, Recorder()):
        if recorder:
            monkeypatch.setattr(
                engine.EngineSession, "_make_stepper", lambda s, r=recorder: GraphedDecoder(s._decoder, r)
            )
        conversations, plans = mixed()
        session, _ = converse(LocalModel(model, processor, WARM), conversations, plans)
        found.append(digest(session, conversations))
    assert recorder.replayed > 0 and found[0] == found[1]


def test_without_a_card_the_setting_changes_nothing():
    session = LocalModel(*tiny(), settings=EngineSettings(cuda_graphs=True)).session()
    assert session._stepper is session._decoder


def test_the_cache_of_a_conversation_that_waits_stays_as_it_is():
    from armlite.models.engine.decoder import Decoder

    with torch.no_grad():
        decoder = Decoder(tiny()[0])
        cache = decoder.new_cache()
        cache.resize(3, 64)
        for tensor in (*cache.keys, *cache.values):
            tensor.normal_()
        before = [tensor.clone() for tensor in cache.keys]
        decoder.extend_rotary_table(64)
        decoder.fixed_step(cache, torch.tensor([[5, 6, 7], [9, 63, 4], [9, 40, 4], [1, 0, 1]]))
    for old, new in zip(before, cache.keys, strict=True):
        changed = (old != new).any(-1).any(1)
        assert changed.nonzero().tolist() == [[0, 9], [2, 4]]


def test_a_recording_keeps_no_cache_alive_behind_its_session(recorder):
    conversations, plans = mixed()
    session, _ = converse(LocalModel(*tiny(), WARM), conversations, plans)
    cache = weakref.ref(session._scheduler.cache)
    assert recorder.replayed
    gc.disable()
    try:
        del session
        assert cache() is None
    finally:
        gc.enable()
