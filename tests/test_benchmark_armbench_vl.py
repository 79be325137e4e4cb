"""ARMBench-VL: the reader's rules and the type-strict scorer, on hand-made rows."""

import json

import pytest
from published import armbench_vl as fixture
from published.answers import answered
from published.pieces import write_jsonl

from armlite.data.check import check
from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.figures import Answer, Item
from armlite.types import StopReason, Task

BENCHMARK = get_benchmark("armbench-vl")


def item(tag, gold, text, order=None):
    kind, count = {
        "single_rm": ("pointwise", 1),
        "pair_rm": ("pairwise", 2),
        "2-way-pair_rm": ("pairwise", 2),
        "4-way-pair_rm": ("listwise", 4),
    }[tag]
    meta = {"published_id": 5, "group": {"rm_tag": tag, "track": "t"}}
    task = Task(id="t/5", kind=kind, question="Q", responses=tuple("abcd")[:count], gold=gold, meta=meta)
    return Item(task, (answered(task, text, order=order),))


@pytest.mark.parametrize(
    ("tag", "gold", "text", "order", "ours", "theirs"),
    [
        ("pair_rm", 1, "<think>x</think><answer>Overall Judgment: Answer 1 is better.</answer>", None, 1, 1),
        ("pair_rm", 1, "<think>x</think><answer>Answer 1 is slightly better</answer>", (2, 1), 0, 0),
        ("pair_rm", 2, "<think>x</think><answer>Answer 1 is the better</answer>", (2, 1), 1, 1),
        ("2-way-pair_rm", 2, "<think>x</think><answer> 2 </answer>", None, 1, 1),
        # Only the last match counts there, wherever it stands; ours reads the answer alone.
        ("2-way-pair_rm", 2, "Answer 2 is better. <answer>1</answer>", None, 0, 1),
        ("2-way-pair_rm", 2, "<think>Answer 1 is better?</think><answer>Answer 2 is preferred</answer>", None, 1, 1),
        ("4-way-pair_rm", 4, "<think>x</think><answer>Answer 4 is better</answer>", None, 1, 1),
        ("4-way-pair_rm", 4, "<think>x</think><answer>Answer 7 is better</answer>", None, 0, 0),
        ("4-way-pair_rm", 3, "<think>x</think><answer>Answer 3 is correct</answer>", None, 1, 0),
        ("single_rm", True, "<think>x</think><answer>Overall Judgment: True</answer>", None, 1, 1),
        ("single_rm", False, "<think>x</think><answer>Overall Judgment: True</answer>", None, 0, 0),
        ("single_rm", True, "<think>x</think><answer>1</answer>", None, 0, 0),  # 1 is not True
        ("single_rm", False, "<think>True</think><answer>false</answer>", None, 1, 1),  # capitals are ignored there too
        ("single_rm", True, "<think>x</think><answer>Overall Judgment: true</answer>", None, 1, 1),
        ("single_rm", True, "<think>x</think><ANSWER>TRUE</ANSWER>", None, 0, 1),
        ("pair_rm", 2, "<think>x</think><Answer>2</Answer>", None, 0, 1),
        ("single_rm", False, "no tags at all", None, 0, 0),
        ("pair_rm", 1, "", None, 0, 0),
    ],
)
def test_a_choice_is_right_where_it_equals_the_gold_type_included(tag, gold, text, order, ours, theirs):
    figures = BENCHMARK.score([item(tag, gold, text, order)])
    assert (figures["acc"].value, figures["acc_reference"].value) == (ours, theirs)


ITEMS = [
    item("pair_rm", 1, "<think>x</think><answer>Answer 1 is better</answer>"),
    item("pair_rm", 1, "<think>x</think><answer>Answer 2 is better</answer>"),
    item("4-way-pair_rm", 3, "unread"),
    item("single_rm", False, "<think>x</think><answer>Overall Judgment: False</answer>"),
    item("single_rm", True, "<think>x</think><answer>true</answer>"),
]


def test_the_overall_figure_is_the_plain_mean_over_all_tags():
    figures = BENCHMARK.score(ITEMS)
    expected = {
        "acc": 3 / 5,
        "acc/pair_rm": 1 / 2,
        "acc/4-way-pair_rm": 0 / 1,
        "acc/single_rm": 2 / 2,
        "acc/t": 3 / 5,
        "acc_reference": 3 / 5,
        "acc_reference/single_rm": 2 / 2,
        "parse_failures": 1 / 5,
        "parse_failures_reference": 1 / 5,
    }
    assert {name: figures[name].value for name in expected} == expected


def test_an_item_without_an_answer_is_wrong_and_a_failure():
    figures = BENCHMARK.score([Item(ITEMS[0].task, ())])
    assert (figures["acc"].value, figures["parse_failures"].value) == (0, 1)


def test_the_official_files_have_the_scores_and_texts_for_true_and_false():
    files = BENCHMARK.official(ITEMS)
    rows = [json.loads(line)["judge_result"] for line in files["armbench-vl.jsonl"].splitlines()]
    assert [(row["model_choice"], row["gt"], row["score"]) for row in rows] == [
        (1, 1, 1),
        (2, 1, 0),
        (None, 3, 0),
        ("False", "False", 1),
        ("True", "True", 1),
    ]
    assert rows[2]["flag_status"] == "ExtractFailed"
    table = json.loads(files["armbench-vl_scores.json"])
    assert table["overall"] == {"score": 3, "count": 5, "average": 0.6}
    assert table["pair_rm"] == {"score": 1, "count": 2, "average": 0.5}


def test_a_named_document_is_given_itself_and_a_missing_one_as_its_contact_sheet(tmp_path):
    fixture.build(tmp_path, "jsonl")
    convert(get_set("armbench-vl"), tmp_path, tmp_path / "out/tasks.jsonl")
    tasks = {task.id: task for task in read_tasks(tmp_path / "out/tasks.jsonl")}
    whole, sheet = (tasks[f"multimodal_long_document/{n}"] for n in (0, 1))
    assert (whole.document, whole.images) == ("../documents/report.pdf", ())
    assert (sheet.document, sheet.images) == (None, ("../images/other.jpg",))
    constraints = tasks["multimodal_instruction_following/0"].constraints
    assert constraints[0].check == "check_whether_response_word_count_in_range"
    assert constraints[0].arguments == {"lower_bound": 2, "upper_bound": 4}
    assert (constraints[1].text, constraints[1].check) == ("Be polite.", None)
    assert tasks["fine_grained_perception/relpos-1"].question == "Where is it?"


RULE = {"func": "check_no_such_thing", "params": []}
BAD = [
    ({"rm_tag": "3-way"}, "rm_tag", "must be one of single_rm"),
    ({"preds": ["a"]}, "preds", "must hold 2 for pair_rm, not 1"),
    ({"preds": ["a", 2]}, "preds.1", "must not be int '2'"),
    ({"gt": True}, "gt", "whole number from 1 to 2, not True"),
    ({"gt": 3}, "gt", "whole number from 1 to 2, not 3"),
    ({"gt": 0}, "gt", "whole number from 1 to 2, not 0"),
    ({"rm_tag": "single_rm", "preds": ["a"], "gt": True}, "gt", "the text 'True' or 'False'"),
    ({"doc_id": "../../etc"}, "doc_id", "outside the documents' folder"),
    ({"constraints": [{"value": ""}]}, "constraints.0", "no text"),
    ({"constraints": [{"value": "x", "judge": {"method": "rule_based", "verify_funcs": [RULE]}}]}, "constraints.0",
     "no check named 'check_no_such_thing'"),
    ({"constraints": ["x", 3]}, "constraints.1", "must not be int '3'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "why"), BAD, ids=[f"{field}-{n}" for n, (_, field, _) in enumerate(BAD)])
def test_a_bad_field_is_named(change, field, why, tmp_path):
    row = {"idx": 1, "rm_tag": "pair_rm", "question": "Q", "preds": ["a", "b"], "images": ["a.jpg"], "gt": 1} | change
    write_jsonl(tmp_path / "fine_grained_perception.jsonl", [row])
    [problem] = check(get_set("armbench-vl"), tmp_path).problems
    assert (problem["field"], problem["row"]) == (field, 1)
    assert why in problem["why"]


def test_a_message_of_ours_is_nobody_s_verdict():
    right = item("pair_rm", 1, "<think>x</think>Answer 1 is better.")
    [answer] = right.answers
    failed = answer.trajectory.model_copy(update={"stop": StopReason.MODEL_ERROR})
    wrong = Item(right.task, (Answer(failed),))
    assert BENCHMARK.score([right])["acc_reference"].value == 1 and BENCHMARK.score([wrong])["acc_reference"].value == 0
    assert Answer(failed).text == Answer(failed).said == ""
