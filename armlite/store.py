"""Trajectories and their PNG files on disk.

One JSON line per trajectory, `{"trajectory": {...}, "score": {...} | null}`, and the pixels as
`images/<ImageInfo.file>` beside the file. Whole files appear at once or not at all; images are written before the rows
that name them. This is no data set format (`armlite.data` reads tasks) and knows nothing of runs beyond finding
trajectories below a folder.
"""

import errno
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError
from pydantic import PrivateAttr, ValidationError

from armlite.errors import ArmliteError, DataError, nearest
from armlite.jsonl import encoding_of, read_records
from armlite.png import kept_png
from armlite.types import ImageInfo, Record, Score, Trajectory

TORN = ".[0-9a-f]*.tmp"
"""Names (a glob pattern) of the files that `whole_file` had not finished when its process was killed."""
PIECE = 1 << 16
"""Bytes of a large file that go into its hash at each of 64 places."""
IMAGE_WRITERS = 4
"""Images that are compressed and flushed at once: a disk takes about as long for four as for one."""
_FIRST_LINE = re.compile(r'[\s\[]*\{\s*"trajectory"\s*:')


class Saved(Record):
    """One row of a file: a trajectory and, where it was scored, its rewards."""

    trajectory: Trajectory
    score: Score | None = None
    seconds: float | None = None
    """What it took, where it was measured."""
    alone: bool = True
    """The seconds are from asking to the last turn; False: an even share of what a batch took."""
    cached: bool = False
    """Made by an earlier batch; nothing was asked for it here."""

    _path: Path | None = PrivateAttr(default=None)

    @property
    def path(self) -> Path | None:
        """The file that `read` found this row in; no part of the record. `open_image` wants it."""
        return self._path


def write_atomic(path: str | Path, data: str | bytes) -> None:
    """Write a whole file (text as UTF-8), as `whole_file` does."""
    with _one_line("write", path), whole_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def relative(path: str | Path, folder: str | Path) -> str:
    """A path as seen from a folder; right where folders are links, too, since `..` is of the place, not of the name."""
    path = Path(os.path.abspath(path))
    return os.path.relpath(os.path.join(os.path.realpath(path.parent), path.name), os.path.realpath(folder))


def read_json(path: Path, default: Any = None) -> Any:
    """What a JSON file of ours holds; the default where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write bit by bit; after a crash at any moment `path` holds its old or its new content.

    It gets its name at the end of the block and vanishes if the block raises. Missing folders are made; a symbolic link
    is written through.

    Raises:
        ArmliteError: the disk is full, the place is not writable, or it is not a file; nothing is left behind.
    """
    target = Path(os.path.realpath(path))
    part = _part_of(target)
    with _one_line("write", path):
        if target.exists() and not target.is_file():
            raise ArmliteError(f"cannot write {path}: it is not a regular file")
        target.parent.mkdir(parents=True, exist_ok=True)
        file = open(part, "xb")  # noqa: SIM115
    try:
        with file:
            yield file  # outside of `_one_line`: the caller's own errors are not ours to reword
            with _one_line("write", path):
                file.flush()
                os.fsync(file.fileno())
        with _one_line("write", path):
            os.replace(part, target)
            sync(target.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def file_digest(file: Path) -> str:
    """Hash of a file's content.

    Raises:
        ArmliteError: it cannot be read.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()[:32]
    except OSError as error:
        raise ArmliteError(f"cannot read {file}: {error.strerror or error}") from error


def pieces_digest(files: Iterable[Path], root: Path) -> str:
    """Hash of the names below a folder, sizes and 64 pieces each of large files: of weights, in milliseconds.

    Raises:
        ArmliteError: a file cannot be read.
    """
    found = hashlib.sha256()
    for path in sorted(files):
        with _one_line("read", path), path.open("rb") as file:
            size = path.stat().st_size
            found.update(f"{path.relative_to(root)} {size}\n".encode())
            for start in range(0, size, max(PIECE, size // 64)):
                file.seek(start)
                found.update(file.read(PIECE))
    return found.hexdigest()[:32]


def save(path: str | Path, rows: Iterable[Saved], images: Mapping[str, Image.Image] | None = None) -> None:
    """Write the rows as the whole content of `path`, and those of their images that are not on disk yet.

    Args:
        path: the `.jsonl` file.
        rows: what to write, in order.
        images: file name (`ImageInfo.file`) -> pixels, RGB; more than the rows name is fine.

    Raises:
        ArmliteError: the place cannot be written to; an existing file is left as it was.
        ValueError: a row names an image that is neither given nor on disk.
    """
    rows = list(rows)
    _write_images(Path(path), rows, images or {})
    write_atomic(path, "".join(row.to_json() + "\n" for row in rows))


def append(path: str | Path, rows: Iterable[Saved], images: Mapping[str, Image.Image] | None = None) -> None:
    """Add rows at the end of `path` (made if missing): all of them, or after an error none. Otherwise as `save`.

    Raises:
        ArmliteError: as `save`.
        DataError: the file's last line is cut off, so that a new row would be glued to it.
    """
    path, rows = Path(path), list(rows)
    _write_images(path, rows, images or {})
    text = "".join(row.to_json() + "\n" for row in rows).encode()
    with _one_line("write", path):
        if not path.exists() or not path.stat().st_size:
            return write_atomic(path, text)
        with open(path, "r+b", buffering=0) as file:
            size = file.seek(-1, os.SEEK_END) + 1
            if file.read(1) != b"\n":
                for _ in _rows(path):  # raises where the last line is not whole
                    pass
                text = b"\n" + text
            try:
                while text:  # a disk that fills up takes a part first and complains at the rest
                    text = text[file.write(text) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(size)
                raise


def read(path: str | Path) -> Iterator[Saved]:
    """Rows of a file, or of all trajectory files below a folder (such as a run directory), files in sorted order.

    Below a folder, a `.jsonl` file whose first line does not open with the key `trajectory` (`metrics.jsonl`) is passed
    over; a file that is named itself has to hold rows.

    Raises:
        ArmliteError: nothing is there or it cannot be read (at the call).
        DataError: a row breaks the schema or is cut off (on reaching it).
    """
    path = Path(path)
    with _one_line("read", path):
        if not path.exists():
            near = nearest(path.name, os.listdir(path.parent)) if path.parent.is_dir() else ""
            raise ArmliteError(f"there is no file or folder {path}.{near}")
        if not path.is_dir():
            return _rows(path)
        files = trajectory_files(path)
    return (row for file in files for row in _rows(file))


def trajectory_files(path: Path) -> list[Path]:
    """The files of trajectories below a folder, sorted; or the file itself.

    Raises:
        ArmliteError: nothing is there or it cannot be read.
    """
    with _one_line("read", path):
        if not path.is_dir():
            path.stat()
            return [path]
        return [file for file in sorted(path.rglob("*.jsonl")) if file.is_file() and _holds_trajectories(file)]


def read_on(path: Path, start: int) -> tuple[list[Saved], int]:
    """Rows of a file of ours that is being written, from a byte on, and the byte after the last whole line.

    Raises:
        ArmliteError: it cannot be read.
        DataError: a whole line breaks the schema.
    """
    with _one_line("read", path), open(path, "rb") as file:
        file.seek(start)
        whole = file.read()
    whole = whole[: whole.rfind(b"\n") + 1]
    rows = []
    for line in filter(bytes.strip, whole.splitlines()):
        try:
            row = Saved.from_json(line)
        except ValidationError as e:
            what = e.errors()[0]
            raise DataError(str(path), f"after byte {start}", ".".join(map(str, what["loc"])), what["msg"]) from e
        row._path = path
        rows.append(row)
    return rows, start + len(whole)


def image_path(path: str | Path, info: ImageInfo) -> Path:
    """Where the pixels of an image of a row of `path` are.

    Raises:
        ArmliteError: the record names a file elsewhere (a foreign file must not be able to show our disk).
    """
    if not info.file or info.file != re.split(r"[/\\]", info.file)[-1] or info.file in (".", ".."):
        raise ArmliteError(f"{path}: image {info.id} has {info.file!r} for a file name; it must be a plain name")
    return Path(path).parent / "images" / info.file


def open_image(path: str | Path, info: ImageInfo) -> Image.Image:
    """The pixels, RGB, of an image of a row of the file `path`.

    Raises:
        ArmliteError: the PNG is missing or broken.
    """
    file = image_path(path, info)
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except FileNotFoundError as e:
        raise ArmliteError(f"image {info.id} is missing: there is no file {file}") from e
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as e:
        raise ArmliteError(f"image {info.id} cannot be read: {file} ({e})") from e


@contextmanager
def _one_line(verb: str, path: str | Path) -> Iterator[None]:
    """What the operating system refuses, as one line for the user."""
    try:
        yield
    except OSError as e:
        raise ArmliteError(f"cannot {verb} {path}: {e.strerror or e}") from e


def sync(path: Path) -> None:
    """Flush a file, or a folder with the names in it, to the disk, so that they survive a power cut.

    Only POSIX can open a folder, and some of its file systems (on networks, FUSE) do not flush it: that is no error.
    """
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _write_images(path: Path, rows: list[Saved], images: Mapping[str, Image.Image]) -> None:
    """Write what is not there yet; all are on the disk before the first gets its name."""
    parts: dict[Path, tuple[Path, Image.Image]] = {}
    for file, info in {info.file: info for row in rows for info in row.trajectory.images}.items():
        target = image_path(path, info)
        with _one_line("write", target):
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
        if file not in images:
            raise ValueError(f"image {info.id} ({file}) is neither given nor in {target.parent}")
        parts[target] = _part_of(target), images[file]
    try:
        with ThreadPoolExecutor(IMAGE_WRITERS) as pool:
            for done in [pool.submit(_write_part, target, *part) for target, part in parts.items()]:
                done.result()
        for target, (part, _) in parts.items():
            with _one_line("write", target):
                os.replace(part, target)
        for folder in {target.parent for target in parts}:
            with _one_line("write", folder):
                sync(folder)
    except BaseException:
        for part, _ in parts.values():
            part.unlink(missing_ok=True)
        raise


def _write_part(target: Path, part: Path, image: Image.Image) -> None:
    with _one_line("write", target), part.open("xb") as file:
        file.write(kept_png(image))
        file.flush()
        os.fsync(file.fileno())


def _part_of(target: Path) -> Path:
    """Where a file is written before it gets its name. Short, hidden and not `.jsonl`: fits where the target's name is
    at its limit, and `read` never takes it for rows.
    """
    return target.parent / f".{uuid.uuid4().hex[:12]}.tmp"


def _holds_trajectories(file: Path) -> bool:
    with open(file, encoding=encoding_of(file), errors="replace") as lines:
        return bool(_FIRST_LINE.match(next((line for line in lines if line.strip("[ \t\r\n")), "")))


def _rows(file: Path) -> Iterator[Saved]:
    for _, row in read_records(file, Saved):
        row._path = file
        yield row
