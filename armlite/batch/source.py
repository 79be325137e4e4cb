"""Where the rows of a batch come from: a file, a pipe, or a set on the hub."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.files import Unreadable, read_file
from armlite.data.hub import revision_of, stream
from armlite.data.pictures import Pictures
from armlite.data.row import Row
from armlite.errors import ArmliteError
from armlite.store import file_digest

PIPED = "input.jsonl"
"""Where rows from standard input are kept."""
_HUB = re.compile(r"hf:(?P<id>[^:@]+)(?:@(?P<config>[^:]+))?(?::(?P<split>.+))?")


@dataclass(frozen=True)
class Source:
    """Rows to judge."""

    name: str
    digest: str
    """Equal for the same rows; of a set on the hub its revision."""
    rows: Callable[[Pictures], Iterator[Row | Unreadable]]


def open_source(file: str | Path, out: Path) -> Source:
    """What a user's word for rows stands for.

    Args:
        file: a path, `-` for JSONL from standard input, or `hf:OWNER/NAME`, with `@CONFIG` and `:SPLIT` (`train`).
        out: folder of the batch, which keeps what comes through a pipe.

    Raises:
        ArmliteError: there is no such file, nothing is piped in, or the hub has no such set.
    """
    if found := _HUB.fullmatch(str(file)):
        hub, config, split = found["id"], found["config"], found["split"] or "train"
        revision = revision_of(hub)
        dataset = DataSet(
            name=hub,
            title=hub,
            licence="",
            tasks=_none,
            files=(),
            hub=hub,
            revision=revision,
            config=config,
            split=split,
        )
        return Source(str(file), revision or "", lambda pictures: stream(dataset, pictures))
    if str(file) == "-":
        piped = _piped(out)
        # Paths in what comes through a pipe are those of whoever pipes it.
        rows = lambda pictures: read_file("rows", piped, pictures, Path.cwd())  # noqa: E731
        return Source(piped.name, file_digest(piped), rows)
    source = Path(file)
    if not source.is_file():
        raise ArmliteError(f"there is no file {file}")
    return Source(source.name, file_digest(source), lambda pictures: read_file("rows", source, pictures, source.parent))


def _none(row: Row) -> tuple[Any, ...]:
    """A set's own reader, which is not asked: columns are read by their names."""
    return ()


def _piped(out: Path) -> Path:
    """Standard input as a file; that of an interrupted run where there is nothing on it."""
    target = out / PIPED
    if sys.stdin.isatty():
        raise ArmliteError("FILE is -, but nothing is piped in")
    out.mkdir(parents=True, exist_ok=True)
    new = target.with_suffix(".new")
    with new.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    with new.open("rb") as file:
        begins = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    fresh = new.stat().st_size > 0 or not target.exists()
    if begins and not begins.startswith(b"{"):
        new.unlink()
        _tidy(out)
        said = begins[:20].decode(errors="replace")
        raise ArmliteError(f"a pipe takes JSONL, an object a line; this begins with {said!r}")
    if fresh:
        new.replace(target)
    else:
        new.unlink()
    return target


def forget_pipe(out: Path) -> None:
    """What came through a pipe cannot be read: leave nothing."""
    (out / PIPED).unlink(missing_ok=True)
    _tidy(out)


def _tidy(out: Path) -> None:
    with suppress(OSError):  # there is more in it
        out.rmdir()
