"""MathVista: choices and free answers, the publisher's normalisation, and our rule in GPT's place."""

import json

import pytest
from published import mathvista
from published.answers import answered
from published.pieces import converted

from armlite.evals.benchmarks import get_benchmark
from armlite.evals.benchmarks.anls import edit_distance
from armlite.evals.benchmarks.mathvista import Meta, extract, normalise
from armlite.evals.figures import Item

BENCHMARK = get_benchmark("mathvista")
CHOICES = {"question_type": "multi_choice", "answer_type": "text", "choices": ["28°", "30°", "Dog"], "precision": None}


def free(kind, precision=None):
    return {"question_type": "free_form", "answer_type": kind, "choices": [], "precision": precision}


@pytest.mark.parametrize(
    ("extracted", "meta", "found"),
    [
        ("B", CHOICES, "30°"),
        ("(b) 28°", CHOICES, "30°"),  # the letter in parentheses comes first
        ("30", CHOICES, "30°"),  # one insertion
        ("dogs", CHOICES, "Dog"),  # two edits: d for D, and the s
        (
            "D",
            CHOICES,
            "Dog",
        ),  # there are three choices only, so D is a text: two insertions, three edits to the others
        ("", CHOICES, "28°"),  # always some choice; all are three edits away, the first counts
        ("9.7", free("integer"), "9"),
        ("nine", free("integer"), None),
        ("inf", free("integer"), None),
        ("4.46", free("float", 1), "4.5"),
        ("4", free("float", 1), "4.0"),
        ("4.46", free("float", 1.0), "4.5"),
        ("[1, 2]", free("list"), "[1, 2]"),
        ("Bob", free("text"), "Bob"),
    ],
)
def test_answers_are_brought_into_the_form_of_the_question(extracted, meta, found):
    assert normalise(extracted, Meta.model_validate(meta)) == found


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ('So the answer is "14".', "integer", "14"),
        ("5 + 9 = 14 apples", "integer", "14"),
        ("$1,234.50", "float", "1234.50"),
        ("about .5 cm2", "float", ".5"),
        ("between 2007-2008", "integer", "2008"),
        ("\u22123", "integer", "-3"),
        ("1e3", "float", "1e3"),
        ("none at all", "integer", "none at all"),
        ("The years [2007, 2008] it is", "list", "[2007, 2008]"),
        (" B ", "text", "B"),
    ],
)
def test_our_rule_takes_the_last_number_or_list(text, kind, found):
    assert extract(text, kind) == found


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("ab", "ba", 2)],
)
def test_edit_distance_counts_single_edits(a, b, distance):
    assert edit_distance(a, b) == edit_distance(b, a) == distance


@pytest.mark.parametrize("form", mathvista.FORMS)
def test_choices_get_letters_and_free_questions_say_their_form(form, tmp_path):
    tasks = converted(tmp_path, mathvista, form)
    assert (tasks["1"].kind, tasks["1"].options, tasks["1"].gold) == (
        "multiple_choice",
        {"A": "28°", "B": "30°", "C": "32°"},
        "A",
    )
    assert (tasks["3"].kind, tasks["3"].gold) == ("open_qa", ("4.5",))
    assert tasks["3"].question == "How fast is it?\n(Unit: m/s) Answer with a number with 1 decimal place."
    assert tasks["5"].gold == "B"


ANSWERS = {
    "1": "The angle is 28",  # nearest choice 28°; no letter for us
    "2": "9 are left",  # 9
    "3": "4.53 m/s",  # 4.5 when rounded
    "4": "[2007,2008]",  # a blank is missing, and strings are compared
    "5": "A",  # Yes, wrong
}


def items(tmp_path, said=None):
    tasks = converted(tmp_path, mathvista, "parquet")
    return [
        Item(task, (answered(task, f"<think>x</think><answer>{(said or ANSWERS)[pid]}</answer>"),))
        for pid, task in tasks.items()
    ]


def test_the_official_figure_finds_a_choice_where_ours_sees_none(tmp_path):
    figures = {name: figure.value for name, figure in BENCHMARK.score(items(tmp_path)).items()}
    assert figures["acc_official"] == pytest.approx(3 / 5)  # 1, 2, 3
    assert figures["acc"] == pytest.approx(2 / 5)  # 2, 3
    assert figures["acc_official/question_type=multi_choice"] == pytest.approx(1 / 2)
    assert figures["acc_official/answer_type=list"] == 0
    assert figures["acc_official/skills=arithmetic reasoning"] == pytest.approx(2 / 3)  # 1 and 3 of 1, 3, 5
    assert figures["acc/question_type=free_form"] == pytest.approx(2 / 3)
    assert figures["parse_failures"] == pytest.approx(1 / 5)  # 1


def test_no_answer_at_all_is_wrong_and_not_the_nearest_choice(tmp_path):
    task = converted(tmp_path, mathvista, "json")["1"]
    figures = BENCHMARK.score([Item(task, ())])
    assert (figures["acc_official"].value, figures["parse_failures"].value) == (0, 1)


def test_the_official_file_holds_what_the_script_needs(tmp_path):
    (content,) = BENCHMARK.official(items(tmp_path)).values()
    row = json.loads(content)["3"]
    assert (row["extraction"], row["precision"], row["answer"], row["choices"]) == ("4.53", 1, "4.5", [])
    assert row["metadata"]["skills"] == ["arithmetic reasoning"]
    assert {"source", "category", "task", "context", "grade", "language"} <= set(row["metadata"])
