"""Which forms of an answer are verdicts: whole verdict sentences and bare labels of the task, and nothing else."""

import pytest

from armlite.protocol.parse import parse_decision
from armlite.types import Decision, Kind

VERDICTS: list[tuple[Kind, str, Decision]] = [
    ("pairwise", "Overall Judgment: Answer 2 is better.", 2),
    ("pairwise", "**Overall Judgment:** Answer 1 is better.", 1),
    ("pairwise", "**Overall Judgment: Answer 1 is better.**", 1),
    ("pairwise", "**Answer 2** is better", 2),
    ("pairwise", "`Answer 2` is **better**.", 2),
    ("pairwise", "Answer 2 is clearly better", 2),
    ("pairwise", "Answer 2 is much better than Answer 1.", 2),
    ("pairwise", "Answer 1 is the significantly better one", 1),
    ("pairwise", "Answer 1 is clearly the better answer.", 1),
    ("pairwise", "ANSWER 1 IS BETTER", 1),
    ("pairwise", "Answer A is better.", 1),
    ("pairwise", "Response 2 is better.", 2),
    ("pairwise", "Option 1 is the best.", 1),
    ("pairwise", "Yes, Answer 2 is correct.", 2),
    ("pairwise", "Answer A", 1),
    ("pairwise", "Answer: B", 2),
    ("pairwise", "answer b", 2),
    ("pairwise", "b", 2),
    ("pairwise", "(B)", 2),
    ("pairwise", "Response 2", 2),
    ("pairwise", "Response 2.", 2),
    ("pairwise", "resp_2", 2),
    ("pairwise", "`resp_1`", 1),
    ("pairwise", "Resp_2.", 2),
    ("pairwise", "The answer is B", 2),
    ("pairwise", "The answer is 1.", 1),
    ("pairwise", "The answer is resp_2", 2),
    ("pairwise", "Option 2", 2),
    ("pairwise", "Tie, both are equally good.", 0),
    ("listwise", "Answer D", 4),
    ("listwise", "**Response 3** is the best response.", 3),
    ("listwise", "resp_4", 4),
    ("pointwise", "**True**", True),
    ("pointwise", "The answer is False.", False),
    ("pointwise", "The response is true.", True),
    ("pointwise", "It is clearly false", False),
    ("rating", "8 out of 10", 8.0),
    ("rating", "**7/10**", 7.0),
    ("rating", "The answer is 9.5 out of 10.", 9.5),
    ("rating", "Answer: 4", 4.0),
    ("multiple_choice", "The answer is B", "B"),
    ("multiple_choice", "the answer is (c).", "C"),
    ("multiple_choice", "Answer: d", "D"),
    ("multiple_choice", "Option B is correct.", "B"),
    ("multiple_choice", "B. A dog", "B"),
    ("multiple_choice", "**b)** a dog", "B"),
]

NO_VERDICTS: list[tuple[Kind, str]] = [
    ("pairwise", "There is no evidence that Answer 1 is better."),
    ("pairwise", "I cannot say that Answer 1 is better"),
    ("pairwise", "Answer 1 is better? No."),
    ("pairwise", "Answer 1 is better?"),
    ("pairwise", "Is Answer 1 better?"),
    ("pairwise", "It is not true that Answer 1 is better."),
    ("pairwise", "If the sign says Ulm, Answer 1 is better."),
    ("pairwise", "One may think Answer 2 is better."),
    ("pairwise", "Answer 1 is better, but I am not sure."),
    ("pairwise", "Answer 1 is better. Answer 2 is correct."),
    ("pairwise", "Answer 1 is better than Answer 1."),
    ("pairwise", "Answer 1 is hardly better."),
    ("pairwise", "Answer 1 is supposedly better."),
    ("pairwise", "Answer 1 is possibly better."),
    ("pairwise", "Answer 1 is clearly not better."),
    ("pairwise", "Answer 1 is better only if Answer 2 is wrong."),
    ("pairwise", "Answer 1 is no better."),
    ("pairwise", "Answer 2 is better formatted."),
    ("pairwise", "Answer 1: better. Answer 2: worse."),
    ("pairwise", "Answer 3"),
    ("pairwise", "Answer C"),
    ("pairwise", "resp_0"),
    ("pairwise", "resp_3"),
    ("pairwise", "not 2"),
    ("pairwise", "A, B"),
    ("pairwise", "A or B"),
    ("pairwise", "Response 1 and Response 2"),
    ("pairwise", "The answer is not 1."),
    ("pairwise", "The answer is in Response 2 of the list"),
    ("pairwise", "Yes."),
    ("pairwise", "A dog"),
    ("pairwise", "\u0661"),
    ("pairwise", "equally bad"),
    ("listwise", "Answer E"),
    ("listwise", "Answer 1, Answer 2"),
    ("pointwise", "It is not the case that this is True"),
    ("pointwise", "I cannot say that it is True."),
    ("pointwise", "True?"),
    ("pointwise", "True if the sign says Ulm"),
    ("pointwise", "Neither True nor False"),
    ("pointwise", "It would be False to say so"),
    ("rating", "8 out of 100"),
    ("rating", "between 8 and 9"),
    ("rating", "not 8"),
    ("rating", "0 out of 10"),
    ("rating", "8 out of 10 people agree"),
    ("multiple_choice", "The answer is not B"),
    ("multiple_choice", "(B) is wrong"),
    ("multiple_choice", "B) is not in the picture"),
    ("multiple_choice", "B. It is not"),
    ("multiple_choice", "I would say that B is correct, or C"),
    ("multiple_choice", "The answer is E"),
    ("multiple_choice", "B. A cat"),
]
CHOICES = {"pairwise": 2, "listwise": 4}
ANIMALS = {"A": "A cat", "B": "A dog", "C": "A hen", "D": "None of these: it is not an animal"}


@pytest.mark.parametrize(("kind", "answer", "decision"), VERDICTS)
def test_a_whole_verdict_or_a_bare_label_is_read(kind: Kind, answer: str, decision: Decision) -> None:
    read = parse_decision(answer, kind, CHOICES.get(kind, 0), ANIMALS)
    assert (read, type(read)) == (decision, type(decision))


@pytest.mark.parametrize(("kind", "answer"), NO_VERDICTS)
def test_everything_else_is_no_verdict(kind: Kind, answer: str) -> None:
    assert parse_decision(answer, kind, CHOICES.get(kind, 0), ANIMALS) is None


@pytest.mark.parametrize(
    ("keys", "answer", "key"),
    [
        ("ab", "A", "a"),
        ("ab", "The answer is B", "b"),
        ("12", "2", "2"),
        ("12", "Option 1", "1"),
        ("12", "B", "2"),
        ("12", "3", None),
        ("12", "C", None),
        (["Yes", "No"], "no", "No"),
        (["Yes", "No"], "**Yes.**", "Yes"),
        (["Yes", "No"], "The answer is A", "Yes"),
        (["Yes", "No"], "Yes or no", None),
        (["Yes", "No"], "Not yes", None),
        ("BCDE", "A", None),
        ("AB", "1", None),
        ("", "A", None),
    ],
)
def test_an_option_is_named_by_its_key_and_by_its_place_where_no_key_is_a_letter(
    keys: str | list[str], answer: str, key: str | None
) -> None:
    assert parse_decision(answer, "multiple_choice", options=keys) == key


@pytest.mark.parametrize("kind", ["pairwise", "pointwise", "rating", "multiple_choice"])
@pytest.mark.parametrize(
    "text", ["The answer is" + " \n" * 50_000 + "x", "Answer " * 10_000, "((" * 50_000, "A. " + "or B, " * 20_000]
)
def test_a_long_answer_is_read_at_once(kind: Kind, text: str) -> None:
    assert parse_decision(text, kind, 2, ANIMALS) is None


def test_the_whole_text_of_an_option_may_follow_its_key() -> None:
    assert parse_decision(f"D. {ANIMALS['D']}", "multiple_choice", options=ANIMALS) == "D"
