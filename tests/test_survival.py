"""Memory that runs out, injected: the same work is done again in smaller pieces, with the same results."""

import pytest
import torch
from tiny_qwen import converse, noise, tiny
from tiny_run import answer, call, make_recipe, trainer_of

from armlite.errors import ArmliteError
from armlite.models.engine.decoder import Decoder
from armlite.models.engine.oom import out_of_memory, retry_on_oom
from armlite.models.local import EngineSettings, LocalModel, Sampling
from armlite.protocol.render import Conversation, Message

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


def failing(work, at):
    """Some work that does all it has to at its calls `at`, and then says that memory has run out."""
    calls = []

    def wrapped(*args, **kwargs):
        calls.append(None)
        result = work(*args, **kwargs)
        if len(calls) in at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return result

    return wrapped


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shape mismatch"), False),
        (MemoryError(), False),
    ],
)
def test_only_errors_about_memory_are_survived(error, expected):
    assert out_of_memory(error) == expected
    tries = []

    def work():
        tries.append(None)
        if len(tries) == 1:
            raise error
        return "done"

    if expected:
        assert retry_on_oom(work, lambda: None) == "done"
    else:
        with pytest.raises(type(error)):
            retry_on_oom(work, lambda: None)


# The rollout

PICTURES = [noise(84, 56, i) for i in range(3)]


def conversations():
    """Two groups of three, and what is said to them after each turn."""
    made, plans = [], []
    for task in range(2):
        for rollout in range(3):
            first = Message("user", f"Task {task}: look.", (PICTURES[task],))
            made.append(Conversation(f"task-{task}", rollout, messages=[first]))
            seen = Message("user", "<tool_response>\nhere\n</tool_response>", (PICTURES[2],))
            plans.append([seen] * (1 + rollout % 2))
    return made, plans


def play(model, settings=None):
    local = LocalModel(*model, Sampling(temperature=0.7, max_new_tokens=12, max_context=400), settings)
    made, plans = conversations()
    session, replies = converse(local, made, plans)
    return session, [session.tokens(c) for c in made], replies


@pytest.fixture(scope="module")
def qwen():
    return tiny()


@pytest.mark.parametrize("place", ["prefill", "step"])
def test_a_rollout_goes_on_with_fewer_slots_and_says_the_same(qwen, place, monkeypatch, capsys):
    _, right, said = play(qwen)
    monkeypatch.setattr(Decoder, place, failing(getattr(Decoder, place), at=(2, 7)))
    session, found, replies = play(qwen)
    assert session.stats.shortages == 2
    assert session.settings.max_slots < 6
    assert session.stats.evictions > 0
    assert replies == said
    for mine, theirs in zip(found, right, strict=True):
        assert mine.completion_ids == theirs.completion_ids
        assert mine.mask == theirs.mask
        assert torch.tensor(mine.logprobs).sub(torch.tensor(theirs.logprobs)).abs().max() <= 1e-5
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("rollout: out of memory; goes on with 3 slots")


def test_a_rollout_that_never_fits_ends_with_three_ways_out(qwen, monkeypatch, capsys):
    monkeypatch.setattr(Decoder, "step", failing(Decoder.step, at=range(1000)))
    with pytest.raises(ArmliteError, match="max_context, smaller images .*, model.quantize"):
        play(qwen, EngineSettings(prefill_tokens=200))


# The update


def trained(pocket, folder, trouble=None, **stage):
    """Train; `trouble`: what to do to the trainer before. Returns weights and the trainer."""
    zoom, _, instruction = pocket.tasks[:3]
    plans = {
        zoom.id: [[answer(1)], [call(zoom), answer(2)]],
        instruction.id: [[answer(1)], [call(instruction), answer(2)]],
    }
    recipe = make_recipe(2, 4, steps=1, optim="sgd", learning_rate=0.1, **stage)
    trainer = trainer_of(pocket, folder, plans, [zoom, instruction], recipe)
    if trouble is not None:
        trouble(trainer)
    with trainer._chat.vision.features_from_ids():
        trainer.train()
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}, trainer


@pytest.fixture(scope="module")
def start(pocket, tmp_path_factory):
    """Weights before any step."""
    trainer = trainer_of(pocket, tmp_path_factory.mktemp("start"), {}, pocket.tasks[:1], make_recipe(1, 4))
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("stage", [{}, {"update_tokens": 2000}, {"shared_prefix": False, "beta": 0.1}], ids=str)
def test_an_update_that_ran_out_of_memory_is_done_again_in_halves_and_ends_with_the_same_weights(
    pocket, start, tmp_path, stage, capsys
):
    def trouble(trainer):
        trainer.accelerator.backward = failing(trainer.accelerator.backward, at=(1, 3))

    right, _ = trained(pocket, tmp_path / "right", **stage)
    capsys.readouterr()
    found, trainer = trained(pocket, tmp_path / "found", trouble, **stage)
    moved = max((p - start[n]).abs().max() for n, p in right.items())
    assert moved > 1e-4
    assert max((found[n] - p).abs().max() for n, p in right.items()) <= 1e-3 * moved
    assert [row["oom/update"] for row in trainer.state.log_history if "oom/update" in row] == [2.0]
    lines = [line for line in capsys.readouterr().err.splitlines() if "out of memory" in line]
    assert len(lines) == 2
    assert lines[0].startswith("update: out of memory; does it again")


def test_an_update_of_one_rollout_that_does_not_fit_ends_with_three_ways_out(pocket, tmp_path):
    def trouble(trainer):
        trainer.accelerator.backward = failing(trainer.accelerator.backward, at=range(1000))

    with pytest.raises(ArmliteError, match=r"gradient_checkpointing: true, smaller images .*, a lower max_context"):
        trained(pocket, tmp_path, trouble)


def test_passes_without_gradient_survive_too(pocket, tmp_path, capsys):
    def trouble(trainer):
        def forward(*args, **kwargs):
            result = score(*args, **kwargs)
            if not torch.is_grad_enabled() and not shortage:
                shortage.append(None)
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return result

        shortage, score = [], trainer._score
        trainer._score = forward

    right, _ = trained(pocket, tmp_path / "right", beta=0.1)
    found, trainer = trained(pocket, tmp_path / "found", trouble, beta=0.1)
    assert trainer._budget.rows == 4
    assert all((found[n] - p).abs().max() <= 1e-6 for n, p in right.items())
