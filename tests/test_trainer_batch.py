"""Trainer truths: what TRL's loss sees is what each rollout read and wrote, token by token and image by image."""

import copy
from types import SimpleNamespace

import pytest
import torch
from tiny_run import (
    UNFINISHED,
    alone,
    answer,
    call,
    make_recipe,
    mixed_plans,
    script,
    shown,
    trainer_of,
)
from trl_batch import ids_of, prepare

from armlite.errors import ArmliteError
from armlite.images import image_key
from armlite.models.engine.vocabulary import Vocabulary
from armlite.protocol.prompts import LIMIT_REACHED
from armlite.protocol.render import render
from armlite.train.fruitless import IN_A_ROW
from armlite.train.trainer import KL_ROWS
from armlite.types import StopReason

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")
UNSEEN = {StopReason.CONTEXT_BUDGET, StopReason.TURN_BUDGET}


def mixed(pocket, folder, recipe=None, **options):
    """A trainer on the mixed plans, and where its rollouts end up."""
    tasks = pocket.tasks[:3]
    seen = SimpleNamespace(all=[])

    def keep(step, outcomes, scores):
        trajectories, episodes = [o.trajectory for o in outcomes], [o.episode for o in outcomes]
        # TRL uses the environments again, so episodes are read at once.
        seen.all.append((step, trajectories, scores))
        seen.trajectories, seen.scores, seen.conversations = trajectories, scores, [e.conversation for e in episodes]
        seen.images = [shown(e) for e in episodes]

    trainer = trainer_of(
        pocket,
        folder,
        mixed_plans(tasks),
        tasks,
        recipe or make_recipe(max_context=pocket.tight),
        on_rollouts=keep,
        **options,
    )
    return trainer, seen


def largest_difference(trainer, batch, seen, plain_model):
    found = trainer.logprobs(batch)
    worst = 0.0
    for i, images in enumerate(seen.images):
        prompt, completion = ids_of(batch, i)
        right = alone(
            plain_model, trainer.processing_class, prompt + completion, len(prompt), images, trainer.temperature
        )
        worst = max(worst, (found[i, : len(completion)] - right).abs().max().item())
    return worst


@pytest.fixture(scope="module")
def played(either_pocket, tmp_path_factory):
    """A prepared batch with 0 to 4 calls a rollout, its records, and a copy of the model that no trainer has
    touched.
    """
    pocket = either_pocket
    recipe = make_recipe(temperature=0.7, max_context=pocket.tight)
    trainer, seen = mixed(pocket, tmp_path_factory.mktemp("work"), recipe)
    plain_model = copy.deepcopy(trainer.model).eval()
    for module in plain_model.modules():
        module.__dict__.pop("forward", None)  # TRL's own one, which knows the temperature
    with trainer._chat.vision.features_from_ids():
        batch = prepare(trainer)
        yield SimpleNamespace(trainer=trainer, batch=batch, seen=seen, plain=plain_model)


def test_the_batch_holds_what_the_truths_are_about(played):
    found = [(t.stop, len(t.calls), any(s.turn.fault for s in t.steps)) for t in played.seen.trajectories]
    assert {n for stop, n, _ in found if stop is StopReason.ANSWERED} == {0, 1, 2, 3}
    assert {stop for stop, _, _ in found} == {StopReason.ANSWERED, StopReason.NO_ANSWER, *UNSEEN}
    assert any(fault for _, _, fault in found)
    forced = [
        t
        for t in played.seen.trajectories
        if any(s.observation.text == LIMIT_REACHED for s in t.steps if s.observation)
    ]
    assert len(forced) == 1
    assert forced[0].stop is StopReason.ANSWERED
    assert sorted({len(images) for images in played.seen.images}) == [0, 1, 2, 3, 4]
    assert played.batch["pixel_values"].shape[1] == 1


def test_logprobs_of_the_trainer_are_those_of_each_rollout_alone(played):
    assert largest_difference(played.trainer, played.batch, played.seen, played.plain) <= 5e-5


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "bnpo", "dr_grpo"])
def test_only_sampled_tokens_of_whole_rollouts_have_a_gradient(played, loss_type, monkeypatch):
    trainer, batch = played.trainer, played.batch
    leaf = trainer.logprobs(batch).requires_grad_()
    monkeypatch.setattr(
        trainer, "_get_per_token_logps_and_entropies", lambda *a, **k: (leaf, torch.zeros_like(leaf), None)
    )
    monkeypatch.setattr(trainer, "loss_type", loss_type)
    trainer.current_gradient_accumulation_steps = 1
    trainer.compute_loss(trainer.model, batch).backward()
    gradient = leaf.grad
    assert gradient.shape == batch["completion_ids"].shape  # the prompt has no part in the loss at all
    sampled = batch["completion_mask"].bool() & batch["tool_mask"].bool()
    assert gradient[~sampled].abs().max() == 0
    unseen = torch.tensor([t.stop in UNSEEN for t in played.seen.trajectories])
    assert unseen.sum() == 3
    assert gradient[unseen].abs().max() == 0
    learning = ~unseen & (batch["advantages"] != 0)
    assert learning.sum() >= 6
    assert (gradient[learning][sampled[learning]] != 0).all()


def test_the_mask_is_on_model_text_and_its_end_of_turn_only(played):
    vocabulary = Vocabulary(played.trainer.processing_class.tokenizer, 9999)
    for i, trajectory in enumerate(played.seen.trajectories):
        _, ids = ids_of(played.batch, i)
        mask = played.batch["tool_mask"][i][: len(ids)].tolist()
        if trajectory.stop in UNSEEN:
            assert sum(mask) == 0
            continue
        text = vocabulary.text([t for t, m in zip(ids, mask, strict=True) if m])
        turns = [s.turn for s in trajectory.steps]
        # A call is cut behind its tag and the engine closes the turn; any other turn ends with a sampled token.
        assert text == "".join(t.text if t.text.endswith("</tool_call>") else t.text + "<|im_end|>" for t in turns)


def test_ids_of_rollouts_that_ended_are_those_of_the_conversation_rendered_again(played):
    processor = played.trainer.processing_class
    compared = 0
    for i, (conversation, trajectory) in enumerate(
        zip(played.seen.conversations, played.seen.trajectories, strict=True)
    ):
        prompt, completion = ids_of(played.batch, i)
        text = render(conversation.messages, conversation.tools, add_generation_prompt=False)
        shown_text = processor.tokenizer.decode(prompt + completion)
        for image in played.seen.images[i]:
            n = played.trainer._chat.vision.look(image).tokens
            shown_text = shown_text.replace("<|image_pad|>" * n, "<|image_PAD|>", 1)
        complete = trajectory.stop is not StopReason.TURN_BUDGET
        shown_text = shown_text.replace("<|image_PAD|>", "<|image_pad|>") + ("\n" if complete else "<|im_end|>\n")
        assert shown_text == text  # always, even where a turn was cut or spells control tokens
        spelt = any("<|" in s.turn.text for s in trajectory.steps)
        if complete and not spelt:
            again = processor(text=[text], images=played.seen.images[i] or None)["input_ids"][0]
            assert prompt + completion == again[: len(prompt + completion)]
            assert again[len(prompt + completion) :] == processor.tokenizer("\n")["input_ids"]
            compared += 1
    assert compared == 9


def test_every_image_of_every_rollout_reaches_the_loss_and_no_other_does(played):
    trainer, batch = played.trainer, played.batch
    sizes = batch["image_grid_thw"].prod(-1).tolist()
    numbers = [set(piece[:, 0].tolist()) for piece in batch["pixel_values"].split(sizes)]
    assert all(len(n) == 1 for n in numbers)
    found = iter(trainer._chat.vision.picture(n.pop()).key for n in numbers)
    for n, images in zip(batch["num_images"], played.seen.images, strict=True):
        assert n == len(images)
        assert [next(found) for _ in range(n)] == [image_key(image) for image in images]
    assert next(found, None) is None


def test_an_observation_that_does_not_fit_ends_its_own_rollout_only_and_is_counted(played, either_pocket, tmp_path):
    metrics = played.trainer._metrics["train"]
    stops = [t.stop for t in played.seen.trajectories]
    assert stops.count(StopReason.CONTEXT_BUDGET) == 1
    assert metrics["stop/context_budget"] == [1 / 12]
    assert metrics["stop/turn_budget"] == [2 / 12]
    assert metrics["completions/clipped_ratio"] == [3 / 12]
    calls = sum(len(t.calls) for t in played.seen.trajectories)
    assert metrics["tools/call_frequency"] == [calls / 12]
    i = stops.index(StopReason.CONTEXT_BUDGET)
    prompt, completion = ids_of(played.batch, i)
    assert len(prompt + completion) < either_pocket.tight
    assert played.seen.conversations[i].messages[-1].role == "assistant"
    wide = make_recipe(max_context=1000, temperature=0.7)
    trainer, _ = mixed(either_pocket, tmp_path, wide)
    plans = mixed_plans(either_pocket.tasks[:3])
    plans[either_pocket.tasks[0].id][2].append(answer(1))
    vocabulary = Vocabulary(trainer.processing_class.tokenizer, 9999)
    trainer._chat.script = script(vocabulary, plans)
    with trainer._chat.vision.features_from_ids():
        batch = prepare(trainer)
    for j in set(range(12)) - {i}:
        assert ids_of(batch, j) == ids_of(played.batch, j)
    assert sum(map(len, ids_of(batch, i))) > either_pocket.tight


@pytest.mark.parametrize("train_overflow", [True, False])
def test_cut_rollouts_learn_only_where_they_are_told_to(pocket, tmp_path, train_overflow):
    task = pocket.tasks[2]
    plans = {task.id: [[answer(1)], ["<think>cut" + UNFINISHED], [call(task), "<think>cut" + UNFINISHED], [answer(2)]]}
    trainer = trainer_of(pocket, tmp_path, plans, [task], make_recipe(1, 4, train_overflow=train_overflow))
    batch = prepare(trainer)
    learns = [bool((batch["tool_mask"][i] * batch["completion_mask"][i]).any()) for i in range(4)]
    assert learns == [True, train_overflow, train_overflow, True]
    assert batch["num_items_in_batch"] == (batch["tool_mask"] * batch["completion_mask"]).sum()


@pytest.mark.parametrize("scale_rewards", ["group", "batch", "none"])
def test_the_share_of_groups_without_advantage_is_of_groups_whatever_advantages_are_scaled_by(
    pocket, tmp_path, scale_rewards
):
    one, other = pocket.tasks[0], pocket.tasks[2]
    plans = {one.id: [[answer(1)]] * 4, other.id: [[answer(1)], [call(other), answer(2)], ["nothing"], [answer(2)]]}
    trainer = trainer_of(pocket, tmp_path, plans, [one, other], make_recipe(2, 4, scale_rewards=scale_rewards))
    with trainer._chat.vision.features_from_ids():
        advantages = prepare(trainer)["advantages"].view(2, 4)
    assert sorted(bool(group.any()) for group in advantages.abs() > 1e-3) == [False, True]
    assert trainer._metrics["train"]["frac_reward_zero_std"] == [0.5]


def test_a_batch_without_any_image_is_scored_as_it_was_played(pocket, tmp_path):
    task = pocket.tasks[2]
    plans = {task.id: [[answer(1)], [call(task), answer(2)], ["nothing"], [answer(2)]]}
    kept = {}
    trainer = trainer_of(
        pocket,
        tmp_path,
        plans,
        [task],
        make_recipe(1, 4),
        on_rollouts=lambda _, outcomes, scores: kept.update(images=[shown(o.episode) for o in outcomes]),
    )
    plain_model = copy.deepcopy(trainer.model).eval()
    for module in plain_model.modules():
        module.__dict__.pop("forward", None)
    with trainer._chat.vision.features_from_ids():
        batch = prepare(trainer)
        assert "pixel_values" not in batch
        assert largest_difference(trainer, batch, SimpleNamespace(**kept), plain_model) <= 5e-5


def test_a_model_that_wants_image_tokens_never_samples_one_and_a_forced_one_is_an_error(pocket, tmp_path):
    task = pocket.tasks[0]
    plans = {task.id: [[answer(1)], [answer(2)], [call(task), answer(1)]]}
    trainer = trainer_of(pocket, tmp_path, plans, [task], make_recipe(1, 4))
    pad, play = trainer._image_pad_token_id, trainer._chat.script
    trainer._chat.script = lambda c: play(c) if c.rollout < 3 else None

    def eager(module, inputs, logits):
        return logits.index_fill(-1, torch.tensor([pad]), 50.0)

    handle = trainer.accelerator.unwrap_model(trainer.model).get_base_model().lm_head.register_forward_hook(eager)
    with trainer._chat.vision.features_from_ids():
        batch = prepare(trainer)
        assert batch["num_images"] == [1, 1, 2, 1]
        prompts = [ids_of(batch, i)[0] for i in range(4)]
        assert all(p.count(pad) == prompts[0].count(pad) > 0 for p in prompts)
        assert pad not in ids_of(batch, 3)[1]
        handle.remove()
        trainer._chat.script = lambda c: [pad, 5] if c.rollout == 3 else play(c)
        with pytest.raises(RuntimeError, match="image tokens do not match images"):
            prepare(trainer)


def test_a_prompt_that_does_not_fit_is_named_and_teaches_nothing_and_none_that_fits_is_a_mistake(
    pocket, tmp_path, capsys
):
    trainer, _ = mixed(pocket, tmp_path / "some", make_recipe(max_context=50, max_new_tokens=9))
    with trainer._chat.vision.features_from_ids():
        batch = prepare(trainer)
    long = [i for i, outcome in enumerate(trainer.outcomes) if not outcome.trajectory.steps]
    assert 0 < len(long) < len(trainer.outcomes)
    assert all(trainer.outcomes[i].trajectory.stop is StopReason.CONTEXT_BUDGET for i in long)
    assert (batch["tool_mask"] * batch["completion_mask"])[long].sum() == 0
    said = capsys.readouterr().err
    names = {trainer.outcomes[i].task.id for i in long}
    assert all(said.count(f"the prompt of task {name} does not fit max_context") == 1 for name in names)
    trainer, _ = mixed(pocket, tmp_path / "none", make_recipe(max_context=10, max_new_tokens=9))
    for _ in range(IN_A_ROW - 1):  # one task's prompt may be all there is in a batch
        assert prepare(trainer)["tool_mask"].sum() == 0
    with pytest.raises(ArmliteError, match=r"the prompt of task \S+ does not fit max_context"):
        prepare(trainer)


def test_the_distance_to_the_policy_without_its_adapter_is_trls_estimate_of_it(played):
    trainer, batch, (measured,) = played.trainer, played.batch, played.trainer._metrics["train"]["kl"]
    total, count = 0.0, 0
    for i in range(0, len(batch["prompt_ids"]), -(-len(batch["prompt_ids"]) // KL_ROWS)):
        prompt, completion = ids_of(batch, i)
        asked = trainer.processing_class, prompt + completion, len(prompt), played.seen.images[i], trainer.temperature
        now = alone(played.plain, *asked)
        with played.plain.disable_adapter():
            away = alone(played.plain, *asked) - now
        sampled = batch["tool_mask"][i, : len(completion)]
        total, count = total + ((away.exp() - away - 1) * sampled).sum().item(), count + sampled.sum().item()
    assert total / count > 0.1, "the tiny model's adapter is no new one"
    assert measured == pytest.approx(total / count, rel=1e-3)
    assert all(p.requires_grad for n, p in trainer.model.named_parameters() if "lora_" in n)
