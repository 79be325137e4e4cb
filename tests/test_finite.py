"""Numbers that are not finite: steps that are skipped, a stage that ends, and weights that nobody keeps or asks."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_run import TINY
from tiny_run import answer, call, make_recipe, trainer_of
from transformers import TrainerCallback
from trl_batch import prepare

from armlite.errors import ArmliteError
from armlite.models.engine.sampler import sample_tokens
from armlite.models.sampling import Sampling
from armlite.recipe import check_recipe
from armlite.train.checkpoints import MARKER, last_complete
from armlite.train.finite import BadSteps, check_trained_weights, drop_spoilt
from armlite.train.metrics import MetricsFile
from armlite.train.run import train

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


def cold_start(**stage):
    settings = {**TINY["stages"]["sft"], "steps": 6, "save_steps": 1, "warmup_ratio": 0, **stage}
    return check_recipe({**TINY, "stages": {"sft": settings}}, "tiny")


def test_a_stage_that_explodes_ends_in_one_sentence_and_keeps_no_weights(tmp_path):
    recipe = cold_start(learning_rate=1e30, max_grad_norm=1e30)
    for resume in (False, True):
        with pytest.raises(ArmliteError, match=r"^sft: .* in 3 steps in a row, step 4; stages\.sft\.learning") as error:
            train(recipe, tmp_path / "run", resume=resume)
    last = tmp_path / "run" / "work" / "sft" / "checkpoint-1"
    for words in ("max_grad_norm 1e+30 does not hold it", f"the last good checkpoint is {last}", "--stage sft"):
        assert words in str(error.value)
    assert not (tmp_path / "run" / "checkpoints").exists()
    rows = MetricsFile(tmp_path / "run" / "metrics.jsonl").read()
    assert [(row["loss"] is None, row["grad_norm"] is None) for row in rows] == [(False, False)] + 2 * [(True, True)]
    train(cold_start(steps=1), tmp_path / "run", only="sft")
    assert (tmp_path / "run" / "checkpoints" / "sft").is_dir()


def poison(trainer, steps):
    """Make the loss of some steps NaN."""
    compute = trainer.compute_loss

    def poisoned(*args, **kwargs):
        loss = compute(*args, **kwargs)
        if trainer.state.global_step + 1 in steps:
            for parameter in trainer.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(math.nan)
        return loss

    trainer.compute_loss = poisoned


def grpo(pocket, folder, steps, bad):
    zoom = pocket.tasks[0]
    plans = {zoom.id: [[answer(1)], [answer(2)], [call(zoom), answer(1)], ["no tags"]]}
    recipe = make_recipe(1, 4, steps=steps, save_steps=1)
    metrics = MetricsFile(folder / "metrics.jsonl")
    callbacks = [BadSteps("grpo2", 3), metrics.callback("grpo2")]
    trainer = trainer_of(pocket, folder, plans, [zoom], recipe, callbacks=callbacks)
    poison(trainer, bad)
    with trainer._chat.vision.features_from_ids():
        trainer.train()
    return trainer, metrics.read()


def test_a_bad_step_is_skipped_and_counted_and_nothing_is_saved_amid_them(pocket, tmp_path):
    trainer, rows = grpo(pocket, tmp_path, 5, {2, 3})
    assert [row.get("skipped", 0) for row in rows] == [0, 1, 1, 0, 0]
    assert [row["grad_norm"] is None for row in rows] == [False, True, True, False, False]
    saved = {p.name for p in tmp_path.glob("checkpoint-*")}
    assert saved == {"checkpoint-4", "checkpoint-5"}
    assert all(p.isfinite().all() for p in trainer.model.parameters())


class _Overflow(TrainerCallback):
    def on_step_end(self, args, state, control, model=None, **_):
        next(p for p in model.parameters() if p.requires_grad).data.fill_(math.inf)


def test_weights_that_are_not_finite_are_neither_saved_nor_kept(pocket, tmp_path):
    zoom = pocket.tasks[0]
    plans = {zoom.id: [[answer(1)], [answer(2)]]}
    recipe = make_recipe(1, 4, steps=2, save_steps=1)
    trainer = trainer_of(pocket, tmp_path, plans, [zoom], recipe, callbacks=[_Overflow(), BadSteps("grpo2", 3)])
    said = "grpo2: the weights are not finite after step 1; .* there is no checkpoint of this stage yet"
    with trainer._chat.vision.features_from_ids(), pytest.raises(ArmliteError, match=said):
        trainer.train()
    assert not list(tmp_path.glob("checkpoint-*"))
    with pytest.raises(ArmliteError, match=r"grpo2: the trained weights are not finite, so they are not kept"):
        check_trained_weights("grpo2", trainer.model)


def test_a_stage_does_not_end_in_a_bad_step(pocket, tmp_path):
    with pytest.raises(ArmliteError, match=r"grpo2: the gradient was not finite in step 2;"):
        grpo(pocket, tmp_path, 2, {2})
    with pytest.raises(ArmliteError, match=r"3 steps in a row, step 3; likely the model it starts from"):
        grpo(pocket, tmp_path / "other", 5, {1, 2, 3})


def test_a_checkpoint_with_weights_that_are_not_finite_is_not_gone_on_with(tmp_path, capsys):
    for step, value in ((1, 0.0), (2, math.inf), (3, math.nan)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / MARKER).write_text("")
        save_file({"a": torch.zeros(3), "b": torch.tensor([0, value])}, folder / "model.safetensors")
    drop_spoilt(tmp_path)
    assert last_complete(tmp_path) == str(tmp_path / "checkpoint-1")
    assert capsys.readouterr().err.count("not gone on with") == 2


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_one_sentence(temperature, value):
    logits = torch.randn(2, 9)
    logits[1, 4] = value
    with pytest.raises(ArmliteError, match="logits are not finite"):
        sample_tokens(logits, Sampling(temperature=temperature), torch.tensor([3]), [0.1, 0.999])


def test_a_judge_with_damaged_weights_says_so(pocket, tmp_path):
    from armlite.judge import Judge

    shutil.copytree(pocket.folder, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    save_file({name: w * math.nan for name, w in weights.items()}, file, {"format": "pt"})
    with pytest.raises(ArmliteError, match="logits are not finite"):
        Judge.load(tmp_path / "model").judge(pocket.tasks[2])


def test_a_rollout_that_teaches_nothing_overflows_no_ratio(pocket, tmp_path):
    zoom, _, instruction = pocket.tasks[:3]
    plans = {
        zoom.id: [[answer(1)], [answer(2)], [call(zoom), answer(1)], ["no tags"]],
        instruction.id: [[answer(1)]] * 4,
    }
    recipe = make_recipe(2, 4, num_iterations=2, save_steps=2)
    trainer = trainer_of(pocket, tmp_path, plans, [zoom, instruction], recipe)
    with trainer._chat.vision.features_from_ids():
        batch = prepare(trainer)
        idle = batch["advantages"] == 0
        assert idle.sum() >= 4 and not idle.all()
        losses = []
        for old in (None, -200.0):
            if old is not None:
                batch["old_per_token_logps"][idle] = old
            trainer.model.zero_grad()
            trainer.current_gradient_accumulation_steps = 1
            losses.append(trainer.compute_loss(trainer.model, batch).item())
            assert all(p.grad.isfinite().all() for p in trainer.model.parameters() if p.grad is not None)
    assert losses[0] == losses[1]


def test_a_row_of_a_skipped_step_is_json(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.append("sft", 1, {"loss": math.nan, "grad_norm": math.inf, "skipped": 1})
    row = json.loads(file.path.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert row.pop("time")
    assert row == {"stage": "sft", "step": 1, "loss": None, "grad_norm": None, "skipped": 1}
