"""One row of a published file, with its fields read by name and checked as they are read.

A set's file turns a Row into Tasks and says with `fail` what is wrong with it. Publishers' habits (NaN for a missing
option, a list written out as a string, names that differ between releases) are met here, once.
"""

import ast
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlite.data.pictures import Pictures
from armlite.errors import DataError


@dataclass(frozen=True)
class Row:
    """A row and where it stands.

    Several names may be given for a field: the first that is there counts, and the first is named in errors. Absent,
    None and NaN are the same.
    """

    dataset: str
    file: Path
    number: int
    """From 1, in its file."""
    values: dict[str, Any]
    pictures: Pictures
    key: str | None = None
    """Where the file is a mapping: the row's key."""
    root: Path | None = None
    """Folder that paths in the row are relative to; None: the file's."""

    @property
    def folder(self) -> Path:
        return self.root or self.file.parent

    def fail(self, field: str, why: str) -> DataError:
        """The error to raise where the row breaks its schema."""
        return DataError(f"{self.dataset} ({self.file.name})", self.number, field, why)

    def get(self, *names: str) -> Any:
        """The field as it stands, or None."""
        for name in names:
            value = self.values.get(name)
            if value is not None and not (isinstance(value, float) and math.isnan(value)):
                return value
        return None

    def there(self, *names: str) -> dict[str, Any]:
        """Those of the fields that are there, as they stand."""
        return {name: value for name in names if (value := self.get(name)) is not None}

    def need(self, *names: str) -> Any:
        """The field as it stands.

        Raises:
            DataError: it is absent.
        """
        value = self.get(*names)
        if value is None:
            raise self.fail(names[0], "is missing")
        return value

    def text(self, *names: str) -> str:
        """A string; whole numbers are written out.

        Raises:
            DataError: it is absent, or something else.
        """
        value = self.need(*names)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise self.fail(names[0], f"must be a text, not {_kind(value)}")
        return value

    def words(self, *names: str) -> str:
        """A string that is not blank.

        Raises:
            DataError: it is absent, blank, or something else.
        """
        text = self.text(*names)
        if not text.strip():
            raise self.fail(names[0], "is empty")
        return text

    def integer(self, *names: str) -> int:
        """A whole number, also one written as text or as 3.0.

        Raises:
            DataError: it is absent, or something else.
        """
        value = self.need(*names)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not number.is_integer():
            raise self.fail(names[0], f"must be a whole number, not {value!r}")
        return int(number)

    def one_of(self, allowed: Sequence[str], *names: str) -> str:
        """A string out of a few.

        Raises:
            DataError: it is absent, or another.
        """
        value = self.text(*names)
        if value not in allowed:
            raise self.fail(names[0], f"is {value!r}, must be one of {', '.join(allowed)}")
        return value

    def items(self, *names: str, of: type | tuple[type, ...] | None = None) -> list[Any]:
        """A list, also one written out as a string (JSON or Python literals; nothing is evaluated).

        Raises:
            DataError: it is absent, no list, or holds something that is not `of` the type.
        """
        value = self.need(*names)
        if isinstance(value, str):
            value = _literal(value)
        if hasattr(value, "tolist"):  # numpy
            value = value.tolist()
        if not isinstance(value, list | tuple):
            raise self.fail(names[0], f"must be a list, not {_kind(value)}")
        if of is not None:
            for position, item in enumerate(value):
                if not isinstance(item, of) or (isinstance(item, bool) and of in (int, float)):
                    raise self.fail(f"{names[0]}.{position}", f"must not be {_kind(item)}")
        return list(value)

    def mapping(self, *names: str) -> dict[str, Any]:
        """A mapping, also one written out as a string.

        Raises:
            DataError: it is absent, or something else.
        """
        value = self.need(*names)
        if isinstance(value, str):
            value = _literal(value)
        if not isinstance(value, dict):
            raise self.fail(names[0], f"must be a mapping, not {_kind(value)}")
        return value

    def picture(self, *names: str) -> str:
        """Path, for a Task, of the image in a field: a PIL image, `{bytes, path}`, base64 or a path.

        Raises:
            DataError: it is absent, or no image.
        """
        return self.keep(self.need(*names), names[0])

    def keep(self, value: Any, field: str) -> str:
        """Path, for a Task, of an image that was found in a field (an element of a list, for instance).

        Raises:
            DataError: it is no image.
        """
        try:
            return self.pictures.keep(value, self.folder)
        except ValueError as error:
            raise self.fail(field, str(error)) from error


def _literal(text: str) -> Any:
    """What a string spells out: JSON, else Python literals, else the string itself."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"
