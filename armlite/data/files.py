"""Rows of published files: parquet, TSV, CSV, JSON and JSONL below a local folder, one row at a time.

Nothing is evaluated or unpickled, and no line or field can fill the memory. What a row means is known by its DataSet,
what is done with it by `convert` and `check`; `hub` gets rows without a folder.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from armlite.data.archives import find_archives, is_archive
from armlite.data.dataset import DataSet
from armlite.data.pictures import Pictures
from armlite.data.row import Row
from armlite.errors import ArmliteError, DataError, first_line
from armlite.jsonl import encoding_of

MAX_LINE = 256 << 20
"""Longest line of a JSONL file, in bytes."""
MAX_FIELD = 64 << 20
"""Longest field of a TSV file, in characters; the 8K pictures of HR-Bench take about 6 million as base64."""
MAX_JSON = 2 << 30
"""Largest JSON file, in bytes: it is read whole, as JSON has to be."""
OURS = ("tasks.jsonl", "rejects.jsonl")
"""Names of what `convert` writes, which patterns pass over."""
BATCH = 16
"""Rows of a parquet file that are turned into values at once; a page of the file (at most 1,024 rows of a column) is in
memory besides."""


@dataclass(frozen=True)
class Unreadable:
    """A place in a file where a row should be, and why there is none."""

    file: Path
    error: DataError


Found = tuple[int, str | None, dict[str, Any]]
"""Number in the file (from 1), key in the file's mapping, values."""


def read(dataset: DataSet, path: Path | None, pictures: Pictures) -> Iterator[Row | Unreadable]:
    """The rows of a set, in the order of its files, and what stands in the place of one that cannot be read.

    Args:
        path: folder that holds the set's files, or one such file; None: from the hub.
        pictures: where images go that the rows hold.

    Raises:
        ArmliteError: nothing is there, or a file is damaged.
    """
    if path is None:
        from armlite.data.hub import download, stream

        if not dataset.snapshot:
            yield from stream(dataset, pictures)
            return
        path = download(dataset)
    root = path if path.is_dir() else path.parent
    for file in find_files(dataset, path):
        yield from read_file(dataset.name, file, pictures, root)


def find_files(dataset: DataSet, path: Path) -> list[Path]:
    """The files of a set at a path: those of the first of its patterns that matches any, or the file itself.

    Raises:
        ArmliteError: no such path, or nothing there is the set's; says what was looked for and what is there instead.
    """
    if is_archive(path):
        raise ArmliteError(f"{path} is an archive. Unpack first: armlite data unpack {path} --out {path.parent}")
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ArmliteError(f"--path {path}: there is no such folder; give the one that holds {dataset.name}")
    for pattern in dataset.files:
        files = sorted({file for part in pattern.split("|") for file in path.glob(part) if _published(file, path)})
        if files:
            return files
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir() if not entry.name.startswith("."))
    there = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "nothing"
    wanted = " or ".join(pattern.replace("|", " with ") for pattern in dataset.files)
    raise ArmliteError(
        f"{path} does not hold {dataset.name}: looked for {wanted}; there is {there}.{unpack_hint(path)}"
    )


def _published(file: Path, folder: Path) -> bool:
    """Not a hidden file, as a download's cache, and not one that `convert` has written into the folder."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.is_file() and not hidden and file.name not in OURS


def unpack_hint(path: Path | None, but: tuple[str, ...] = ()) -> str:
    """How to unpack what lies packed in a folder (in files with other endings than `but`), or the empty string."""
    archives = find_archives(path) if path is not None and path.is_dir() else []
    packed = [file for file in archives if file.suffix.lower() not in but]
    if not packed:
        return ""
    return f" Unpack first: armlite data unpack {packed[0]} --out {path}"


def read_file(
    name: str, file: Path, pictures: Pictures | None = None, root: Path | None = None
) -> Iterator[Row | Unreadable]:
    """The rows of one file, and what stands in the place of one that cannot be read.

    Args:
        name: what the rows are called in errors.
        pictures: where images go that the rows hold; None: nowhere.
        root: folder that paths in the rows are relative to; None: the file's.

    Raises:
        ArmliteError: the file as a whole is damaged, or of no kind that is read.
    """
    readers = {".parquet": _parquet, ".tsv": _tsv, ".csv": _csv, ".json": _json, ".jsonl": _jsonl}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise ArmliteError(f"{file} is none of the files that are read: {', '.join(readers)}")
    try:
        if (encoding := encoding_of(file)) not in ("utf-8", "utf-8-sig"):
            raise ArmliteError(f"{file} is {encoding.upper()}: save it as UTF-8")
        for found in reader(file):
            if isinstance(found, DataError):
                yield Unreadable(file, DataError(f"{name} ({file.name})", found.row, found.field, found.why))
            else:
                number, key, values = found
                yield Row(name, file, number, values, pictures or Pictures(), key, root)
    except OSError as error:
        raise ArmliteError(f"cannot read {file}: {error.strerror or error}") from error


def _parquet(file: Path) -> Iterator[Found | DataError]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as parquet:
            batches = parquet.iter_batches(batch_size=BATCH, use_threads=False)
            for number, values in enumerate((values for batch in batches for values in batch.to_pylist()), 1):
                yield number, None, values
    except pa.ArrowException as error:
        raise ArmliteError(f"{file} is no parquet file, or a damaged one ({first_line(error)})") from error


def _tsv(file: Path) -> Iterator[Found | DataError]:
    return _table(file, "\t")


def _csv(file: Path) -> Iterator[Found | DataError]:
    return _table(file, ",")


def _table(file: Path, delimiter: str) -> Iterator[Found | DataError]:
    """Fields in quotes may span lines; an empty field is None."""
    csv.field_size_limit(MAX_FIELD)
    lines = csv.reader(_decoded(file), delimiter=delimiter)
    try:
        header = next(lines, [])
    except csv.Error as error:
        raise ArmliteError(f"{file}, line 1: {error}") from error
    number = 0
    while True:
        number += 1
        try:
            fields = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            yield DataError(str(file), number, "(row)", str(error))
            continue
        if not fields:  # a blank line
            number -= 1
        elif len(fields) != len(header):
            yield DataError(str(file), number, "(row)", f"has {len(fields)} columns, the header {len(header)}")
        else:
            yield number, None, {name: field or None for name, field in zip(header, fields, strict=True)}


def _decoded(file: Path) -> Iterator[str]:
    with open(file, "rb") as data:
        for number, line in _lines(data, MAX_LINE):
            if line is None:
                raise ArmliteError(f"{file}, line {number} is longer than {MAX_LINE >> 20} MiB")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ArmliteError(f"{file}, line {number} is not UTF-8") from error


def _jsonl(file: Path) -> Iterator[Found | DataError]:
    with open(file, "rb") as data:
        for number, line in _lines(data, MAX_LINE):
            if line is None:
                yield DataError(str(file), number, "(row)", f"the line is longer than {MAX_LINE >> 20} MiB")
                continue
            if not line.strip():
                continue
            try:
                values = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except (ValueError, RecursionError) as error:
                cut = "the line is cut off" if not line.endswith(b"\n") else "this is not JSON"
                yield DataError(str(file), number, "(row)", f"{cut} ({error})")
                continue
            yield _mapping(file, number, None, values)


def _lines(data: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers from 1; None for one of more than `limit` bytes, which is skipped in bounded pieces."""
    number = 0
    while line := data.readline(limit + 1):
        number += 1
        if len(line) <= limit:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = data.readline(1 << 20)
        yield number, None


def _json(file: Path) -> Iterator[Found | DataError]:
    """A list of rows, a mapping of them (`data`, as in the RRC files, may hold the list), or one key a row; a list of
    chat messages is one row with `messages`.
    """
    if file.stat().st_size > MAX_JSON:
        raise ArmliteError(
            f"{file} has more than {MAX_JSON >> 30} GiB; write it as JSONL or parquet, which are streamed"
        )
    try:
        rows = json.loads(file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise ArmliteError(f"{file} is not JSON: {error}") from error
    if isinstance(rows, dict) and isinstance(rows.get("data"), list):
        rows = rows["data"]
    if isinstance(rows, list) and rows and all(isinstance(m, dict) and {*m} >= {"role", "content"} for m in rows):
        rows = [{"messages": rows}]
    if not isinstance(rows, dict | list):
        raise ArmliteError(f"{file} must hold a list or a mapping of rows, not {type(rows).__name__}")
    keyed = rows.items() if isinstance(rows, dict) else ((None, values) for values in rows)
    for number, (key, values) in enumerate(keyed, 1):
        yield _mapping(file, number, key, values)


def _mapping(file: Path, number: int, key: str | None, values: Any) -> Found | DataError:
    if not isinstance(values, dict):
        return DataError(str(file), number, "(row)", f"must be a mapping, not {type(values).__name__}")
    return number, key, values
