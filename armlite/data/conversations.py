"""Conversations as training sets publish them: turns of `{from, value}` whose text marks each image with `<image>`.

Reads and checks the turns; the training sets, which call this, read what they say.
"""

from collections.abc import Sequence
from typing import Any

from armlite.data.row import Row

MARK = "<image>"
"""Stands in a text where an image belongs."""


def turns(row: Row, field: str = "conversations") -> list[tuple[str, str]]:
    """Speaker and text of each turn.

    Raises:
        DataError: the field is no list of turns, or a turn lacks its speaker or text.
    """
    found = row.items(field, of=dict)
    if not found:
        raise row.fail(field, "is empty")
    return [turn(row, value, f"{field}.{i}") for i, value in enumerate(found)]


def turn(row: Row, value: Any, field: str) -> tuple[str, str]:
    """Speaker and text of one turn, found in `field`.

    Raises:
        DataError: it is no turn, or lacks its speaker or text.
    """
    if not isinstance(value, dict):
        raise row.fail(field, f"must be a turn of from and value, not {type(value).__name__}")
    for name in ("from", "value"):
        if not isinstance(value.get(name), str):
            raise row.fail(f"{field}.{name}", "is missing" if value.get(name) is None else "must be a text")
    if not value["value"].strip():
        raise row.fail(f"{field}.value", "is empty")
    return value["from"], value["value"]


def unmarked(text: str) -> str:
    """The text without the marks of its images."""
    return text.replace(MARK, "").strip()


def check_marks(row: Row, texts: Sequence[str], images: int) -> None:
    """Each image has its mark.

    Raises:
        DataError: there are more images or more marks.
    """
    marks = sum(text.count(MARK) for text in texts)
    if marks != images:
        raise row.fail("images", f"holds {images} for {marks} {MARK} marks in the text")
