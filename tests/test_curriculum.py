"""`curriculum: easy_first`: a stage's tasks in the order of their pass rates."""

import json

import pytest

from armlite.errors import ArmliteError
from armlite.recipe import load_recipe
from armlite.train.grpo import dataset, filter_tasks
from armlite.types import Task

TASKS = [Task(id=f"t{i}", kind="pairwise", question="?", responses=("a", "b"), gold=1) for i in range(40)]
RATES = {f"t{i}": (i * 7 % 20) / 20 for i in range(40)}


def test_easy_tasks_come_first_and_steps_have_different_ones():
    rows = dataset(TASKS, 11, 4, without_tools=0, seed=3, swept=True)
    ids = [json.loads(task)["id"] for task in rows["task"]]
    steps = [[int(name[1:]) for name in ids[at : at + 4]] for at in range(0, 44, 4)]
    assert all(len(set(step)) == 4 for step in steps)
    assert max(steps[0]) < 10 and min(steps[-1]) >= 30
    assert [ids, *[rows[name] for name in ("with_tools", "order")]] == [
        [json.loads(task)["id"] for task in dataset(TASKS, 11, 4, 0, 3, swept=True)["task"]],
        *[dataset(TASKS, 11, 4, 0, 3, swept=True)[name] for name in ("with_tools", "order")],
    ]


def test_pass_rates_of_the_filter_order_tasks(tmp_path):
    file = tmp_path / "grpo2.json"
    file.write_text(json.dumps({"rollouts": 4, "pass_rate": {**RATES, "t3": 1.0}, "faults": {"t5": "gone"}}))
    recipe = load_recipe("recipes/lab.yaml")
    kept = filter_tasks(recipe, 4, None, TASKS, tmp_path, file, None, easy_first=True)
    rates = [RATES[task.id] for task in kept]
    assert rates == sorted(rates, reverse=True) and len(kept) == 38
    assert filter_tasks(recipe, 4, None, TASKS, tmp_path, file, None) == [t for t in TASKS if t.id not in ("t3", "t5")]


def test_without_pass_rates_there_is_no_curriculum():
    with pytest.raises(ArmliteError, match=r"easy_first goes by pass rates: set filter_rollouts"):
        load_recipe("recipes/lab.yaml", ["stages.grpo2.curriculum=easy_first"])
