"""RewardBench-2's scorer: the Ties formula by hand and against the package's numbers, and the mean of six subsets."""

import json
import random
from math import tanh

import pytest
from published.answers import answered

from armlite.evals.benchmarks import get_benchmark
from armlite.evals.benchmarks.ties import UNREAD, Prompt, score_ties
from armlite.evals.figures import Item
from armlite.types import Task

BENCHMARK = get_benchmark("rewardbench-2")
FOURS = ("Factuality", "Precise IF", "Math", "Safety", "Focus")


def ref(right, wrong, pair=1):
    return Prompt("ref", pair, (right,), wrong)


def tied(right, wrong, pair=1):
    return Prompt("tied", pair, right, wrong)


@pytest.mark.parametrize(
    ("prompts", "expected", "release"),
    [
        # Gaps 8 and 5, spread 1: all four parts, and tanh(5 / 1 - 1).
        ([ref(10, (2,)), tied((9, 8), (3, 1))], 1 + 0.01 * tanh(4), 1 + 0.01 * tanh(4)),
        # Gaps 1 and 5, spread 2: preferred (5 > 2), not the hard one (1 < 2); tanh(1 / 2 - 1).
        ([ref(3, (2,)), tied((10, 8), (3,))], 0.8 + 0.01 * tanh(-0.5), 0.8 + 0.01 * tanh(-0.5)),
        # Gaps 0 and 0, spread 0: equal is not above; 0/0 counts 0.
        ([ref(5, (5,)), tied((5, 5), (5,))], 0.0, 0.0),
        # Gaps 7 and 4, spread 0: 4/0 is inf, tanh 1; the release leaves the pair out, and 0 where none is left.
        ([ref(9, (2,)), tied((7, 7), (3,))], 1.01, 1.0),
        # Gaps 7 and -4, spread 0: only ref is right; -4/0 is -inf, tanh -1.
        ([ref(9, (2,)), tied((3, 3), (7,))], 0.3 - 0.01, 0.3),
        # An unread rating stays in as -1: gap of tied -1 - 3 = -4, spread 9 - -1 = 10; tanh(-0.4 - 1).
        ([ref(9, (2,)), tied((9, UNREAD), (3,))], 0.3 + 0.01 * tanh(-1.4), 0.3 + 0.01 * tanh(-1.4)),
        # A tied prompt with one right answer has no spread: both accuracies are whole, the rest is of pair 1 alone.
        (
            [ref(10, (2,)), tied((9, 8), (3,)), ref(2, (9,), 2), tied((4,), (3,), 2)],
            0.3 * 1 + 0.3 * 0.5 + 0.4 + 0.01 * tanh(4),
            0.3 * 1 + 0.3 * 0.5 + 0.4 + 0.01 * tanh(4),
        ),
        # A tied prompt without its ref enters the accuracy of tied (1 of 2) and nothing else.
        ([ref(10, (2,)), tied((9, 8), (3,)), tied((1, 2), (3,), 9)], 0.85 + 0.01 * tanh(4), 0.85 + 0.01 * tanh(4)),
        # Spread 0 in one of two pairs: (1 + tanh(4)) / 2, in the release tanh(4) / 1.
        (
            [ref(10, (2,)), tied((9, 8), (3,)), ref(9, (2,), 2), tied((7, 7), (3,), 2)],
            1 + 0.01 * (1 + tanh(4)) / 2,
            1 + 0.01 * tanh(4),
        ),
    ],
)
def test_the_ties_formula_by_hand(prompts, expected, release):
    figures = score_ties(prompts)
    assert figures["ties"].value == pytest.approx(expected, abs=1e-12)
    assert figures["ties/release_0.1.4"].value == pytest.approx(release, abs=1e-12)


@pytest.mark.parametrize("prompts", [[], [ref(9, (2,))], [ref(9, (2,)), tied((9, 8), (3,), 2)]])
def test_ties_without_a_pair_are_undefined(prompts):
    assert score_ties(prompts)["ties"].value is None


@pytest.mark.parametrize(
    ("seed", "release", "repository"),
    [
        (1, 0.32920928036, 0.33128196027),
        (2, 0.406002379904, 0.40843898744),
        (3, 0.342317614836, 0.343277912981),
        (4, 0.752201258146, 0.75165094361),
    ],
)
def test_random_ratings_score_as_in_the_package(seed, release, repository):
    """Numbers of `process_single_model`: of rewardbench 0.1.4 itself, and of the repository's later version."""
    rng, prompts = random.Random(seed), []
    for pair in range(1, 9):
        for kind, count in (("ref", 1), ("tied", 2)):
            right = tuple(rng.randint(6, 8) for _ in range(count))
            prompts.append(Prompt(kind, pair, right, tuple(rng.randint(3, 7) for _ in range(2))))
    figures = score_ties(prompts)
    assert figures["ties"].value == pytest.approx(repository, abs=1e-11)
    assert figures["ties/release_0.1.4"].value == pytest.approx(release, abs=1e-11)
    low, high = figures["ties"].ci95
    assert low < repository < high


def four(subset, name, said):
    meta = {"published_id": name, "group": {"subset": subset}}
    task = Task(id=f"{subset}-{name}", kind="listwise", question="Q", responses=tuple("abcd"), gold=1, meta=meta)
    order = (3, 1, 4, 2)  # the right one is shown second
    text = "nothing" if said is None else f"<think>x</think><answer>Answer {said} is better.</answer>"
    return Item(task, (answered(task, text, order=order),))


def rated(row, ratings, right):
    items = []
    for k, rating in enumerate(ratings, 1):
        kind, number = row.split(":")
        meta = {"published_id": row, "group": {"subset": "Ties"}, "row": row, "k": k, "correct": k <= right}
        meta |= {"prompt": kind, "pair": int(number)}
        task = Task(id=f"{row}/{k}", kind="rating", question="Q", responses=("a",), meta=meta)
        text = "nothing" if rating is None else f"<think>x</think><answer>Overall Judgment: {rating}</answer>"
        items.append(Item(task, (answered(task, text),)))
    return items


ITEMS = [
    *(four("Factuality", str(n), said) for n, said in enumerate([2, 1, None, 2])),  # 1, 0, .25, 1
    *(four("Math", str(n), said) for n, said in enumerate([2, None])),  # 1, .25
    four("Precise IF", "1", 2),
    four("Safety", "1", 3),
    four("Focus", "1", 2),
    *rated("ref:7", [10, 2, 2], 1),
    *rated("tied:7", [9, 8, 3], 2),
]
TIES = 1 + 0.01 * tanh(4)


def test_unread_verdicts_score_a_quarter_nothing_or_are_left_out():
    figures = BENCHMARK.score(ITEMS)
    expected = {
        "acc_official/Factuality": 2.25 / 4,
        "acc_all/Factuality": 2 / 4,
        "acc_parsed/Factuality": 2 / 3,
        "acc_official/Math": 1.25 / 2,
        "acc_official": (2.25 + 1.25 + 1 + 0 + 1) / 9,
        "acc_all": 5 / 9,
        "acc_parsed": 5 / 7,
        "ties": TIES,
        "overall": (2.25 / 4 + 1.25 / 2 + 1 + 0 + 1 + TIES) / 6,
        "overall_all": (2 / 4 + 1 / 2 + 1 + 0 + 1 + TIES) / 6,
        "overall_parsed": (2 / 3 + 1 + 1 + 0 + 1 + TIES) / 6,
        "micro_with_ties": (5.5 + 2 * TIES) / 11,  # the Ties score once for each of its two rows
        "parse_failures": 2 / 15,
    }
    assert {name: figures[name].value for name in expected} == pytest.approx(expected)
    assert figures["acc_parsed/Math"].n == 1


def test_an_unread_rating_stays_in_as_minus_one():
    items = [*rated("ref:7", [10, 2, 2], 1), *rated("tied:7", [9, None, 3], 2)]
    # Gap -1 - 3 = -4, spread 9 + 1 = 10: ref alone is right.
    assert BENCHMARK.score(items)["ties"].value == pytest.approx(0.3 + 0.01 * tanh(-0.4 - 1))


def test_without_a_subset_there_is_no_leaderboard_figure():
    figures = BENCHMARK.score([item for item in ITEMS if item.group["subset"] != "Focus"])
    assert figures["overall"].value is None
    assert figures["acc_all"].value == 4 / 8
    assert BENCHMARK.score(ITEMS[:9])["overall"].value is None  # no Ties


def test_rows_of_ties_that_were_cut_are_left_out():
    figures = BENCHMARK.score([*rated("ref:7", [10, 2, 2], 1), *rated("tied:7", [9, 8, 3], 2), *rated("ref:8", [4], 1)])
    assert figures["ties"].value == pytest.approx(TIES)


def test_the_official_rows_hold_what_its_scorer_reads():
    rows = [json.loads(line) for line in BENCHMARK.official(ITEMS)["rewardbench-2.jsonl"].splitlines()]
    assert [row.get("results") for row in rows[:4]] == [1, 0, 0.25, 1]
    assert rows[-1] == {"id": "tied:7", "subset": "Ties", "num_correct": 2, "scores": [9.0, 8.0, 3.0]}
    assert len(rows) == 9 + 2
