"""One loop: what the trainer learns from is what `play` and `Judge` would have shown, for the same sampled text."""

import pytest
import torch
from playing import play
from tiny_run import RULES, TURN, make_recipe, mixed_plans, script, trainer_of

from armlite.episode import Episode
from armlite.judge import Judge
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.loading import load
from armlite.models.local import LocalModel, Sampling
from armlite.store import Saved, read, save
from armlite.types import StopReason

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def trained(pocket, tmp_path_factory):
    """The pocket, and trajectories with their images out of the trainer's generation step."""
    tasks, made = pocket.tasks[:3], {}
    trainer = trainer_of(
        pocket,
        tmp_path_factory.mktemp("work"),
        mixed_plans(tasks),
        tasks,
        make_recipe(max_context=pocket.tight),
        on_rollouts=lambda step, outcomes, scores: made.update(
            trajectories=[o.trajectory for o in outcomes], pixels=[o.images for o in outcomes]
        ),
        peft_config=None,
    )
    trainer.model.train()
    trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
    return pocket, made["trajectories"], made["pixels"]


@pytest.fixture(scope="module")
def chat(trained):
    """A model that says what the trainer's said."""
    model, processor = load(trained[0].folder)
    says = script(
        Vocabulary(processor.tokenizer, model.config.text_config.vocab_size), mixed_plans(trained[0].tasks[:3])
    )
    sampling = Sampling(temperature=1.0, max_new_tokens=TURN, max_context=trained[0].tight)
    return LocalModel(model, processor, sampling, script=says, name="policy")


def test_the_trainer_and_play_give_the_same_trajectories_and_pixels(trained, chat):
    pocket, trajectories, pixels = trained
    assert {t.stop for t in trajectories} == {
        StopReason.ANSWERED,
        StopReason.NO_ANSWER,
        StopReason.TURN_BUDGET,
        StopReason.CONTEXT_BUDGET,
    }
    episodes = [Episode.open(t.task, RULES, pocket.root, t.order, t.rollout) for t in trajectories]
    play(episodes, chat)
    assert [e.trajectory() for e in episodes] == trajectories
    assert [e.pixels() for e in episodes] == pixels


def test_the_trainer_and_the_judge_give_the_same_trajectories(trained, chat):
    pocket, trajectories, _ = trained
    judge = Judge(chat, RULES)
    compared = 0
    for trajectory in trajectories:
        votes = {(1, 2): (trajectory.rollout, False), (2, 1): (trajectory.rollout - 1, True)}
        first, swap = votes[trajectory.order]  # the swapped order is the second vote, and the next rollout
        if first >= 0:
            verdict = judge.judge(trajectory.task, root=pocket.root, rollout=first, swap=swap)
            assert trajectory in verdict.trajectories
            compared += 1
    assert compared >= 8


def test_what_is_saved_and_read_again_is_the_same(trained, tmp_path):
    _, trajectories, pixels = trained
    save(
        tmp_path / "rows.jsonl",
        [Saved(trajectory=t) for t in trajectories],
        {k: v for p in pixels for k, v in p.items()},
    )
    assert [row.trajectory for row in read(tmp_path)] == trajectories
