"""The four audiences of an error: the model, the data, the user, and us.

`ToolError` becomes an observation, `DataError` one line about one row, `InputError` about one file, `ArmliteError` one
line and exit status 2. Where many jobs are played, these end their own job as a `Fault` (see `armlite.runner`).
Anything else is a bug of ours and keeps its traceback.
"""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from types import TracebackType
from typing import Any, get_args, get_origin


class ArmliteError(Exception):
    """A mistake of the user: the message names the value, what is allowed, and the fix."""


class DataError(ArmliteError):
    """A row that breaks its schema.

    Args:
        dataset: file or data set name.
        row: line number (from 1) or row id.
        field: dotted name of the field.
        why: what is wrong with it, in a few words.
    """

    def __init__(self, dataset: str, row: int | str, field: str, why: str):
        super().__init__(f"{dataset}, row {row}, field {field}: {why}")
        self.dataset, self.row, self.field, self.why = dataset, row, field, why


class InputError(ArmliteError):
    """A picture, document or page that cannot be read; the message names the file and what is wrong with it."""


class ToolError(Exception):
    """A mistake of the model while calling a tool; the message is what the model gets to read."""


def tell_mistakes_in_a_line() -> None:
    """In a script: end by one line on standard error, instead of a traceback, where an `ArmliteError` ends it.

    The exit status is 1, as of any error; another error keeps its traceback.
    """
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, ArmliteError):
            print(f"error: {error}", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = hook


def first_fault(error: Any, kind: Any = None) -> tuple[str, str]:
    """The first field that broke a record's schema, dotted or `(row)`, and why; of a pydantic ValidationError.

    Args:
        error: the ValidationError.
        kind: the record; a field that it does not have is then told with the nearest that it has.
    """
    faults = error.errors(include_url=False)
    first = faults[0]
    if first["type"] == "missing":  # a misspelt field explains why another is missing
        misspelt = [f for f in faults if f["type"] == "extra_forbidden" and nearest(f["loc"][-1], [first["loc"][-1]])]
        first = (misspelt or [first])[0]
    where, why = list(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden" and (known := fields_of(kind, where[:-1])):
        why = f"there is no such field.{nearest(where[-1], known)} Fields: {', '.join(known)}"
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        why += f", not {cut(first['input'], 60)!r}.{nearest(first['input'], first['ctx']['expected'].split(chr(39)))}"
    return ".".join(where) or "(row)", why


def fields_of(model: Any, where: Iterable[str]) -> list[str]:
    """The fields that a part of some settings or of a record knows; a number is a place in a list of such parts, and a
    mapping's keys are anybody's.
    """
    mapping = False
    for part in (part for part in where if not part.isdigit()):
        if mapping:
            mapping = False
            continue
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return []
        hint = fields[part].annotation
        mapping = get_origin(hint) is dict
        model = next((a for a in (hint, *get_args(hint)) if hasattr(a, "model_fields")), None)
    return list(getattr(model, "model_fields", {}))


def first_line(error: BaseException) -> str:
    """What an error of a library says, without the pages that may follow."""
    return str(error).strip().partition("\n")[0][:200]


def cut(text: str, length: int) -> str:
    """The text, or its beginning and `...`: at most so many characters."""
    return text if len(text) <= length else text[: length - 3] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint ` Did you mean 'x'?` for a misspelt word, or the empty string."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
