"""The rows of JSONL files that other people wrote: whatever their editor made of encodings, line ends and brackets.

Read as they are: UTF-8 with or without a byte order mark, UTF-16 and UTF-32 with one, any line ends, one JSON array
instead of lines. Told by line: another encoding, a line that is cut off, a key that stands twice, nesting without end.
"""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from armlite.errors import ArmliteError, DataError, cut, first_fault
from armlite.types import Record

R = TypeVar("R", bound=Record)

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks, and the encodings that they tell of."""
_HALF = re.compile("[\ud800-\udfff]")


def json_rows(file: Path) -> Iterator[tuple[int, Any]]:
    """The values of a file's rows with their numbers: of lines, counted from 1, or of an array's items, likewise.

    Args:
        file: JSON values, one a line, or one array of them over any number of lines.

    Raises:
        ArmliteError: the file cannot be read.
        DataError: a row is no JSON, or none that can be relied on; names it.
    """
    encoding = encoding_of(file)
    if (array := _array(file, encoding)) is not None:
        yield from enumerate(array, 1)
        return
    # In binary lines text with U+2028 and others stays whole, which `str.splitlines` would take for an end of line.
    for number, line in _lines(file, encoding):
        if line.strip():
            yield number, _value(file, number, line)


def read_records(file: Path, kind: type[R]) -> Iterator[tuple[int, R]]:
    """The rows of a file as records, with their numbers as `json_rows` counts them.

    Raises:
        ArmliteError: the file cannot be read.
        DataError: a row is no such record; names it, the field, and the nearest that there is.
    """
    for number, value in json_rows(file):
        try:
            # As text once more: pydantic tells a list of texts from one of numbers in JSON only.
            record = kind.from_json(json.dumps(value))
        except ValidationError as error:
            raise DataError(str(file), number, *first_fault(error, kind)) from error
        yield number, record


def encoding_of(file: Path) -> str:
    """The encoding that a file's first bytes tell; UTF-8 where there is no mark.

    Raises:
        ArmliteError: the file cannot be read.
    """
    try:
        with open(file, "rb") as data:
            start = data.read(4)
    except OSError as error:
        raise ArmliteError(f"cannot read {file}: {error.strerror or error}") from error
    return next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8")


def _lines(file: Path, encoding: str) -> Iterator[tuple[int, str]]:
    if encoding.startswith("utf-8"):
        with open(file, "rb") as data:
            for number, line in enumerate(data, 1):
                yield number, _decoded(file, number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
        return
    yield from enumerate(_text(file, encoding).split("\n"), 1)


def _text(file: Path, encoding: str) -> str:
    content = file.read_bytes()
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        row = 1 + content[: error.start].decode(encoding, "ignore").count("\n")
        raise DataError(str(file), row, "(row)", f"this is not {encoding.upper()} ({error.reason})") from error


def _decoded(file: Path, number: int, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        why = f"byte 0x{byte:02x} is not UTF-8 (Latin-1 or Windows-1252?): save the file as UTF-8"
        raise DataError(str(file), number, "(row)", why) from error


def _array(file: Path, encoding: str) -> list[Any] | None:
    """The items of a file that begins as an array, else None."""
    with open(file, encoding=encoding, errors="replace") as lines:
        first = next((line.strip() for line in lines if line.strip()), "")
    if not first.startswith("["):
        return None
    found: list[Any] = _value(file, 1, _text(file, encoding))
    return found


def _value(file: Path, number: int, text: str) -> Any:
    """One row's value.

    Raises:
        DataError: see `json_rows`.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        why = "is nested too deeply"
    except _Twice as error:
        why = f"the key {cut(str(error), 60)!r} stands twice in one object: which value counts?"
    except ValueError as error:
        cut_off = not text.endswith("\n") and text.lstrip()[:1] in ("{", "[")
        why = f"{'the line is cut off' if cut_off else 'this is not JSON'} ({error})"
    else:
        if (half := _HALF.search(text if "\\u" not in text else json.dumps(value, ensure_ascii=False))) is None:
            return value
        why = f"holds half of a character (\\u{ord(half[0]):04x} without its other half)"
    raise DataError(str(file), number, "(row)", why)


class _Twice(ValueError):
    """A key stands twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found
