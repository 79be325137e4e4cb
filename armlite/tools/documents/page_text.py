"""What can be read on a page, and what any source of pages offers: the two types that reading, OCR and cache share."""

from pathlib import Path
from typing import Protocol

from PIL import Image
from pydantic import BaseModel, ConfigDict


class PageText(BaseModel):
    """What can be read on a page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = ""
    """Lines separated by newlines, in the file's reading order."""
    source: str = "none"
    """Where the text comes from: `text` (the file's text layer), `layer` (that of a scan, which is not what is seen),
    `ocr`, `none` (nothing to read) or `unreadable` (the page itself cannot be read)."""
    heights: tuple[float, ...] = ()
    """Height of each line's letters in points; empty where unknown."""
    label: str = ""
    """The page's own number where the file declares one, such as `iv`."""
    pictures: int = 0
    """Number of pictures and drawings of a noticeable size."""
    covered: bool = False
    """Whether a picture takes up half of the page or more."""
    looked: bool = False
    """Whether OCR has been at it."""


class Pages(Protocol):
    """The pages of one document, counted from 1; `PdfPages` and `FolderPages` are some."""

    path: Path
    count: int

    def read(self, number: int) -> PageText:
        """Text of a page as the file holds it, without OCR."""
        ...

    def render(self, number: int, max_pixels: int) -> Image.Image:
        """Picture of a page, RGB, of at most `max_pixels` (an area)."""
        ...

    def outline(self) -> list[tuple[int, str, int]]:
        """Table of contents as (level from 0, title, page from 1)."""
        ...
