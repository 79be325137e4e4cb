"""Page texts on disk under the hash of the document's content: a document is read, and seen by OCR, once.

The cache is a convenience: an entry that cannot be read is made again, and a folder that takes no files is ignored.
"""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from armlite.errors import ArmliteError
from armlite.store import write_atomic
from armlite.tools.documents import ocr
from armlite.tools.documents.page_text import Pages, PageText

VERSION = 1
"""Raised whenever what is read from a page changes; older entries are then made again."""
KEEP_FROM = 10
"""Documents with fewer pages and no OCR are read faster than an entry is found, and are not kept."""
KEEP_EVERY = 10
"""Pages between two writes of a document that OCR is at work on."""


class Entry(BaseModel):
    """What is kept of one document."""

    model_config = ConfigDict(extra="forbid")

    version: int
    ocr: bool
    """Whether pages without a text layer were looked at with OCR."""
    pages: tuple[PageText, ...]


def cache_folder() -> Path:
    """`$ARMLITE_CACHE`, or armlite's folder in the platform's place for caches."""
    if named := os.environ.get("ARMLITE_CACHE"):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "armlite"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "armlite" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "armlite"


def read_pages(pages: Pages) -> tuple[PageText, ...]:
    """The text of all pages, from the cache where it is there.

    Pages without a readable text layer go through OCR when the `ocr` extra is installed.
    """
    with_ocr = ocr.available()
    file = cache_folder() / "pages" / f"{_digest(pages.path)}.json"
    entry = _load(file, pages.count)
    if entry is not None and (entry.ocr or not with_ocr or not any(map(ocr.wanted, entry.pages))):
        return entry.pages
    found = entry.pages if entry is not None else tuple(pages.read(n) for n in range(1, pages.count + 1))
    if with_ocr:
        found = _with_ocr(pages, found, file)
    if len(found) >= KEEP_FROM or any(p.source == "ocr" for p in found):
        _save(file, Entry(version=VERSION, ocr=with_ocr, pages=found))
    return found


def _with_ocr(pages: Pages, found: tuple[PageText, ...], file: Path) -> tuple[PageText, ...]:
    """Fill in the pages that are pictures; what is done is kept now and then, so that an interrupted run goes on."""
    read = list(found)
    for i, page in enumerate(found):
        read[i] = ocr.read_page(pages, i + 1, page)
        if i % KEEP_EVERY == KEEP_EVERY - 1 and read != list(found):
            _save(file, Entry(version=VERSION, ocr=False, pages=tuple(read)))
    return tuple(read)


def _load(file: Path, count: int) -> Entry | None:
    try:
        entry = Entry.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    return entry if entry.version == VERSION and len(entry.pages) == count else None


def _save(file: Path, entry: Entry) -> None:
    with suppress(ArmliteError):  # the folder takes no files
        write_atomic(file, entry.model_dump_json().encode("utf-8", "replace"))


def _digest(path: Path) -> str:
    """Hash of a file's content, or of the names and contents of a folder's files."""
    if path.is_file():
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(f for f in path.iterdir() if f.is_file()):
        digest.update(f"{file.name}\0{_digest(file)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
