"""What can be read on the pages of a document: read when first asked for, and kept on disk under the content's hash.

A page that is a picture goes through OCR when it is asked for itself, or when the whole document is. The disk is a
convenience: an entry that cannot be read is made again, and a folder that takes no files is ignored.
"""

import hashlib
import os
import sys
import threading
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from armlite.errors import ArmliteError, InputError
from armlite.store import write_atomic
from armlite.tools.documents import ocr
from armlite.tools.documents.page_text import Pages, PageText

VERSION = 2
"""Raised whenever what is read from a page changes; older entries are then passed over."""
KEEP_FROM = 10
"""Documents with fewer pages and no OCR are read faster than an entry is found, and are not kept."""
TELL_FROM = 5
"""Pages to be read with OCR of which stderr tells: fewer take seconds."""


class Entry(BaseModel):
    """What is kept of one document."""

    model_config = ConfigDict(extra="forbid")

    pages: dict[int, PageText]
    """By number, from 1; perhaps not all of them."""


def cache_folder() -> Path:
    """`$ARMLITE_CACHE`, or armlite's folder in the platform's place for caches."""
    if named := os.environ.get("ARMLITE_CACHE"):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "armlite"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "armlite" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "armlite"


class PageTexts:
    """The texts of a document's pages. A page that cannot be read is an empty one with the source `unreadable`."""

    def __init__(self, pages: Pages):
        self._pages = pages
        self._found: dict[int, PageText] = {}
        self._lock = threading.RLock()

    def page(self, number: int) -> PageText:
        """One page (from 1); no other is read."""
        with self._lock:
            if number in self._found:
                return self._found[number]
            found = self._read(number)
            if ocr.wanted(found):
                kept = self._load().get(number, found)
                found = ocr.read_page(self._pages, number, kept)
                if found != kept:
                    self._save({number: found})
            self._found[number] = found
            return found

    def all(self) -> tuple[PageText, ...]:
        """All pages in order; those that are pictures are read side by side, and each is kept as it is done."""
        with self._lock:
            numbers = range(1, self._pages.count + 1)
            if len(self._found) < len(numbers):
                kept = self._load()
                found = {n: self._found.get(n) or kept.get(n) or self._read(n) for n in numbers}
                left = [n for n in numbers if ocr.wanted(found[n])]
                for done, (number, page) in enumerate(ocr.read_pages(self._pages, left, found), 1):
                    found[number] = page
                    self._save({number: page})
                    self._tell(done, len(left))
                if kept != found and len(numbers) >= KEEP_FROM:
                    self._save(found)
                self._found = found
            return tuple(self._found[n] for n in numbers)

    def _read(self, number: int) -> PageText:
        try:
            return self._pages.read(number)
        except InputError:
            return PageText(source="unreadable")

    def _tell(self, done: int, of: int) -> None:
        if of >= TELL_FROM and sys.stderr.isatty():
            end = "\n" if done == of else ""
            print(f"\r{self._pages.path.name}: page {done} of {of} read with OCR", end=end, file=sys.stderr, flush=True)

    @cached_property
    def _file(self) -> Path:
        return cache_folder() / f"pages-{VERSION}" / f"{_digest(self._pages.path)}.json"

    def _load(self) -> dict[int, PageText]:
        try:
            return Entry.model_validate_json(self._file.read_bytes()).pages
        except (OSError, ValidationError):
            return {}

    def _save(self, pages: dict[int, PageText]) -> None:
        """Add pages to what is kept."""
        entry = Entry(pages=dict(sorted((self._load() | pages).items())))
        with suppress(ArmliteError):  # the folder takes no files
            write_atomic(self._file, entry.model_dump_json().encode("utf-8", "replace"))


def _digest(path: Path) -> str:
    """Hash of a file's content, or of the names and contents of a folder's files."""
    if path.is_file():
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(f for f in path.iterdir() if f.is_file()):
        digest.update(f"{file.name}\0{_digest(file)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
