"""ARMBench-VL-style tracks: the right answer is right, the wrong ones are wrong, nothing tells them apart."""

import json
from pathlib import Path

import pytest

from armlite.cli import main
from armlite.data.tasks import read_tasks, write_tasks
from armlite.errors import ArmliteError, DataError
from armlite.evals.lookalike import counts_as_right, documents, instructions, perception, read_responses
from armlite.types import Task

WORDS = {"func": "check_whether_response_word_count_in_range", "params": [2, 4]}
NO_CAT = {"func": "check_whether_whole_response_not_contain_certain_substring", "params": ["cat"]}


def choice(n, options=("red", "blue", "green", "grey"), gold="A", **meta):
    letters = dict(zip("ABCD", options, strict=False))
    return Task(id=f"q{n}", kind="multiple_choice", question=f"Which colour {n}?", images=("images/a.png",),
                options=letters, gold=gold, source="vstar/direct_attributes", meta=meta)  # fmt: skip


def asked(n, answer, answer_format, document="documents/a.pdf"):
    meta = {"answer_format": answer_format, "answer": answer, "doc_id": "a.pdf", "doc_type": "report"}
    meta |= {"evidence_pages": [1], "evidence_sources": ["Chart"], "group": {"span": "single-page"}}
    return Task(id=f"d{n}", kind="open_qa", question=f"How much {n}?", document=document, gold=(answer,),
                source="mmlongbench-doc/single-page", meta=meta)  # fmt: skip


def ruled(n, *rules, **meta):
    constraints = [
        {"key": f"k{k}", "value": f"Constraint {k}.", "judge": {"method": "rule_based", "verify_funcs": [rule]}}
        if isinstance(rule, dict)
        else {"key": f"k{k}", "value": f"Constraint {k}.", "judge": {"method": rule}}
        for k, rule in enumerate(rules)
    ]
    return Task(id=f"i{n}", kind="open_qa", question="Write.", source="mm-ifeval/C-Level",
                meta={"constraints": constraints, "published_id": str(n)} | meta)  # fmt: skip


def test_choices_become_pairs_and_fours_with_the_right_option_at_the_gold():
    made = perception([choice(n) for n in range(60)])
    tags = {task.meta["group"]["rm_tag"] for task in made.tasks}
    assert (len(made.tasks), tags) == (60, {"2-way-pair_rm", "4-way-pair_rm"})
    places = set()
    for task in made.tasks:
        assert task.responses[task.gold - 1] == "The answer is: red."
        assert len(set(task.responses)) == len(task.responses) == int(task.meta["group"]["rm_tag"][0])
        places.add((len(task.responses), task.gold))
        assert task.source == "armbench-vl-style/perception"
    assert places == {(2, 1), (2, 2), (4, 1), (4, 2), (4, 3), (4, 4)}


def test_two_options_make_a_pair_and_an_option_that_says_the_same_is_no_wrong_answer():
    made = perception([choice(1, ("left", "right"), "B"), choice(2, ("six", "Six "), "A"), choice(3, ("a", "b", "A"))])
    assert [len(task.responses) for task in made.tasks] == [2, 2]
    assert set(made.tasks[1].responses) == {"The answer is: a.", "The answer is: b."}
    assert made.left_out == {"no option that differs from the right one": 1}


def test_of_the_cycles_of_a_question_one_is_taken():
    cycles = [choice(n, gold="ABCD"[n], question_key="same") for n in range(4)]
    made = perception(cycles)
    assert [task.id for task in made.tasks] == ["q0"]
    assert sum(made.left_out.values()) == 3


def test_a_seed_decides_and_the_same_seed_decides_the_same():
    tasks = [choice(n) for n in range(20)]
    assert perception(tasks, 3).tasks == perception(tasks, 3).tasks
    assert [t.gold for t in perception(tasks, 3).tasks] != [t.gold for t in perception(tasks, 4).tasks]
    alone = perception([tasks[7]], 3).tasks
    assert alone == [task for task in perception(tasks, 3).tasks if task.id == "q7"]


def test_wrong_answers_about_a_document_are_of_the_same_format_and_wrong_for_its_scorer():
    tasks = [asked(1, "12", "Int"), asked(2, "15", "Int"), asked(3, "12.5%", "Float"), asked(4, "0.125", "Float")]
    made = documents(tasks)
    by_id = {task.id: task for task in made.tasks}
    assert set(by_id["d1"].responses) == {"The answer is: 12.", "The answer is: 15."}
    assert by_id["d1"].meta["wrong"] == "another answer"
    # 0.125 is 12.5 %, for the scorer too: the other Float must not be taken, one digit is changed instead.
    for task, source in ((by_id["d3"], tasks[2]), (by_id["d4"], tasks[3])):
        wrong = task.responses[2 - task.gold].removeprefix("The answer is: ").removesuffix(".")
        assert task.meta["wrong"] == "number"
        assert not counts_as_right(source, wrong)
    for task, source in zip(made.tasks, tasks, strict=True):
        right = task.responses[task.gold - 1].removeprefix("The answer is: ").removesuffix(".")
        assert counts_as_right(source, right)
        assert task.document == "documents/a.pdf"


def test_not_answerable_is_wrong_about_as_often_as_it_is_right():
    hopeless = [asked(n, "Not answerable", "None") for n in range(40)]
    tasks = hopeless + [asked(100 + n, str(1000 + 37 * n), "Int") for n in range(120)]
    made = documents(tasks)
    refused = [task for task in made.tasks if any("Not answerable" in r for r in task.responses)]
    right = [task for task in refused if "Not answerable" in task.responses[task.gold - 1]]
    assert (len(made.tasks), len(right)) == (160, 40)
    assert 25 <= len(refused) - len(right) <= 55


def test_a_list_is_said_without_brackets_and_a_question_without_a_wrong_answer_is_left_out():
    made = documents([asked(1, "['May', 'June']", "List"), asked(2, "['July']", "List"),
                      asked(3, "unchangeable", "Str", "documents/b.pdf")])  # fmt: skip
    assert set(made.tasks[0].responses) == {"The answer is: May, June.", "The answer is: July."}
    assert made.left_out == {"no wrong answer found for it": 1}


@pytest.mark.parametrize(
    ("response", "gold"),
    [("three words here", True), ("one", False), ("three cat words", False), ("two Cat", True)],  # engine mode: case
)
def test_the_gold_is_that_all_rules_hold_as_the_engine_decides(response, gold):
    made = instructions([ruled(1, WORDS, "direct_gpt", NO_CAT)], {"1": [response]})
    [task] = made.tasks
    assert (task.kind, task.gold, task.responses) == ("pointwise", gold, (response,))
    assert [c.text for c in task.constraints] == ["Constraint 0.", "Constraint 2."]
    assert task.constraints[1].arguments == {"substring": "cat"}


def test_responses_that_make_no_task_are_counted():
    broken = {"func": "check_whether_response_word_count_in_range", "params": [2]}
    tasks = [ruled(1, WORDS), ruled(2, "direct_gpt"), ruled(3, WORDS), ruled(4, broken), ruled(5, WORDS, del_cons="k0")]
    made = instructions(tasks, {"i1": ["a b", "c"], "2": ["x y"], "4": ["x y"], "nobody": ["x"]})
    assert [(task.id, task.gold) for task in made.tasks] == [("i1/1", True), ("i1/2", False)]
    assert dict(made.left_out) == {
        "no rule-based constraint": 1,
        "no response given": 1,
        "a constraint whose rule is not known": 1,
        "an instruction without one of its constraints (aux row)": 1,
        "responses whose id no task has": 1,
    }


@pytest.mark.parametrize(
    ("line", "field"), [("{", "(row)"), ("[]", "(row)"), ('{"response": "x"}', "id"), ('{"id": 1}', "response")]
)
def test_a_bad_response_line_is_named(line, field, tmp_path):
    file = tmp_path / "responses.jsonl"
    file.write_text('{"id": 1, "response": "x"}\n' + line + "\n")
    with pytest.raises(DataError) as error:
        read_responses(file)
    assert (error.value.row, error.value.field) == (2, field)


def test_a_missing_or_empty_response_file_is_refused(tmp_path):
    with pytest.raises(ArmliteError, match="does not exist"):
        read_responses(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ArmliteError, match="is empty"):
        read_responses(tmp_path / "empty.jsonl")


def test_the_command_writes_tasks_whose_paths_lead_back(tmp_path, capsys):
    write_tasks(tmp_path / "vstar/tasks.jsonl", [choice(n) for n in range(8)])
    words = ["data", "lookalike", "perception", "--tasks", tmp_path / "vstar/tasks.jsonl", "--out"]
    run([*words, tmp_path / "style/perception.jsonl", "--json"])
    said = json.loads(capsys.readouterr().out)
    tasks = read_tasks(tmp_path / "style/perception.jsonl")
    assert (said["tasks"], sum(said["shapes"].values()), said["left_out"]) == (8, 8, {})
    assert {Path(image) for task in tasks for image in task.images} == {Path("../vstar/images/a.png")}
    status = run([*words, tmp_path / "style/perception.jsonl"])
    assert (status, "exists" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize(
    ("track", "more", "said"),
    [
        ("perceptoin", [], "Did you mean 'perception'?"),
        ("instructions", [], "--responses"),
        ("documents", [], "nothing in"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(track, more, said, tmp_path, capsys):
    write_tasks(tmp_path / "tasks.jsonl", [choice(1)])
    status = run(
        ["data", "lookalike", track, "--tasks", tmp_path / "tasks.jsonl", "--out", tmp_path / "o.jsonl", *more]
    )
    error = capsys.readouterr().err
    assert (status, error.count("\n"), said in error) == (2, 1, True), error
    assert not (tmp_path / "o.jsonl").exists()


def run(words):
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code or 0
