"""We-Math: options split where a letter follows, rows joined to problems, and the four dimensions counted by hand."""

import json
from pathlib import Path

import pytest
from published import we_math
from published.answers import answered
from published.pieces import converted

from armlite.data.pictures import Pictures
from armlite.data.row import Row
from armlite.evals.benchmarks import get_benchmark
from armlite.evals.benchmarks.we_math import official_letter, option_texts
from armlite.evals.figures import Item
from armlite.types import Task

BENCHMARK = get_benchmark("we-math")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("Answer: <C>.", "C"),
        ("Answer: A? No. Answer: D", "D"),  # the last one
        ("Both fit", "B"),  # any text that begins with a capital A to H
        ("b", None),
        ("It is B", None),
        ("", None),
    ],
)
def test_the_scripts_read_the_first_character_after_the_last_answer(text, letter):
    assert official_letter(text, {}) == letter


@pytest.mark.parametrize("form", we_math.FORMS)
def test_rows_of_a_problem_share_its_id_and_semicolons_stay_in_options(form, tmp_path):
    tasks = converted(tmp_path, we_math, form)
    assert list(tasks)[:3] == ["2steps_1/2steps_1", "2steps_1/2steps_2", "2steps_1/2steps_multi"]
    assert tasks["2steps_1/2steps_2"].options["A"] == "first left; then up"
    assert tasks["2steps_1/2steps_multi"].options == {"A": "8 m³", "B": "16 m³", "C": "24 m³", "D": "No correct answer"}


OPTIONS = [
    # Published rows: a semicolon before the name of a point, options without one between them, a full-width dot.
    ("A. Moved right to get Shape ;C.; B. Moved down to get Shape ;C.; C. Turned to get Shape ;C.; D. None",
     {"A": "Moved right to get Shape ;C.", "B": "Moved down to get Shape ;C.", "C": "Turned to get Shape ;C."}),
    ("A. First northeast to B, then north to ;C.  ;B. First northwest to B, then west to ;C.  ;C. South ;D. None",
     {"A": "First northeast to B, then north to ;C.", "B": "First northwest to B, then west to ;C.", "C": "South"}),
    ("A. Equal; B. The area of EDG is twice that of BE;G.; C. Half that of BE;G.; D. Cannot be determined",
     {"A": "Equal", "B": "The area of EDG is twice that of BE;G.", "C": "Half that of BE;G."}),
    ("A. An obtuse angle ∠AB;E.; B. An obtuse angle ∠AB;C.; C. No obtuse angle.; D. It cannot be determined.",
     {"A": "An obtuse angle ∠AB;E.", "B": "An obtuse angle ∠AB;C.", "C": "No obtuse angle."}),
    ("A. 45° B. 60° ;C. 120°; D. No correct answer", {"A": "45°", "B": "60°", "C": "120°"}),
    ("A. 4 B. 3 C. 2 ;D. 1; E. No correct answer", {"A": "4", "B": "3", "C": "2", "D": "1"}),
    ("A. ①;B．②;C. ③; D. Cannot be determined", {"A": "①", "B": "②", "C": "③"}),
    ("A. Yes, around point ;O.;B. Yes, the other way around ;O.;C. No.; F. No correct answer",
     {"A": "Yes, around point ;O.", "B": "Yes, the other way around ;O.", "C": "No."}),
]  # fmt: skip


@pytest.mark.parametrize(("published", "options"), OPTIONS)
def test_options_are_split_at_no_letter_in_the_middle_of_a_sentence(published, options):
    row = Row("we-math", Path("testmini.json"), 1, {"option": published}, Pictures(None))
    found = option_texts(row)
    assert list(found.values())[-1] in ("No correct answer", "None", "Cannot be determined", "It cannot be determined.")
    assert dict(list(found.items())[:-1]) == options


def problem(name: str, steps: str, multi: str) -> list[Item]:
    """Items of a problem: `1` right, `0` wrong, `?` unreadable, `-` not there."""
    kind = f"{len(steps)}steps"
    keys = [f"{kind}_{n}" for n in range(1, len(steps) + 1)] + [f"{kind}_multi"]
    items = []
    for key, outcome in zip(keys, steps + multi, strict=True):
        meta = {"problem": name, "key": key, "published": {"knowledge concept": "x"}, "group": {}}
        options = dict.fromkeys("AB", "x")
        task = Task(id=f"{name}/{key}", kind="multiple_choice", question="?", options=options, gold="A", meta=meta)
        text = {"1": "<think>x</think><answer>A</answer>", "0": "<think>x</think><answer>B</answer>", "?": "I give up"}
        items += [Item(task, (answered(task, text[outcome]),))] if outcome != "-" else []
    return items


PROBLEMS = (
    ("p1", "11", "1"),  # mastered
    ("p2", "11", "0"),  # does not generalise
    ("p3", "10", "0"),  # lacks knowledge
    ("p4", "1?", "1"),  # strict: learnt by rote; loose: mastered
    ("p5", "000", "1"),  # learnt by rote
    ("p6", "111", "1"),  # mastered
    ("p7", "11", "-"),  # lacks a row: no dimension
)
ITEMS = [item for row in PROBLEMS for item in problem(*row)]


def test_the_four_dimensions_of_complete_problems():
    figures = BENCHMARK.score(ITEMS)
    expected = {
        "ik": 1 / 6,  # p3
        "ig": 1 / 6,  # p2
        "cm_strict": 2 / 6,  # p1, p6
        "rm_strict": 2 / 6,  # p4, p5
        "rm_rate_strict": 2 / (2 + 2),
        "score_strict": (6 - 0.5 * 1 - 2 - 1) / 6,
        "cm_loose": 3 / 6,  # p1, p4, p6
        "rm_loose": 1 / 6,  # p5
        "rm_rate_loose": 1 / (3 + 1),
        "score_loose": (6 - 0.5 * 1 - 1 - 1) / 6,
        "problems_incomplete": 1 / 7,
    }
    assert {name: figures[name].value for name in expected} == pytest.approx(expected)
    assert figures["score_strict"].n == 6 and figures["rm_rate_loose"].n == 4


def test_accuracies_are_of_rows_and_an_unreadable_one_is_wrong():
    figures = BENCHMARK.score(ITEMS)
    # Steps: 2 + 2 + 1 + 1 + 0 + 3 + 2 of 16. Whole questions: p1 and p4 of p1 to p4; p5 and p6 of two.
    assert (figures["s1"].value, figures["s1"].n) == (pytest.approx(11 / 16), 16)
    assert (figures["s2"].value, figures["s2"].n) == (pytest.approx(2 / 4), 4)
    assert (figures["s3"].value, figures["s3"].n) == (1, 2)
    assert (figures["acc_all"].value, figures["acc_all"].n) == (pytest.approx((11 + 2 + 2) / 22), 22)
    assert figures["parse_failures"].value == pytest.approx(1 / 22)


def test_our_own_reading_stands_beside_the_scripts():
    (one, two, whole), text = problem("p", "11", "1"), "<think>x</think><answer>Answer: A, I think</answer>"
    figures = BENCHMARK.score([one, two, Item(whole.task, (answered(whole.task, text),))])
    assert (figures["score_strict"].value, figures["score_strict_ours"].value) == (1, 0.5)
    assert (figures["s2"].value, figures["s2_ours"].value) == (1, 0)


def test_a_single_row_has_an_accuracy_and_no_score():
    figures = BENCHMARK.score(ITEMS[:1])
    assert (figures["acc_all"].value, figures["score_strict"].value) == (1, None)


def test_the_official_file_is_the_list_that_the_scripts_read():
    (content,) = BENCHMARK.official(ITEMS[:2]).values()
    rows = json.loads(content)
    wanted = {"ID": "p1", "key": "2steps_2", "knowledge concept": "x", "answer": "A", "response": "A", "question": "?"}
    assert rows[1] == wanted
