"""On an accelerator nothing may stay behind on the host: rollout and update on PyTorch's device without numbers.

No card here. On `meta` every operator is checked and none is computed; what mixes in a tensor of the host, as a card
would refuse, is found. What asks the device for numbers (`tolist`) is given zeros.
"""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_engine import WARM, mixed
from test_prefix import TRAINED
from test_prefix import mixed as batch_of_groups
from tiny_qwen import converse, tiny
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.modeling_outputs import BaseModelOutputWithPooling

from armlite.models.engine import session as engine
from armlite.models.engine.graphs import GraphedDecoder
from armlite.models.engine.vision import VisionCache
from armlite.models.local import EngineSettings, LocalModel
from armlite.train.prefix import install_packed_forward, pack_rows, rows_from_records

COPIES = ("aten.copy_", "aten._to_copy", "aten.index.Tensor", "aten.index_put_", "aten.set_")
READS = ("aten._local_scalar_dense", "aten.nonzero", "aten.equal")


class OneDevice(TorchDispatchMode):
    """Refuses operators on tensors of two devices, but for copies and single numbers."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor) and t.dim()]
        devices = {t.device.type for t in tensors}
        self.seen += "meta" in devices
        assert len(devices) < 2 or str(func).startswith(COPIES), f"{func} mixes {devices}"
        return func(*args, **(kwargs or {}))


class Waits(TorchDispatchMode):
    """Counts, while it is `on`, what makes the host wait for the device: numbers read, and copies that block.

    `tolist` and `torch.tensor(..., device=...)` do so behind the back of a mode.
    """

    def __init__(self, monkeypatch):
        super().__init__()
        self.on, self.counts = False, []
        monkeypatch.setattr(torch.Tensor, "tolist", self.counting("tolist", torch.Tensor.tolist))
        monkeypatch.setattr(torch, "tensor", self.counting("tensor", torch.tensor))

    def counting(self, what, work):
        def counted(*args, **kwargs):
            made = work(*args, **kwargs)
            if any(isinstance(t, torch.Tensor) and t.is_meta for t in (args[0], made)):
                self.count(what)
            return made

        return counted

    def count(self, what):
        if self.on:
            self.counts[-1].append(what)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made, name = func(*args, **(kwargs or {})), str(func)
        devices = [t.device.type for t in tree_leaves((args, made)) if isinstance(t, torch.Tensor)]
        if name.startswith(("aten.copy_", "aten._to_copy")) and len(set(devices)) == 2:
            if not ((kwargs or {}).get("non_blocking") or (name.startswith("aten.copy_") and args[2:] == (True,))):
                self.count(name)
        elif name.startswith(READS) and "meta" in devices:
            self.count(name)
        return made


@pytest.fixture
def far(monkeypatch):
    """A model with adapters on `meta`, and its processor."""
    model, processor = tiny()
    model = get_peft_model(model, LoraConfig(r=4, target_modules=TRAINED)).to("meta")
    plain = torch.Tensor.tolist
    monkeypatch.setattr(
        torch.Tensor, "tolist", lambda t: plain(torch.zeros(t.shape, dtype=t.dtype) if t.is_meta else t)
    )
    return model, processor


def features(model, tokens):
    return torch.zeros(tokens, model.config.text_config.hidden_size, device="meta")


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize(
    "settings",
    [{}, {"max_slots": 3}, {"max_slots": 5, "prefill_tokens": 37}, {"max_tokens_in_cache": 704}],
    ids=["all", "queue", "chunks", "evictions"],
)
def test_a_rollout_mixes_no_devices(far, settings, graphs, monkeypatch):
    model, processor = far
    if graphs:
        monkeypatch.setattr(
            engine.EngineSession, "_make_stepper", lambda s: GraphedDecoder(s._decoder, lambda work: work)
        )
    vision = VisionCache(model, processor)
    monkeypatch.setattr(vision, "_encode", lambda picture: features(model, picture.tokens))
    sampling = WARM.model_copy(update={"top_p": 0.9, "top_k": 5})
    conversations, plans = mixed()
    with OneDevice() as mode:
        session, _ = converse(
            LocalModel(model, processor, sampling, EngineSettings(**settings), vision), conversations, plans
        )
    assert mode.seen > 1000 and session.stats.tokens_decoded > 100


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_decode_step_waits_for_the_device_once(far, graphs, temperature, monkeypatch):
    model, processor = far
    if graphs:
        recorded = lambda session: GraphedDecoder(session._decoder, lambda work: work)  # noqa: E731
        monkeypatch.setattr(engine.EngineSession, "_make_stepper", recorded)
    vision = VisionCache(model, processor)
    monkeypatch.setattr(vision, "_encode", lambda picture: features(model, picture.tokens))
    waits, decode = Waits(monkeypatch), engine.EngineSession._decode

    def counted(session):
        waits.on = True
        waits.counts.append([])
        try:
            return decode(session)
        finally:
            waits.on = False

    monkeypatch.setattr(engine.EngineSession, "_decode", counted)
    sampling = WARM.model_copy(update={"top_p": 0.9, "top_k": 5, "temperature": temperature})
    conversations, plans = mixed()
    with waits:
        session, _ = converse(LocalModel(model, processor, sampling, EngineSettings(), vision), conversations, plans)
    assert len(waits.counts) == session.stats.steps > 10
    first, *later = waits.counts  # the first makes the table of angles
    assert "tolist" in first and [counts for counts in later if counts != ["tolist"]] == []


@pytest.mark.parametrize("checkpointing", [False, True])
def test_an_update_mixes_no_devices(far, checkpointing, monkeypatch):
    model, processor = far
    inner = model.get_base_model()
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # `meta` has no autocast to ask for
    install_packed_forward(model, 0.7)
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    monkeypatch.setattr(
        inner.model,
        "get_image_features",
        lambda pixels, grids: BaseModelOutputWithPooling(
            pooler_output=tuple(features(model, int(grid.prod()) // 4) for grid in grids)
        ),
    )
    batch = batch_of_groups(inner, processor)
    rows = rows_from_records(batch.records)
    with OneDevice() as mode:
        packed = pack_rows(rows, model, batch.pixels)
        logps, _ = model(packed=packed)
        logps.sum().backward()
    assert mode.seen > 500
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None and p.grad.is_meta for p in trained)
