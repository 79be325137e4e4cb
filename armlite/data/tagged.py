"""What the reference's judge prompts hold, read back out of their text: question, responses, constraint, document.

Its published conversations, RL rows and saved trajectories all carry what is judged between tags in the first user
turn; `armlite.data.sets` reads them with this.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from armlite.data.conversations import unmarked
from armlite.data.row import Row
from armlite.store import relative
from armlite.types import Constraint

TRUE_FALSE = {-1: True, -2: False}
"""A single response's truth as the reference's document reward reads it."""
_QUESTION = re.compile(r"<start_of_(instruction|question)>(.*?)<end_of_\1>", re.DOTALL)
_CONSTRAINT = re.compile(r"<start_of_constraint>(.*?)<end_of_constraint>", re.DOTALL)
_RESPONSE = re.compile(r"<start_of_((?:resp|text)_[0-4])>(.*?)<end_of_\1>", re.DOTALL)
_DOCUMENT = re.compile(r"The given document is named `([^`\n]+)`")
_CONTRACT = re.compile(r"\n+\*\*Important (?:Requirement|Note):\*\*.*", re.DOTALL)


def judged(row: Row, field: str, asked: str, gt: Any, need_gold: bool = True) -> dict[str, Any]:
    """Kind, question, responses, constraints and gold of a task, from the text of its first user turn.

    A prompt without tagged responses is a question to be answered.

    Args:
        field: where the text stands, for errors.
        gt: number of the best response from 1; of a single one True, False, -1 (true) or -2 (false); None: not given.
        need_gold: a judgment without `gt` is an error.

    Raises:
        DataError: an empty or misnamed response, no question, or a `gt` that does not fit.
    """
    responses = {name: text.strip() for name, text in _RESPONSE.findall(asked)}
    if not all(responses.values()):
        raise row.fail(field, "holds an empty response")
    constraints = tuple(Constraint(text=text.strip()) for text in _CONSTRAINT.findall(asked) if text.strip())
    found: dict[str, Any] = {"responses": tuple(responses.values()), "constraints": constraints}
    found["question"] = _question(row, asked, bool(responses))
    if not responses:
        return found | {"kind": "open_qa", "gold": str(gt) if gt not in (None, "") else None}
    if gt is None and not need_gold:
        kinds = {1: "pointwise", 2: "pairwise"}
        return found | {"kind": kinds.get(len(responses), "listwise"), "gold": None}
    return found | _gold(row, field, list(responses), gt)


def _question(row: Row, asked: str, tagged: bool) -> str:
    """The field, else the tagged instruction, else all of the text but the contract at its end."""
    found = _QUESTION.search(asked)
    if row.get("question") is not None:
        question = unmarked(row.text("question"))
    else:
        question = unmarked(found[2] if found else "" if tagged else _CONTRACT.sub("", asked))
    if not question:
        raise row.fail("question", "is missing, and the first human turn holds no tagged instruction")
    return question


def _gold(row: Row, field: str, names: Sequence[str], gt: Any) -> dict[str, Any]:
    number = _whole(gt)
    if len(names) == 1:
        gold = {"true": True, "false": False}.get(str(gt).strip().lower())
        gold = TRUE_FALSE.get(number or 0) if gold is None else gold
        if gold is None:
            raise row.fail("gt", f"is {gt!r}; of a single response it must be True, False, -1 (true) or -2 (false)")
        return {"kind": "pointwise", "gold": gold}
    if list(names) != [f"resp_{i}" for i in range(1, len(names) + 1)]:
        raise row.fail(field, f"holds the responses {', '.join(names)}; must be resp_1, resp_2 ...")
    if number is None or not 1 <= number <= len(names):
        raise row.fail("gt", f"is {gt}, must be 1 to {len(names)}")
    return {"kind": "pairwise" if len(names) == 2 else "listwise", "gold": number}


def _whole(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() and not isinstance(value, bool) else None


def document_of(row: Row, asked: str) -> tuple[str | None, dict[str, Any]]:
    """The document that a prompt names: its path, and what meta says of one that is not there.

    Raises:
        DataError: the name leads out of the folder.
    """
    named = _DOCUMENT.search(asked)
    if named is None:
        return None, {}
    path = find_document(row, "conversations", named[1])
    return path, {} if path else {"lost_document": named[1]}


def find_document(row: Row, field: str, name: str) -> str | None:
    """`documents/NAME`, a PDF or a folder of pages below the set's folder; None: it is not there.

    Raises:
        DataError: the name leads out of the folder.
    """
    base = Path(os.path.abspath(row.folder / "documents"))
    for file in (base / name, base / f"{name}.pdf", base / name.removesuffix(".pdf")):
        path = Path(os.path.abspath(file))
        if path == base or not path.is_relative_to(base):
            raise row.fail(field, f"names {name!r}, outside the documents' folder")
        if path.exists():
            return relative(path, row.pictures.out or row.folder)
    return None
