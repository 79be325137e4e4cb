"""Multimodal RewardBench's scorer on hand-computed rows."""

import json

import pytest
from published import multimodal_rewardbench as fixture
from published.answers import answered

from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.figures import Item
from armlite.types import Task

BENCHMARK = get_benchmark("multimodal-rewardbench")


def item(name, category, sub, gold, said):
    group = {"category": category} | ({"sub": sub} if sub else {})
    meta = {"published_id": name, "group": group}
    task = Task(id=name, kind="pairwise", question="Q", responses=("a", "b"), gold=gold, meta=meta)
    text = "no verdict" if said is None else f"<think>x</think><answer>Answer {said} is better.</answer>"
    return Item(task, (answered(task, text),))


# random.seed(123) draws 0.052, 0.087, 0.407, 0.108, 0.901: four times output 1, then output 2.
ITEMS = [
    item("pairs_1", "safety", "bias", 1, None),  # drawn 1: right
    item("x_1", "safety", "toxicity", 2, None),  # drawn 1: wrong
    item("x_2", "safety", "toxicity", 2, 2),  # right, draws nothing
    item("math_1", "reasoning", "math", 1, None),  # drawn 1: right
    item("code_1", "reasoning", "coding", 2, 1),  # wrong
    item("vqa_1", "vqa", "", 2, None),  # drawn 1: wrong
    item("vqa_2", "vqa", "", 2, None),  # drawn 2: right
]


def test_unread_verdicts_are_drawn_wrong_or_left_out_under_three_names():
    figures = BENCHMARK.score(ITEMS)
    expected = {
        "acc_official": 4 / 7,
        "acc_all": 1 / 7,
        "acc_parsed": 1 / 2,
        "acc_official/safety": 2 / 3,
        "acc_official/safety/bias": 1 / 1,
        "acc_official/safety/toxicity": 1 / 2,
        "acc_official/reasoning/math": 1 / 1,
        "acc_official/reasoning/coding": 0 / 1,
        "acc_official/vqa": 1 / 2,
        "acc_all/safety": 1 / 3,
        "acc_parsed/safety": 1 / 1,
        "acc_all/vqa": 0 / 2,
        "parse_failures": 5 / 7,
    }
    assert {name: figures[name].value for name in expected} == pytest.approx(expected)
    assert figures["acc_parsed/vqa"].value is None
    assert (figures["acc_parsed"].n, figures["acc_official/safety"].n) == (2, 3)


def test_the_draws_are_the_same_each_time():
    assert BENCHMARK.score(ITEMS) == BENCHMARK.score(ITEMS)


def test_the_official_file_has_a_verdict_only_where_one_was_read():
    rows = [json.loads(line) for line in BENCHMARK.official(ITEMS)["multimodal-rewardbench.jsonl"].splitlines()]
    assert [row["output"] for row in rows] == ["", "", "[[B]]", "", "[[A]]", "", ""]
    assert [row["Label"] for row in rows] == ["A", "B", "B", "A", "B", "B", "B"]
    assert (rows[0]["ID"], rows[0]["Meta"]["Category"]) == ("pairs_1", "safety")


def test_ids_that_repeat_are_told_apart_and_halves_found(tmp_path):
    fixture.build(tmp_path, "json")
    convert(get_set("multimodal-rewardbench"), tmp_path, tmp_path / "out/tasks.jsonl")
    tasks = read_tasks(tmp_path / "out/tasks.jsonl")
    assert [task.id for task in tasks[1:3]] == ["visitbench_61", "visitbench_61#2"]
    assert [task.meta["published_id"] for task in tasks[1:3]] == ["visitbench_61"] * 2
    assert [task.meta["group"].get("sub") for task in tasks[4:7]] == ["math", "coding", "bias"]
    assert [task.gold for task in tasks] == [1, 2, 1, 2, 1, 2, 1, 2]
