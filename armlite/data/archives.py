"""The archives that published images come in: zip, tar, tar.gz, and tar.gz split into parts.

An archive is a stranger's: nothing is written outside the folder, no link is followed or made, and what swells beyond
reason is refused. `armlite data unpack` unpacks all of them; `armlite.data.pictures` reads from a zip what a row names
and what lies in no folder.
"""

import filecmp
import gzip
import os
import re
import shutil
import stat
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from armlite.errors import ArmliteError

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
_PART = re.compile(r"(?P<stem>.+\.(?:tar|tar\.gz|tgz))\.part[_-]?(?P<part>[a-z]{2,3}|\d{1,4})", re.IGNORECASE)
_SMALL = 64 << 20
"""Up to this many bytes nothing is a bomb, whatever its ratio."""
MAX_MEMBERS = 2_000_000
MAX_PICTURE = 256 << 20
"""Largest file, in bytes, that is read straight from a zip."""

Member = tuple[str, IO[bytes] | None]
"""Name in the archive and its bytes; None for a folder."""


def find_archives(folder: Path) -> list[Path]:
    """The archives directly in a folder; of a split one its first part."""
    found: dict[str, Path] = {}
    for file in filter(is_archive, sorted(folder.iterdir())):
        split = _PART.fullmatch(file.name)
        found.setdefault(split["stem"] if split else file.name, file)
    return list(found.values())


def is_archive(file: Path) -> bool:
    """Whether a file's name is that of an archive or of a part of one."""
    return file.is_file() and bool(_PART.fullmatch(file.name) or file.name.lower().endswith(ENDINGS))


def unpack(
    archive: Path,
    out: Path,
    max_gib: float = 256.0,
    max_ratio: float = 100.0,
    on_member: Callable[[int], None] = lambda done: None,
) -> int:
    """Unpack an archive, all of it or nothing; returns the number of files.

    A new folder appears whole. Into one that exists, files are moved once all are unpacked, and only if none of them
    would replace another file.

    Args:
        archive: the file; of a split archive any part, the others are found beside it.
        out: folder to unpack into.
        max_gib: most GiB to write.
        max_ratio: most times the archive's own size to write (beyond 64 MiB).
        on_member: told the number of files so far.

    Raises:
        ArmliteError: no archive, a damaged one, parts missing; a member would land outside the folder, is a link or
            a device; a limit is passed; a file is in the way.
    """
    archive, out = Path(archive), Path(out)
    parts = _parts(archive)
    size = sum(part.stat().st_size for part in parts)
    limit = min(max_gib * (1 << 30), max(_SMALL, max_ratio * size))
    if out.exists() and not out.is_dir():
        raise ArmliteError(f"--out {out} is a file; give a folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    unpacked = (out if out.is_dir() else out.parent) / f".{uuid.uuid4().hex[:12]}.tmp"
    unpacked.mkdir()
    try:
        with _whole(archive):
            count = _write(_members(archive, parts), unpacked, archive, limit, on_member)
        if not out.exists():
            os.replace(unpacked, out)
        else:
            _merge(unpacked, out)
        return count
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArmliteError(f"{archive} holds {Path(str(error.filename)).name!r} twice; nothing was unpacked") from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _parts(archive: Path) -> list[Path]:
    """The files that make up an archive, in order."""
    if not archive.is_file():
        raise ArmliteError(f"there is no archive {archive}")
    split = _PART.fullmatch(archive.name)
    if split is None:
        if not is_archive(archive):
            raise ArmliteError(f"{archive} is none of {', '.join(ENDINGS)}, nor a part of one (.tar.gz.part_aa)")
        return [archive]
    found = {}
    for file in archive.parent.iterdir():
        match = _PART.fullmatch(file.name)
        if match and match["stem"] == split["stem"]:
            found[_place(match["part"])] = file
    first = 1 if split["part"].isdigit() and 0 not in found else 0
    missing = set(range(first, max(found) + 1)) - set(found)
    if missing:
        raise ArmliteError(
            f"{split['stem']}: {len(missing)} of its parts before {found[max(found)].name} are not there"
        )
    return [found[place] for place in sorted(found)]


def _place(part: str) -> int:
    """Place of a part: aa -> 0, ab -> 1, ba -> 26; digits as they are."""
    if part.isdigit():
        return int(part)
    place = 0
    for letter in part.lower():
        place = place * 26 + ord(letter) - ord("a")
    return place


def _members(archive: Path, parts: list[Path]) -> Iterator[Member]:
    if archive.name.lower().endswith(".zip"):
        yield from _zipped(archive)
        return
    pieces = _joined(parts)
    stream: Any = SimpleNamespace(read=lambda size: next(pieces, b""))
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            if not member.isfile() and not member.isdir():
                raise ArmliteError(f"{archive}: {member.name!r} is a link or a device; nothing was unpacked")
            yield member.name, tar.extractfile(member) if member.isfile() else None


def _zipped(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in _plain(packed, archive):
            if info.is_dir():
                yield info.filename, None
            else:
                with packed.open(info) as data:
                    yield info.filename, data


def _plain(packed: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """The members of a zip, if all are files and folders that can be read."""
    for info in packed.infolist():
        mode = info.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArmliteError(f"{archive}: {info.filename!r} is a link or a device; nothing was unpacked")
        if info.flag_bits & 1:
            raise ArmliteError(f"{archive}: {info.filename!r} is encrypted; nothing was unpacked")
    return packed.infolist()


def _write(
    members: Iterator[Member], folder: Path, archive: Path, limit: float, on_member: Callable[[int], None]
) -> int:
    count, written = 0, 0
    for number, (name, data) in enumerate(members, 1):
        if number > MAX_MEMBERS:
            raise ArmliteError(f"{archive} has more than {MAX_MEMBERS} members; nothing was unpacked")
        target = folder / _inside(name, archive)
        if data is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "xb") as file:
            while piece := data.read(1 << 20):
                written += len(piece)
                if written > limit:  # what was read, not what the archive says of itself
                    raise ArmliteError(
                        f"{archive} unpacks to more than {limit / (1 << 20):.0f} MiB; if it should, raise --max-gib or "
                        "--max-ratio; nothing was unpacked"
                    )
                file.write(piece)
        count += 1
        on_member(count)
    return count


def _inside(name: str, archive: Path) -> Path:
    """A member's name as a path below the folder."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if name[:1] in ("/", "\\") or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name):
        raise ArmliteError(f"{archive}: {name!r} would land outside the folder; nothing was unpacked")
    return Path(*parts)


def _merge(unpacked: Path, out: Path) -> None:
    """Move the files into a folder that holds others; one that is there already must be the same."""
    moves = []
    for file in sorted(path for path in unpacked.rglob("*") if path.is_file()):
        target = out / file.relative_to(unpacked)
        if target.exists() and not (target.is_file() and filecmp.cmp(file, target, shallow=False)):
            raise ArmliteError(f"{target} is in the way, with another content; nothing was unpacked")
        moves.append((file, target))
    for file, target in moves:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)


class Zips:
    """The files in the zips below a folder, by the paths that rows name them with; nothing is unpacked.

    A row's path may begin at the folder, at the zip's own folder or inside the zip, and leave out leading folders of
    either; it counts if that fits one file only.

    Raises:
        ArmliteError: a zip is damaged or encrypted, holds a link, or a name that would land outside its folder.
    """

    def __init__(self, folder: Path):
        self._found: dict[str, list[tuple[str, zipfile.ZipFile, zipfile.ZipInfo]]] = {}
        for archive in sorted(folder.rglob("*.zip")):
            with _whole(archive):
                packed = zipfile.ZipFile(archive)  # stays open: rows are many
                for info in _plain(packed, archive):
                    path = (archive.parent.relative_to(folder) / _inside(info.filename, archive)).as_posix()
                    if not info.is_dir():
                        self._found.setdefault(path.rpartition("/")[2], []).append((path, packed, info))

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, or None where there is none of that name.

        Raises:
            ValueError: it is too large for a picture, or another file could be meant as well.
        """
        wanted = f"/{os.path.normpath(name)}"
        if wanted.startswith(("/..", "//")):
            return None
        found = self._found.get(wanted.rpartition("/")[2], [])
        fitting = [m for m in found if f"/{m[0]}" == wanted] or [
            m for m in found if f"/{m[0]}".endswith(wanted) or wanted.endswith(f"/{m[0]}")
        ]
        if not fitting:
            return None
        if len(fitting) > 1:
            raise ValueError(f"names {name!r}, which could be {fitting[0][0]} or {fitting[1][0]} in a zip")
        path, packed, info = fitting[0]
        if info.file_size > MAX_PICTURE:
            raise ValueError(f"names {name!r}, which has more than {MAX_PICTURE >> 20} MiB in its zip")
        with _whole(Path(packed.filename or path)), packed.open(info) as data:
            return data.read(MAX_PICTURE)


@contextmanager
def _whole(archive: Path) -> Iterator[None]:
    """What a broken archive raises, as one line for the user."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, gzip.BadGzipFile) as error:
        raise ArmliteError(f"{archive} is damaged, or no archive that can be read: {error}") from error


def _joined(parts: list[Path]) -> Iterator[bytes]:
    """Several files as one, in small pieces: of a packed one each may swell a thousandfold in memory."""
    for part in parts:
        with open(part, "rb") as file:
            while piece := file.read(tarfile.RECORDSIZE):
                yield piece
