"""What the multiple choice benchmarks share: option columns, the letter that is right, and notes on how they ask."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from armlite.data.row import Row

NOTES = (
    "The prompt is ours: the options as `A. ...`, and the answer asked for inside <answer>.",
    "extract=rule: where VLMEvalKit and lmms-eval ask a language model, an answer that no rule reads is wrong here.",
    "With several votes, acc_majority takes the letter of most of them; all others take the first vote.",
)
"""Of V* and HR-Bench."""


def option_columns(row: Row, letters: str = ascii_uppercase) -> dict[str, str]:
    """Letter -> text, from columns named by letters; a column that is absent, None or NaN is no option."""
    return {letter: str(row.get(letter)).strip() for letter in letters if row.get(letter) is not None}


def split_options(row: Row, field: str, pieces: Sequence[str]) -> dict[str, str]:
    """Letter -> text, from a letter and a text in turn.

    Raises:
        DataError: a letter stands there twice.
    """
    letters = pieces[::2]
    if len(set(letters)) < len(letters):
        raise row.fail(field, f"names an option twice: {', '.join(letters)}")
    return {letter: text.strip() for letter, text in zip(letters, pieces[1::2], strict=True)}


def gold_letter(row: Row, options: Mapping[str, str], asked: str, answer: str) -> str:
    """The letter of the right option.

    Args:
        asked: field that the options come from.
        answer: field that holds the letter.

    Raises:
        DataError: there are fewer than two options, or the letter is none of theirs.
    """
    if len(options) < 2:
        raise row.fail(asked, f"holds {len(options)} options, at least 2 are needed")
    letter = row.words(answer).strip()
    if letter not in options:
        raise row.fail(answer, f"is {letter!r}, must be one of the options {', '.join(options)}")
    return letter
