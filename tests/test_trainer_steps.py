"""Trainer steps: which weights move and by what, at what cost, and the seam to TRL that all of it hangs on."""

import inspect

import pytest
import torch
from tiny_qwen import noise
from tiny_run import UNFINISHED, answer, call, make_recipe, mixed_plans, shown, trainer_of
from transformers import TrainerCallback
from trl import GRPOTrainer
from trl_batch import ids_of

from armlite.errors import ArmliteError
from armlite.memory import image_file
from armlite.train.environment import environment_factory
from armlite.train.trainer import check_seam

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_batch_of_cut_rollouts_only_leaves_the_weights_as_they_were(pocket, tmp_path):
    task = pocket.tasks[0]
    trainer = trainer_of(
        pocket, tmp_path, {task.id: [["<think>hm" + UNFINISHED]]}, [task], make_recipe(1, 4, steps=1, weight_decay=0.0)
    )
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    with trainer._chat.vision.features_from_ids():
        trainer.train()
    assert all(torch.equal(before[n], p) for n, p in trainer.model.named_parameters() if n in before)


def test_an_environment_must_have_a_public_tool(pocket):
    with pytest.raises(ValueError, match="at least one tool"):
        environment_factory(make_recipe().episode, pocket.root, tools=())
    with pytest.raises(ArmliteError, match="zoom_in"):
        environment_factory(make_recipe().episode, pocket.root, tools=("zoom_in",))


def test_the_seam_holds_and_a_changed_trl_is_named_in_one_sentence(monkeypatch):
    check_seam()
    source = inspect.getsource(GRPOTrainer)
    monkeypatch.setattr(
        inspect, "getsource", lambda _: source.replace("self.environments.append(", "self.rooms.append(")
    )
    with pytest.raises(
        ArmliteError, match=r"^trl \S+ changed what armlite builds on: one environment for each rollout.*trl>="
    ):
        check_seam()
    monkeypatch.setattr(inspect, "getsource", lambda _: "class GRPOTrainer: ...")
    with pytest.raises(ArmliteError) as error:
        check_seam()
    assert "\n" not in str(error.value)


def small(pocket):
    """Two rollouts each of a task with images and of one without."""
    zoom, _, instruction = pocket.tasks[:3]
    plans = {
        zoom.id: [[answer(1)], [call(zoom), answer(2)]],
        instruction.id: [[answer(1), "never"], [call(instruction), answer(2)]],
    }
    return plans, [zoom, instruction]


def test_an_evaluation_between_buffered_steps_leaves_their_images_alone(pocket, tmp_path):
    plans, tasks = small(pocket)
    two = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_iterations": 2}
    recipe = make_recipe(2, 2, steps=4, learning_rate=1e-12, weight_decay=0.0, **two)
    steps, ids, drifts = [], [], []
    trainer = trainer_of(pocket, tmp_path, plans, tasks, recipe, on_rollouts=lambda step, *_: steps.append(step))
    trainer.args.per_device_eval_batch_size = 2
    vision, loss = trainer._chat.vision, trainer._compute_loss

    class Evaluate(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            trainer.evaluate(trainer.train_dataset.select([0]))
            trainer.model.train()
            ids.append(vision.id(noise(28, 28, state.global_step)))

    def compare(model, inputs):
        """The weights stand still, so what was true when the batch was made must be true now."""
        records = inputs["records"]
        assert [ids_of(inputs, i) for i in range(len(records))] == [(r.prompt_ids, r.completion_ids) for r in records]
        if model.training:
            drifts.append((trainer.logprobs(inputs) - inputs["old_per_token_logps"])[inputs["completion_mask"].bool()])
        return loss(model, inputs)

    trainer._compute_loss = compare
    trainer.add_callback(Evaluate())
    with vision.features_from_ids():
        trainer.train()
    assert len(drifts) == 8
    assert max(d.abs().max() for d in drifts) <= 5e-5
    assert steps == [0, 2]  # the rollouts of an evaluation are not training's
    assert max(ids) <= 3  # two pictures and the last step's: what no batch holds any more is forgotten


def test_how_a_batch_is_cut_up_changes_no_update(either_pocket, tmp_path):
    plans, tasks = small(either_pocket)
    after = []
    for size in (4, 1):
        cut = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 4 // size}
        recipe = make_recipe(2, 2, steps=1, optim="sgd", learning_rate=0.1, beta=0.04, **cut)
        trainer = trainer_of(either_pocket, tmp_path / str(size), plans, tasks, recipe)
        before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
        with trainer._chat.vision.features_from_ids():
            trainer.train()
        after.append({n: p.detach() for n, p in trainer.model.named_parameters() if n in before})
    moved = max((after[0][n] - p).abs().max() for n, p in before.items())
    assert moved > 1e-4
    whole, pieces = after
    assert max((pieces[n] - p).abs().max() for n, p in whole.items()) <= 1e-3 * moved


@pytest.mark.parametrize(
    ("stage", "options"),
    [
        ({"gradient_checkpointing": True, "beta": 0.1}, {}),
        ({"gradient_checkpointing": True, "beta": 0.1}, {"quantize": "4bit"}),
        (
            {
                "adapter": "none",
                "train_vision": True,
                "per_device_train_batch_size": 1,
                "gradient_accumulation_steps": 4,
            },
            None,
        ),
    ],
    ids=["checkpointing and reference", "4-bit too", "vision trained"],
)
def test_two_steps_are_trained(either_pocket, tmp_path, stage, options):
    plans, tasks = small(either_pocket)
    options = {"peft_config": None} if options is None else options
    trainer = trainer_of(
        either_pocket, tmp_path, plans, tasks, make_recipe(2, 2, learning_rate=1e-3, **stage), **options
    )
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    with trainer._chat.vision.features_from_ids():
        trainer.train()
    still = [n for n, p in trainer.model.named_parameters() if n in before and torch.equal(before[n], p)]
    assert before
    assert still == []
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == 2
    assert all(row["loss"] == row["loss"] and row["grad_norm"] > 0 for row in rows)
    if "beta" in stage:
        # The adapter is not nothing from the start, so the reference, which has none, says something else.
        assert all(row["kl"] > 1e-3 for row in rows)


def test_a_step_encodes_each_image_once_and_prefills_each_token_once(either_pocket, tmp_path):
    """Through rollout, old, reference and training passes, in parts."""
    tasks = either_pocket.tasks[:3]
    room = {"max_context": either_pocket.tight, "update_tokens": 1000}
    recipe = make_recipe(beta=0.1, num_iterations=2, save_steps=2, **room)
    sessions, images = [], []
    trainer = trainer_of(
        either_pocket,
        tmp_path,
        mixed_plans(tasks),
        tasks,
        recipe,
        on_rollouts=lambda _, outcomes, scores: images.extend(
            image_file(i) for o in outcomes for i in shown(o.episode)
        ),
    )
    chat = trainer._chat
    session = chat.session
    chat.session = lambda: sessions.append(session()) or sessions[-1]
    parts, score = [], trainer._score
    trainer._score = lambda *a: parts.append(None) or score(*a)
    with chat.vision.features_from_ids():
        trainer.train()
    assert trainer.state.global_step == 2
    assert len(parts) % 4 == 0 and len(parts) >= 8  # old, reference, and two updates: each in parts
    assert len(images) > chat.vision.encoded == len(set(images))
    (played,) = sessions
    records = [sequence.tokens.record() for sequence in played._sequences.values()]
    prompts = {tuple(r.prompt_ids): len(r.prompt_ids) for r in records}
    assert len(prompts) == 3
    # A decode step takes a token in and gives one; what came before the last one sampled was prefilled, prompts once,
    # or copied, where it had been for another.
    entered = sum(len(r.mask) - r.mask[::-1].index(1) for r in records)
    every = sum(len(r.prompt_ids) - 1 for r in records) + entered - sum(sum(r.mask) for r in records)
    assert played.stats.tokens_prefilled + played.stats.tokens_copied == every
    twice = sum(len(r.prompt_ids) - 1 for r in records) - sum(n - 1 for n in prompts.values())
    assert played.stats.tokens_copied >= twice
