"""A run that is asked to end: after its step, with a checkpoint; asked twice, at once. And rollouts without fruit."""

import os
import signal

import pytest
import torch
from tiny_run import UNFINISHED, answer, make_recipe, trainer_of
from transformers import TrainerCallback

from armlite.cli.screen import Counter
from armlite.train.checkpoints import CompleteCheckpoints, last_step, train_to_end
from armlite.train.fruitless import IN_A_ROW, Fruitless
from armlite.train.stopping import SOON, Stopped, on_signal, stop_at_once
from armlite.types import Score, StopReason, Task, Trajectory

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")
BEFORE = signal.getsignal(signal.SIGINT)


class _Asked(TrainerCallback):
    """Sends this process signals in a step."""

    def __init__(self, step, *numbers):
        self._step, self._numbers = step, numbers

    def on_step_begin(self, args, state, control, **_):
        if state.global_step + 1 == self._step:
            for number in self._numbers:
                os.kill(os.getpid(), number)


def asked(pocket, folder, step, *numbers, **stage):
    task = pocket.tasks[0]
    recipe = make_recipe(1, 4, **{"steps": 4, "save_steps": 4, **stage})
    callbacks = [CompleteCheckpoints(), _Asked(step, *numbers)]
    trainer = trainer_of(pocket, folder, {task.id: [[answer(1)], [answer(2)]]}, [task], recipe, callbacks=callbacks)
    with trainer._chat.vision.features_from_ids():
        train_to_end(trainer, resume=True)


def test_a_signal_ends_a_stage_after_its_step_which_is_saved(pocket, tmp_path, capsys):
    with pytest.raises(Stopped, match="^stopped after step 2, which is saved$") as stop:
        asked(pocket, tmp_path, 2, signal.SIGTERM)
    assert stop.value.status == 143
    assert last_step(tmp_path) == 2
    assert "stops after this step; once more: at once" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is BEFORE
    asked(pocket, tmp_path, 0)
    assert last_step(tmp_path) == 4


def test_a_second_signal_ends_it_at_once(pocket, tmp_path):
    with pytest.raises(Stopped, match="amid a step") as stop:
        asked(pocket, tmp_path, 2, signal.SIGINT, signal.SIGINT)
    assert stop.value.status == 130
    assert last_step(tmp_path) == 0
    assert signal.getsignal(signal.SIGINT) is BEFORE


def test_rollouts_that_are_used_twice_are_used_up_before_a_save(pocket, tmp_path):
    with pytest.raises(Stopped, match="after step 2, which is saved"):
        asked(pocket, tmp_path, 1, signal.SIGINT, num_iterations=2)
    assert last_step(tmp_path) == 2


def test_a_save_that_takes_long_is_spared(pocket, tmp_path, monkeypatch):
    monkeypatch.setattr("armlite.train.stopping.SOON", -1.0)
    with pytest.raises(Stopped, match="after step 3, the last checkpoint is of step 2"):
        asked(pocket, tmp_path, 3, signal.SIGINT, save_steps=2)
    assert SOON == 10


def test_between_the_steps_a_signal_ends_a_run_at_once():
    with pytest.raises(Stopped, match="what was done is kept") as stop, on_signal(stop_at_once):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.value.status == 143


def test_whoever_interrupts_work_that_is_kept_is_told_so(capsys):
    for kept, said in ((True, "stopped; what is done is kept, and the same command goes on\n"), (False, "")):
        with pytest.raises(KeyboardInterrupt), Counter("pairs", kept):
            raise KeyboardInterrupt
        assert capsys.readouterr().err == said


TASK = Task(id="t", kind="pairwise", question="?", responses=("a", "b"), gold=1)


def generation(stop, *totals):
    trajectory = Trajectory(task=TASK, order=(1, 2), stop=stop)
    return [trajectory] * len(totals), [Score(parts={"answer": t}) for t in totals], 2


CASES = {
    "runs out of tokens": (StopReason.TURN_BUDGET, 0.0, 0.0, 0.0, 0.0),
    "every reward is 0": (StopReason.ANSWERED, 0.0, 0.0, 0.0, 0.0),
    "earn the same": (StopReason.ANSWERED, 1.0, 1.0, 0.0, 0.0),
}


@pytest.mark.parametrize(("said", "bad"), CASES.items())
def test_rollouts_that_teach_nothing_are_told_once_a_stage(said, bad):
    bad, good = generation(*bad), generation(StopReason.ANSWERED, 1.0, 0.0, 1.0, 1.0)
    for generations, wait in ((100, IN_A_ROW), (2, 2)):
        watch = Fruitless(generations)
        told = [watch.see(*bad) for _ in range(wait - 1)] + [watch.see(*good)] + [watch.see(*bad) for _ in range(20)]
        assert [n for n, line in enumerate(told) if line] == [2 * wait - 1]
        assert said in told[2 * wait - 1]
        assert not any(watch.see(*some) for some in (good, *[bad] * 9))


def test_a_stage_without_fruit_says_so_on_stderr(pocket, tmp_path, capsys):
    task = pocket.tasks[0]
    trainer = trainer_of(pocket, tmp_path, {task.id: [["<think>hm" + UNFINISHED]]}, [task], make_recipe(1, 4, steps=2))
    with trainer._chat.vision.features_from_ids():
        trainer.train()
    assert capsys.readouterr().err.count("every rollout runs out of tokens") == 1
