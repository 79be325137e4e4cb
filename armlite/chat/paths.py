"""Paths as people write, paste and drop them."""

import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from armlite.errors import ArmliteError


def written_path(text: str) -> str:
    """The path that a text means: in quotes, with blanks behind backslashes, as `file://`, or from one's home.

    A file that is there under the text as it stands is that file.
    """
    text = text.strip()
    if text.startswith("file://"):
        return unquote(urlsplit(text).path)
    plain = Path(text).expanduser()
    if plain.exists():
        return str(plain)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    elif "\\" in text:
        text = re.sub(r"\\(.)", r"\1", text)
    return str(Path(text).expanduser())


def written_paths(text: str) -> list[str]:
    """Several of them with blanks between, as a terminal writes what was dropped on it; one where a file is called so.

    Raises:
        ArmliteError: a quote is not closed.
    """
    if Path(written_path(text)).exists():
        return [written_path(text)]
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ArmliteError(f"{text}: {error}") from error
    found = [written_path(word) for word in words]
    return found if len(found) > 1 and all(Path(path).exists() for path in found) else [written_path(text)]


def read_text(path: str) -> str:
    """The text of a file, without the end of its last line.

    Raises:
        ArmliteError: it cannot be read, or is no UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig").removesuffix("\n")
    except (OSError, ValueError) as error:
        raise ArmliteError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
