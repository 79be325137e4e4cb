"""A document: a PDF or a folder of page images, with its pages counted from 1.

Opening is cheap and finds what is wrong with the file; text, pictures of pages and the search index are made when first
asked for. A Document never changes and may be shared by episodes and threads.
"""

import os
import re
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from PIL import Image

from armlite.errors import InputError
from armlite.images import SUFFIXES, check_file, check_head, open_image, shrink, state_of
from armlite.kept import Kept
from armlite.tools.documents.page_text import Pages, PageText
from armlite.tools.documents.pdf import PdfPages
from armlite.tools.documents.ranking import PageIndex, rank
from armlite.tools.documents.text_cache import PageTexts

PICTURES_KEPT = 8
"""Rendered pages that a Document keeps, newest first: about 2.3 MiB each at the default size."""
DOCUMENTS_KEPT = 4
"""Documents that `open_document` keeps."""

Ranker = Callable[[PageIndex, str], list[tuple[int, float]]]
"""Pages (from 1) with a score above 0 for a query, best first. A dense retriever is another such function."""


class Document:
    """An opened document.

    Args:
        path: a PDF file, or a folder of page images; these are pages in natural order of their names (`p_2` before
            `p_10`).
        ranker: how pages are ranked for a query.

    Raises:
        InputError: missing, empty, not a PDF, damaged, encrypted, or no pages that can be read. A page that cannot be
            read among others is found out when it is asked for.
    """

    def __init__(self, path: Path | str, ranker: Ranker = rank):
        self.path = Path(path)
        self.ranker = ranker
        check_file(self.path, f"document {path}", folders=True)
        try:
            self.pages: Pages = FolderPages(self.path) if self.path.is_dir() else PdfPages(self.path)
        except OSError as error:
            raise InputError(f"document {path} cannot be read: {error.strerror or error}") from error
        self._texts = PageTexts(self.pages)
        self._lock = threading.Lock()
        self.sheets: dict[tuple[int, int], Image.Image] = {}
        """Contact sheets by (pages, pixels), for `sheet`."""
        self._pictures: Kept[tuple[int, int], Image.Image] = Kept()

    @property
    def name(self) -> str:
        """What the model calls the document: the file's name without `.pdf`, or the folder's."""
        return re.sub(r"\.pdf$", "", Path(os.path.abspath(self.path)).name, flags=re.IGNORECASE)

    def __len__(self) -> int:
        return self.pages.count

    @cached_property
    def outline(self) -> list[tuple[int, str, int]]:
        """Table of contents as (level from 0, title, page from 1)."""
        return self.pages.outline()

    @property
    def page_texts(self) -> tuple[PageText, ...]:
        """The text of each page and where it comes from: all are read now, if they have not been."""
        return self._texts.all()

    def page(self, page: int) -> PageText:
        """What can be read on a page (from 1); no other page is read for it.

        Raises:
            IndexError: no such page.
        """
        return self._texts.page(self._checked(page))

    def text(self, page: int) -> str:
        """Text of a page (from 1), as `page`; empty where there is none to read."""
        return self.page(page).text

    def texts(self) -> list[str]:
        """Text of each page in order."""
        return [page.text for page in self.page_texts]

    def render(self, page: int, max_pixels: int) -> Image.Image:
        """Picture of a page (from 1), RGB, of at most `max_pixels` (an area). Shared: copy it before drawing on it.

        Raises:
            IndexError: no such page.
            InputError: the page cannot be read.
        """
        asked = self._checked(page), max_pixels
        return self._pictures.take(asked, lambda: self.pages.render(*asked), PICTURES_KEPT)

    @cached_property
    def index(self) -> PageIndex:
        """What queries are ranked with; made from all pages when the first query comes."""
        return PageIndex(self.page_texts, self.outline)

    def search(self, query: str) -> list[tuple[int, float]]:
        """Pages (from 1) for a query with their scores, best first; none that cannot be read; empty if none matches."""
        pages = self.page_texts
        return [(n, score) for n, score in self.ranker(self.index, query) if pages[n - 1].source != "unreadable"]

    def _checked(self, page: int) -> int:
        if not 1 <= page <= len(self):
            raise IndexError(f"page {page} is not in 1 to {len(self)}")
        return page


class FolderPages:
    """The page images of a folder, in natural order of their names.

    Raises:
        InputError: no images in it, or none that is readable.
    """

    def __init__(self, path: Path):
        self.path = path
        self.files = sorted(
            (f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.name[0] != "." and f.is_file()),
            key=lambda f: _natural(f.name),
        )
        self.count = len(self.files)
        if not self.files:
            raise InputError(f"folder {path} holds no page images ({', '.join(SUFFIXES)})")
        self.complaints: dict[int, str] = {}
        """Number (from 1) -> what is wrong with a page that cannot be read."""
        for number, file in enumerate(self.files, 1):
            try:
                check_head(file)
            except InputError as error:
                self.complaints[number] = str(error)
        if len(self.complaints) == self.count:
            raise InputError(self.complaints[1])

    def read(self, number: int) -> PageText:
        """Nothing: a picture has no text layer."""
        if number in self.complaints:
            raise InputError(self.complaints[number])
        return PageText(pictures=1, covered=True)

    def render(self, number: int, max_pixels: int) -> Image.Image:
        return shrink(open_image(self.files[number - 1]), max_pixels)

    def outline(self) -> list[tuple[int, str, int]]:
        return []


_OPENED: Kept[tuple[str, int, int], Document] = Kept()


def open_document(path: Path | str) -> Document:
    """A Document, the same one for the same unchanged path while it is among the last few opened.

    Raises:
        InputError: as `Document`.
    """
    path = Path(path)
    try:
        key = state_of(path)
    except (OSError, ValueError):  # `Document` says what is wrong
        return Document(path)
    return _OPENED.take(key, lambda: Document(path), DOCUMENTS_KEPT)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which `page_10` follows `page_2`."""
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p.lower()) for p in re.split(r"([0-9]+)", name) if p]
