"""LogicVista: several letters, odd answers, and the publisher's comparison after our rule."""

import json

import pytest
from published import logicvista
from published.answers import answered
from published.pieces import converted

from armlite.evals.benchmarks import get_benchmark
from armlite.evals.benchmarks.logicvista import letters
from armlite.evals.figures import Item

BENCHMARK = get_benchmark("logicvista")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("C", ["c"]),
        ("D, B", ["b", "d"]),
        ("BD", ["b", "d"]),
        ("B and D.", ["b", "d"]),
        ("(A), (C)", ["a", "c"]),
        ("Answer: **B**", ["b"]),
        ("**Answer: B**", ["b"]),
        ("The correct answers are B & D", ["b", "d"]),
        ("Option 3", ["3"]),
        ("B. the grey box", ["b"]),
        ("(B) the grey box", ["b"]),
        ("$\\boxed{C}$", ["c"]),
        ("Option C is right", ["c"]),
        ("Option **C** is the correct answer.", ["c"]),
        ("C is the right one", ["c"]),
        ("Both A and C are correct.", ["a", "c"]),
        ("It is C.", ["c"]),
        ("So the answer is D", ["d"]),
        ("Three", ["3"]),
        ("Option three is right.", ["3"]),
        ("The box (D) goes on, as it turns", ["d"]),
        ("A or B", None),
        ("C is not right", None),
        ("One of these is right", None),
        ("A cat is right", None),
        ("Three of them are right", None),
        ("None of these", None),
        ("I cannot tell", None),
        ("", None),
    ],
)
def test_letters_are_read_as_lists_of_options_and_not_guessed(text, found):
    assert letters(text) == found


@pytest.mark.parametrize("form", logicvista.FORMS)
def test_the_row_without_question_and_answer_is_kept_without_gold(form, tmp_path):
    tasks = converted(tmp_path, logicvista, form)
    assert [task.gold for task in tasks.values()] == [("C",), ("B, D",), ("3",), None]
    assert list(tasks) == ["v1_0", "v1_1", "v1_2", "v1_3"]
    assert tasks["v1_1"].meta["published_question"].endswith("Select from A-D")


def items(tmp_path):
    said = ["<think>x</think><answer>The answer is C.</answer>", "<think>x</think><answer>D and B</answer>",
            "<think>x</think><answer>the third</answer>", "<think>x</think><answer>A</answer>"]  # fmt: skip
    tasks = converted(tmp_path, logicvista, "json").values()
    return [Item(task, (answered(task, text),)) for task, text in zip(tasks, said, strict=True)]


def test_the_publishers_script_gives_the_row_without_an_answer_to_an_empty_answer(tmp_path):
    *_, last = converted(tmp_path, logicvista, "json").values()
    for text, value in (("", 1), ("<think>x</think><answer>A</answer>", 0)):
        assert BENCHMARK.score([Item(last, (answered(last, text),))])["acc_official"].value == value
    assert BENCHMARK.score([Item(last, ())])["acc_official"].value == 0


def test_the_row_without_an_answer_is_wrong_officially_and_out_of_ours(tmp_path):
    figures = {name: (figure.value, figure.n) for name, figure in BENCHMARK.score(items(tmp_path)).items()}
    assert figures["acc_official"] == (pytest.approx(2 / 4), 4)  # C; B, D; not `the third`; nothing is right for ""
    assert figures["acc"] == (pytest.approx(2 / 3), 3)
    assert figures["acc_official/spatial"] == (1, 1)
    assert figures["acc_official/mechanical"] == (0, 1)
    assert "acc/mechanical" not in figures
    assert figures["no_gold"] == (pytest.approx(1 / 4), 4)
    assert figures["parse_failures"] == (pytest.approx(1 / 4), 4)  # `the third`


def test_the_official_file_maps_published_ids_to_answers(tmp_path):
    (content,) = BENCHMARK.official(items(tmp_path)).values()
    assert json.loads(content)["v1_1"] == {"answer": "D and B", "reasoning": "x"}
