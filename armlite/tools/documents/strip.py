"""Pages side by side in one picture, as the reference's document tools show them; ours show each page for itself."""

from collections.abc import Sequence

from PIL import Image

from armlite.errors import InputError
from armlite.images import shrink
from armlite.tools.documents.pages import Document

SIDE = 1120
"""Longest side of a page in pixels; smaller ones are not enlarged."""
PAD = 8
"""Pixels between pages."""
EMPTY = (866, SIDE)
"""Width and height of the place of a page that cannot be read: those of a letter page."""


def strip(document: Document, pages: Sequence[int], max_pixels: int) -> Image.Image:
    """Pages (from 1) in the order given, from left to right on white, centred; RGB, of at most `max_pixels` (an area).

    One that cannot be read is an empty place.

    Source:
        ARM-Thinker `verl/tools/doc_page_tools.py::concat_images_horizontally`.
    """
    shown = [_small(_drawn(document, page)) for page in pages]
    width, height = sum(page.width for page in shown) + PAD * (len(shown) - 1), max(page.height for page in shown)
    whole, left = Image.new("RGB", (width, height), "white"), 0
    for page in shown:
        whole.paste(page, (left, (height - page.height) // 2))
        left += page.width + PAD
    return shrink(whole, max_pixels)


def _drawn(document: Document, page: int) -> Image.Image:
    try:
        return document.render(page, SIDE * SIDE)
    except InputError:
        return Image.new("RGB", EMPTY, "white")


def _small(page: Image.Image) -> Image.Image:
    scale = SIDE / max(page.size)
    if scale >= 1:
        return page
    size = (max(1, int(page.width * scale)), max(1, int(page.height * scale)))
    return page.resize(size, Image.Resampling.BICUBIC)
