"""What the multiple choice sets share: option columns and the letter that is right. Called by their `tasks`."""

from collections.abc import Mapping
from string import ascii_uppercase

from armlite.data.row import Row


def option_columns(row: Row, letters: str = ascii_uppercase) -> dict[str, str]:
    """Letter -> text, from columns named by letters; a column that is absent, None or NaN is no option."""
    return {letter: str(row.get(letter)).strip() for letter in letters if row.get(letter) is not None}


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
