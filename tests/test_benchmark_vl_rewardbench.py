"""VL-RewardBench's scorer on hand-computed votes, and what its reader makes of the published forms."""

import json
import re

import pytest
from published import vl_rewardbench as fixture
from published.answers import answered

from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.figures import Item
from armlite.types import Task

BENCHMARK = get_benchmark("vl-rewardbench")


def item(name, gold, group, votes, order=(1, 2), swapped=()):
    """Votes: the presented number, 0 for a tie, None for an answer that cannot be read."""
    meta = {"published_id": name, "group": {"category": group}}
    task = Task(id=name, kind="pairwise", question="Q", responses=("a", "b"), gold=gold, meta=meta)
    answers = [answered(task, said(vote), order=order) for vote in votes]
    answers += [answered(task, said(vote), order=order[::-1]) for vote in swapped]
    return Item(task, tuple(answers))


def said(vote):
    if vote is None:
        return "<think>x</think>I cannot tell."
    verdict = "Tie" if vote == 0 else f"Overall Judgment: Answer {vote} is better."
    return f"<think>x</think><answer>{verdict}</answer>"


ITEMS = [
    item("g1", 1, "general", [1]),  # agree
    item("g2", 1, "general", [2]),  # reject
    item("g3", 1, "general", [None]),  # other
    item("h1", 2, "hallucination", [1], order=(2, 1)),  # agree: shown first, published second
    item("h2", 1, "hallucination", [1]),  # agree
    item("h3", 1, "hallucination", [0]),  # other: a tie names neither
    item("r1", 2, "reasoning", [2]),  # agree
    item("r2", 2, "reasoning", [1]),  # reject
    item("r3", 2, "reasoning", [1]),  # reject
]


def test_pairs_without_a_majority_leave_the_official_denominator_and_no_other():
    figures = BENCHMARK.score(ITEMS)
    expected = {
        "acc_parsed": 4 / 7,  # agree g1 h1 h2 r1; reject g2 r2 r3
        "acc_all": 4 / 9,
        "acc_parsed/general": 1 / 2,
        "acc_all/general": 1 / 3,
        "acc_parsed/hallucination": 2 / 2,
        "acc_all/hallucination": 2 / 3,
        "acc_parsed/reasoning": 1 / 3,
        "acc_all/reasoning": 1 / 3,
        "macro_parsed": (1 / 2 + 1 + 1 / 3) / 3,
        "macro_all": (1 / 3 + 2 / 3 + 1 / 3) / 3,
        "no_majority": 2 / 9,
        "parse_failures": 1 / 9,  # the tie was read
    }
    assert {name: figures[name].value for name in expected} == pytest.approx(expected)
    assert (figures["acc_parsed"].n, figures["acc_all"].n, figures["acc_parsed/general"].n) == (7, 9, 2)
    assert figures["consistency"].value is None
    for name in expected:
        low, high = figures[name].ci95
        assert low <= figures[name].value <= high


@pytest.mark.parametrize(
    ("votes", "outcome"),
    [
        ([1, 1, 2], "agree"),  # 2 of 3
        ([2, 2, 1], "reject"),
        ([1, 1, 2, 2], "other"),  # half is no majority
        ([1, 1, None, None], "other"),  # unread votes count in the total
        ([1, 1, 1, None, None], "agree"),  # 3 of 5
        ([None, None, None], "other"),
        ([], "other"),
    ],
)
def test_the_majority_is_more_than_half_of_all_votes(votes, outcome):
    figures = BENCHMARK.score([item("x", 1, "general", votes)])
    expected = {"agree": 1.0, "reject": 0.0, "other": None}[outcome]
    assert figures["acc_parsed"].value == expected
    assert figures["acc_all"].value == (1.0 if outcome == "agree" else 0.0)


def test_failed_votes_are_shown_as_a_share_of_votes():
    items = [item("a", 1, "general", [1, 1, 1, None]), item("b", 1, "general", [1, 1, 1, 1])]
    assert BENCHMARK.score(items)["parse_failures"].value == 1 / 8


def test_consistency_compares_the_majorities_of_the_two_orders():
    items = [
        item("same", 1, "general", [1], swapped=[2]),  # the first answer both times
        item("place", 1, "general", [1], swapped=[1]),  # the first place both times
        item("unread", 1, "general", [1], swapped=[None]),
        item("once", 1, "general", [1]),
    ]
    figures = BENCHMARK.score(items)
    assert (figures["consistency"].value, figures["consistency"].n) == (1 / 3, 3)
    assert figures["acc_all"].value == 1  # the second order counts nowhere else


def test_a_row_that_is_there_twice_counts_once():
    twice = [item("a", 1, "general", [1]), item("a", 1, "general", [2]), item("b", 1, "general", [2])]
    figures = BENCHMARK.score(twice)
    assert (figures["acc_all"].value, figures["acc_all"].n) == (1 / 2, 2)


def test_the_official_file_tells_its_script_what_we_counted():
    items = [*ITEMS, item("RLHF-V-1", 1, "hallucination", [2, 1, None], order=(2, 1))]
    rows = [json.loads(line) for line in BENCHMARK.official(items)["vl-rewardbench.jsonl"].splitlines()]
    assert len(rows) == 12
    folders = {row["id"]: row["image_path"].split("/")[1] for row in rows}
    assert (folders["RLHF-V-1"], folders["g1"]) == ("rlhf-v", "vlfeedback")
    found = []
    for row in rows:
        # Its script finds the number of the worse answer as it was shown, and reads the judgment again.
        worse = row["ranking"].index(1 if row["meta"]["random_number"] == 0 else 0) + 1
        number = re.search(r"Overall Judgment\s*.*Answer\s*(\d+)\s*is\s*better", row["meta"]["filter_choice"])
        found.append("doesntMatch" if number is None else "reject" if int(number[1]) == worse else "agree")
    assert found == [row["meta"]["flag_status"] for row in rows]
    assert found[-3:] == ["agree", "reject", "doesntMatch"]
    assert found.count("agree") == 5


@pytest.mark.parametrize("form", fixture.FORMS)
def test_the_groups_are_found_in_every_form(form, tmp_path):
    fixture.build(tmp_path, form)
    convert(get_set("vl-rewardbench"), tmp_path, tmp_path / "out/tasks.jsonl")
    tasks = read_tasks(tmp_path / "out/tasks.jsonl")
    assert tuple(task.meta["group"]["category"] for task in tasks) == fixture.GROUPS
    assert [task.gold for task in tasks] == [1, 2, 1, 2, 1, 2, 1]
    assert tasks[1].question == "How many boats are there?"
