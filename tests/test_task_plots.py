"""Plots of a run by its tasks: by calls needed, calls made against them, and pass rates before and after the filter."""

import json
import random

from PIL import Image

from armlite.evals.figures import Answer, Item
from armlite.evals.tasks import score
from armlite.store import Saved, save
from armlite.train.task_plots import confusion, draw_task_plots
from armlite.types import Observation, Step, Task, Trajectory, Turn


def judged(number, needs, calls, right, rollout=0):
    meta = {} if needs is None else {"needs": needs}
    task = Task(id=f"t{number}", kind="pairwise", question="q", responses=("x", "y"), gold=1, meta=meta)
    look = Step(turn=Turn(text="t"), observation=Observation(ok=True, text="o", tool="zoom"))
    steps = (*[look] * calls, Step(turn=Turn(text="t", answer="a")))
    return Trajectory(task=task, steps=steps, stop="answered", decision=1 if right else 2, rollout=rollout)


def write_round(run, checkpoint, made):
    save(run / "eval" / checkpoint / "greedy.jsonl", [Saved(trajectory=t) for t in made])
    figures = score([Item(t.task, (Answer(t),)) for t in made if t.rollout == 0])
    return {"greedy": {"figures": {name: figure.model_dump(mode="json") for name, figure in figures.items()}}}


def test_a_run_of_tasks_that_say_what_they_need_gets_a_plot_of_each_kind(tmp_path):
    rng, found = random.Random(0), {}
    for checkpoint, share in (("base", 0.2), ("sft", 0.5), ("grpo2", 0.9)):
        made = [
            judged(n, n % 3, n % 3 if rng.random() < share else rng.randrange(3), rng.random() < share)
            for n in range(90)
        ]
        found[checkpoint] = write_round(tmp_path, checkpoint, made)
    (tmp_path / "filter").mkdir()
    rates = {f"t{n}": n % 5 / 4 for n in range(100)}
    (tmp_path / "filter" / "grpo2.json").write_text(json.dumps({"rollouts": 4, "pass_rate": rates, "faults": {}}))
    plots = draw_task_plots(tmp_path, found)
    assert [file for _, file in plots] == [
        "plots/accuracy_by_needs.png",
        "plots/calls_by_needs.png",
        "plots/confusion.png",
        "plots/pass_rate_grpo2.png",
    ]
    assert all(Image.open(tmp_path / file).size == (880, 352) for _, file in plots)


def test_the_confusion_counts_first_judgments_of_tasks_that_say_what_they_need(tmp_path):
    made = [judged(1, 2, 1, True), judged(1, 2, 0, True, rollout=1), judged(2, 0, 0, True), judged(3, None, 1, True)]
    write_round(tmp_path, "sft", made)
    assert confusion(tmp_path, "sft") == {(2, 1): 1, (0, 0): 1}
    assert confusion(tmp_path, "grpo1") == {}


def test_a_run_without_needs_and_filter_has_no_such_plots(tmp_path):
    assert draw_task_plots(tmp_path, {"sft": write_round(tmp_path, "sft", [judged(1, None, 1, True)])}) == []
