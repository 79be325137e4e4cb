"""Best of n and rankings: how many comparisons, which method, what ties and failures do."""

import math
import random
import re

import pytest
from rich.console import Console

from armlite import Judge
from armlite.cli.verdict import draw_verdict
from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.models.scripted import ScriptedModel
from armlite.tournament import EXACT, most_comparisons
from armlite.types import Verdict


def shown(conversation):
    return re.findall(r"<start_of_resp_\d>\n(.*?)\n<end_of", conversation.messages[0].text, re.DOTALL)


def better(number):
    return f"<think>I thought.</think>\n<answer>Overall Judgment: Answer {number} is better.</answer>"


def longest_first(conversation):
    texts = shown(conversation)
    return better(texts.index(max(texts, key=len)) + 1)


def shuffled(count, seed=0):
    return random.Random(seed).sample(["x" * n for n in range(1, count + 1)], count)


class Sessions(ScriptedModel):
    """Counts the batches that it is asked for."""

    started = 0

    def session(self):
        self.started += 1
        return super().session()


@pytest.mark.parametrize("count", [2, 3, EXACT, EXACT + 1, 16, 21, 33])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_careful_judge_ranks_any_number_right_with_few_comparisons(count, seed):
    texts = shuffled(count, seed)
    verdict = Judge(ScriptedModel(longest_first)).rank("Which?", texts)
    assert [texts[n - 1] for n in verdict.ranking] == sorted(texts, key=len, reverse=True)
    assert verdict.method == ("round_robin" if count <= EXACT else "merge_sort")
    assert verdict.choice == verdict.ranking[0] and verdict.confidence == 1.0
    assert len(verdict.trajectories) == 2 * verdict.comparisons and verdict.comparisons_failed == 0
    assert verdict.comparisons <= most_comparisons(verdict.method, count)
    if count > EXACT:
        assert verdict.comparisons <= count * math.log2(count)
    assert Verdict.from_json(verdict.to_json()) == verdict


@pytest.mark.parametrize("count", [3, EXACT, EXACT + 1, 16, 33])
def test_the_best_of_many_is_found_by_a_knockout_of_one_comparison_less(count):
    texts = shuffled(count)
    model = Sessions(longest_first)
    verdict = Judge(model).best("Which?", texts)
    assert texts[verdict.choice - 1] == max(texts, key=len) and verdict.confidence == 1.0
    if count > EXACT:
        assert (verdict.method, verdict.comparisons, verdict.ranking) == ("knockout", count - 1, ())
        assert model.started == math.ceil(math.log2(count)), "a batch a round"
        assert {vote.decision for vote in verdict.trajectories} == {1, 2}
    else:
        assert verdict.method == "round_robin" and model.started == 1
    assert verdict.rationale == "I thought."


@pytest.mark.parametrize("ask", [Judge.rank, Judge.best], ids=["rank", "best"])
@pytest.mark.parametrize("count", [4, 12])
def test_a_judge_that_prefers_a_place_finds_nobody_the_best(ask, count):
    verdict = ask(Judge(ScriptedModel([better(1)])), "Which?", shuffled(count))
    assert (verdict.status, verdict.choice, verdict.ranking) == ("split", None, ())
    assert verdict.confidence == 0.5 and verdict.comparisons_failed == 0


def test_a_comparison_that_cannot_be_judged_is_a_tie_and_counted():
    def shy(conversation):
        lengths = sorted(map(len, shown(conversation)))
        return "I would rather not." if lengths == [3, 4] else longest_first(conversation)

    texts = ["x" * n for n in range(1, 13)]
    verdict = Judge(ScriptedModel(shy)).rank("Which?", texts)
    assert (verdict.status, verdict.comparisons_failed) == ("judged", 1)
    assert verdict.ranking == (12, 11, 10, 9, 8, 7, 6, 5, 3, 4, 2, 1), "of a tie the one given first goes before"
    assert verdict.confidence == pytest.approx(1 - 2 / len(verdict.trajectories))


def test_a_judge_that_cannot_judge_at_all_is_not_asked_for_more_than_a_round():
    verdict = Judge(ScriptedModel([Reply("", "length")])).rank("Which?", shuffled(16))
    assert (verdict.status, verdict.ranking, verdict.comparisons) == ("budget", (), 8)
    assert verdict.comparisons_failed == 8


def test_votes_multiply_and_a_method_can_be_named():
    verdict = Judge(ScriptedModel(longest_first)).best("Which?", shuffled(10), votes=2, method="merge_sort")
    assert verdict.method == "merge_sort" and len(verdict.trajectories) == 4 * verdict.comparisons
    with pytest.raises(ArmliteError, match="method 'swiss' is not one of round_robin, merge_sort, knockout"):
        Judge(ScriptedModel(longest_first)).rank("Which?", shuffled(3), method="swiss")


def test_the_terminal_says_how_it_was_found(capsys):
    def shy(conversation):
        lengths = sorted(map(len, shown(conversation)))
        return "I would rather not." if lengths == [3, 4] else longest_first(conversation)

    judge, texts = Judge(ScriptedModel(shy)), ["x" * n for n in range(1, 13)]
    for verdict, lines in [
        (judge.best("Which?", texts), ["Response 12 is the best", "6 of 6 votes agree", "a knockout: 11 comparisons"]),
        (judge.rank("Which?", texts), ["Best first: response 12, ", "of which 1 could not be judged"]),
        (judge.rank("Which?", texts[:3]), ["each against each: 3 comparisons"]),
    ]:
        draw_verdict(Console(width=200), verdict)
        said = capsys.readouterr().out
        assert all(line in said for line in lines), said
        assert ("1 against 2" in said) == (verdict.comparisons < 10), "of many only those on which votes differ"
