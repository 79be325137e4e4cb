"""Reading PDF files through pypdfium2: opening, pages, pictures of pages; their text is made in `layer`.

PDFium is not thread safe, so every call into it, in any thread and for any file, happens under `LOCK`. Only
`pages` uses this file; what a page's words mean for a search is decided in `passages`.
"""

import atexit
import functools
import math
import sys
import threading
import weakref
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image

from armlite.errors import InputError
from armlite.images import check_shape
from armlite.tools.documents.layer import content, lines
from armlite.tools.documents.page_text import PageText

LOCK = threading.RLock()
"""Re-entrant, because garbage collection may close one file while another is being read in the same thread."""
MAX_SCALE = 4.0
"""Pages are drawn with at most this many pixels a point (288 dpi): more shows nothing new."""
MOST_STRANGE = 0.1
"""A text layer with a larger share of characters that do not print is not text."""
_OPEN: "weakref.WeakSet[PdfPages]" = weakref.WeakSet()


@functools.cache
def _close_at_exit() -> None:
    """Close what is open before PDFium ends, which complains of each open file on stderr.

    To be called once PDFium is loaded: exit handlers run in the opposite order of their registration.
    """

    @atexit.register
    def close() -> None:
        for pages in list(_OPEN):
            pages.close()


class PdfPages:
    """The pages of one PDF file, counted from 1.

    Raises:
        InputError: not a PDF, damaged, encrypted, or without pages.
    """

    def __init__(self, path: Path):
        import pypdfium2 as pdfium

        self.path = path
        _check_head(path)
        with LOCK:
            try:
                self._pdf = pdfium.PdfDocument(path)
                self.count = len(self._pdf)
                if self.count and self._pdf.get_formtype():
                    self._pdf.init_forms()
            except pdfium.PdfiumError as error:
                raise InputError(_refusal(path, str(error))) from error
        _OPEN.add(self)
        _close_at_exit()
        if self.count == 0:
            raise InputError(f"document {path} has no pages")
        self._check_tail()

    def _check_tail(self) -> None:
        """PDFium opens files that were cut off and invents nothing: pages that are gone fail to load."""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 2048))
            whole = b"%%EOF" in file.read()
        if not whole:
            for number in range(1, self.count + 1):
                with LOCK:
                    self._load(number).close()

    def _load(self, number: int) -> Any:
        """A page; what was filled into forms, written as notes or stamped on it becomes part of it."""
        import pypdfium2 as pdfium
        import pypdfium2.raw as raw

        try:
            page = self._pdf[number - 1]
            if raw.FPDFPage_GetAnnotCount(page) > 0 and raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY) == 1:
                page.close()
                page = self._pdf[number - 1]
        except pdfium.PdfiumError as error:
            raise InputError(
                f"document {self.path}: page {number} cannot be read; the file is damaged or cut off. "
                "Fetch it again, or try to repair it with `qpdf IN.pdf OUT.pdf`"
            ) from error
        check_shape(page.get_size(), f"document {self.path}: page {number}")
        return page

    def read(self, number: int) -> PageText:
        """Text and layout of a page (from 1)."""
        with LOCK, closing(self._load(number)) as page:
            seen = content(page)
            text, heights, of_scan = lines(page, seen)
            label = self._pdf.get_page_label(number - 1)
        if not readable(text):
            return PageText(label=label, pictures=max(1, seen.pictures), covered=seen.covered)
        source = "layer" if of_scan else "text"
        return PageText(
            text=text, source=source, heights=heights, label=label, pictures=seen.pictures, covered=seen.covered
        )

    def render(self, number: int, max_pixels: int) -> Image.Image:
        """Picture of a page (from 1), RGB, as large as fits in `max_pixels` (an area), at most `MAX_SCALE`."""
        with LOCK, closing(self._load(number)) as page:
            width, height = page.get_size()
            scale = min(MAX_SCALE, math.sqrt(max_pixels / max(width * height, 1.0)))
            # Sides are rounded up when drawing, so the area may end just above the limit.
            while scale > 1e-3 and math.ceil(width * scale) * math.ceil(height * scale) > max_pixels:
                scale *= 0.998
            with closing(page.render(scale=scale, rev_byteorder=True)) as bitmap:
                return bitmap.to_pil().convert("RGB")

    def outline(self) -> list[tuple[int, str, int]]:
        """Table of contents as (level from 0, title, page from 1)."""
        entries = []
        with LOCK:
            for mark in self._pdf.get_toc():
                target = mark.get_dest()
                index = target.get_index() if target is not None else None
                if index is not None and 0 <= index < self.count:
                    entries.append((mark.level, mark.get_title().strip(), index + 1))
        return entries

    def close(self) -> None:
        """Close the file; may be called twice."""
        pdf = vars(self).pop("_pdf", None)
        if pdf is not None:
            with LOCK:
                pdf.close()

    def __del__(self) -> None:
        # PDFium's own finaliser would run without the lock. While Python ends, names of this module may be gone.
        if "_pdf" in self.__dict__ and LOCK is not None and not sys.is_finalizing():
            self.close()


def readable(text: str) -> bool:
    """Whether a text layer is there and means something.

    Fonts without a Unicode map yield glyph numbers, which show up as control characters.
    """
    signs = [c for c in text if not c.isspace()]
    return any(c.isalnum() for c in signs) and sum(not c.isprintable() for c in signs) <= MOST_STRANGE * len(signs)


def _check_head(path: Path) -> None:
    """Tell an empty file or another kind of file from a broken PDF: PDFium reports all three alike."""
    if path.stat().st_size == 0:
        raise InputError(f"document {path} is an empty file")
    with path.open("rb") as file:
        head = file.read(1024)
    if b"%PDF-" not in head:
        raise InputError(f"document {path} is not a PDF; give a PDF file or a folder of page images")


def _refusal(path: Path, error: str) -> str:
    if "password" in error.lower():
        return (
            f"document {path} is encrypted and needs a password; save an open copy first: "
            "`qpdf --password=... --decrypt IN.pdf OUT.pdf`"
        )
    if "security" in error.lower():
        return f"document {path} uses an encryption that cannot be read; save an open copy first"
    return (
        f"document {path} is damaged or cut off and cannot be opened; fetch it again, "
        "or try to repair it with `qpdf IN.pdf OUT.pdf`"
    )
