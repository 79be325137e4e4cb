"""MME-RealWorld: drifting keys and parentheses, the script's reading of letters, and figures counted by hand."""

import json

import pytest
from published import mme_realworld
from published.answers import answered
from published.pieces import converted

from armlite.data.check import check
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.benchmarks.mme_realworld import official_letter
from armlite.evals.figures import Answer, Item
from armlite.types import Step, StopReason, Trajectory, Turn

OPTIONS = {"A": "red", "B": "tan", "C": "blue", "D": "grey", "E": "The image does not feature it"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("C", "C"),
        ("(D) grey", "D"),
        ("The best answer is B", "B"),
        ("The answer is: D.", "D"),
        ("Answer: C", "A"),  # the first of A to E anywhere
        ("Best answer: C", "B"),  # a comma is missing, so this prefix is never taken away
        ("The best option is C", "C"),  # nor this one, but it has no capital A to E
        ("blue", "C"),  # the first option that contains it
        ("e", "A"),  # (A) red
        ("purple", ""),
        ("one two three four five six seven eight nine ten eleven", ""),
        ("", "A"),  # every option contains the empty text
    ],
)
def test_the_script_reads_the_first_capital_it_meets(text, letter):
    assert official_letter(text, OPTIONS) == letter


@pytest.mark.parametrize("form", mme_realworld.FORMS)
@pytest.mark.parametrize("name", mme_realworld.NAMES)
def test_all_forms_and_parts_give_the_same_questions(name, form, tmp_path):
    first, second, third = converted(tmp_path, mme_realworld, form, name).values()
    assert first.meta["group"] == {"task": "Perception", "subtask": "Monitoring", "l2": "vehicle/attribute"}
    assert third.meta["group"] == {"task": "Perception", "subtask": "Remote Sensing", "l2": "position"}
    assert first.options["E"] == second.options["E"] == "The image does not feature it"
    assert third.options["B"] == "left (upper)"
    assert [task.gold for task in (first, second, third)] == ["B", "E", "C"]


def answers(tasks):
    a, b, c = tasks  # gold B, E, C
    return [
        Item(a, (answered(a, "<think>Cars.</think><answer>B</answer>"),)),
        Item(b, (answered(b, "<think>x</think><answer>Answer: E</answer>"),)),  # the script reads an A
        Item(c, (answered(c, "<think>hm</think>The answer is C"),)),  # no <answer>: the whole turn is read
    ]


def test_readings_are_counted_apart_and_by_task_subtask_and_category(tmp_path):
    items = answers(converted(tmp_path, mme_realworld, "json").values())
    figures = {name: figure.value for name, figure in get_benchmark("mme-realworld").score(items).items()}
    assert figures["acc"] == pytest.approx(2 / 3)
    assert figures["parse_failures"] == pytest.approx(1 / 3)
    assert figures["acc_official"] == pytest.approx(2 / 3)
    assert (figures["acc_official/Perception"], figures["acc_official/Reasoning"]) == (1, 0)
    assert figures["acc_official/Perception/Monitoring/vehicle/attribute"] == 1
    assert figures["acc_official/Reasoning/Diagram and Table"] == 0
    assert figures["macro_official"] == pytest.approx((1 + 0 + 1) / 3)
    assert figures["acc_last_turn"] == pytest.approx(1 / 3)  # C of Cars, A of Answer, C
    assert figures["refusals"] == 0


def test_a_refusal_is_counted_and_silence_is_wrong(tmp_path):
    a, b, _ = converted(tmp_path, mme_realworld, "tsv").values()  # gold B, E
    silent = Trajectory(task=a, steps=(Step(turn=Turn(text="B", finish="error")),), stop=StopReason.MODEL_ERROR)
    items = [Item(a, (Answer(silent),)), Item(b, (answered(b, "<think>x</think><answer>E</answer>"),))]
    figures = get_benchmark("mme-realworld-lite").score(items)
    assert [figures[n].value for n in ("acc", "acc_official", "refusals", "parse_failures")] == [0.5, 0.5, 0.5, 0.5]


def test_the_official_file_has_the_keys_that_the_script_reads(tmp_path):
    items = answers(converted(tmp_path, mme_realworld, "json", "mme-realworld-cn").values())
    (content,) = get_benchmark("mme-realworld-cn").official(items).values()
    rows = json.loads(content)
    assert [row["Output"] for row in rows] == ["B", "Answer: E", "The answer is C"]
    for row in rows:
        assert {"Question_id", "Task", "Subtask", "Category", "Ground truth", "Answer choices", "Output"} <= set(row)
        assert row["Answer choices"][1].startswith("（B）")


@pytest.mark.parametrize(
    ("key", "value", "field", "why"),
    [
        ("Answer choices", ["(A) x"], "Answer choices", "holds 1 options, at least 2 are needed"),
        ("Answer choices", ["(A) x", "(B) y", "z", "(D) w", "(E) v"], "Answer choices.2", "must begin with one of"),
        ("Subtask", "Cooking", "Subtask", "is 'Cooking', must be one of Monitoring"),
        ("Ground truth", None, "Ground truth", "is missing"),
        ("Image", "../elsewhere.png", "Image", "outside the set's folder"),
    ],
)
def test_a_row_that_breaks_the_schema_is_named_with_its_published_key(key, value, field, why, tmp_path):
    mme_realworld.build(tmp_path, "json")
    file = tmp_path / "MME_RealWorld.json"
    rows = json.loads(file.read_text("utf-8"))
    rows[1][key] = value
    file.write_text(json.dumps(rows), "utf-8")
    (problem,) = check(get_set("mme-realworld"), tmp_path).problems
    assert (problem["row"], problem["field"]) == (2, field)
    assert why in problem["why"]
