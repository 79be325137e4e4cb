"""Conversations as training sets publish them: turns of `{from, value}` whose text marks each image with `<image>`.

Reads and checks the turns; the training sets, which call this, read what they say.
"""

import json
import re
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


def schemas_in(system: str) -> tuple[dict[str, Any], ...]:
    """The tools that a system text tells of, one schema a line between `<tools>` tags.

    Raises:
        ValueError: a line is no JSON of a schema.
    """
    found = re.search(r"<tools>\n(.*?)\n</tools>", system, re.DOTALL)
    return schemas([json.loads(line) for line in found[1].splitlines() if line.strip()] if found else None)


def preamble_of(system: str) -> str | None:
    """What a system text says before its tools, which may be nothing; None of an empty text."""
    if system.startswith("# Tools\n"):
        return ""
    return system.partition("\n\n# Tools\n")[0] or None


def schemas(value: Any) -> tuple[dict[str, Any], ...]:
    """Function schemas as the chat template takes them, of a list that may be written out as JSON.

    Raises:
        ValueError: it is no list of schemas.
    """
    tools = json.loads(value) if isinstance(value, str) and value.strip() else value or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise ValueError("it is no list of tools")
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in tools)


def check_tools(row: Row, field: str, system: str) -> None:
    """The tools that a row shows can be read.

    Raises:
        DataError: they cannot.
    """
    try:
        schemas_in(system), schemas(row.get("tools"))
    except ValueError as error:
        raise row.fail(field, f"tells of tools that cannot be read ({error})") from error
