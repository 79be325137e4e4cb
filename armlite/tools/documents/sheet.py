"""The contact sheet that a document task starts from: small pictures of the pages in a numbered grid."""

import math

from PIL import Image, ImageDraw, ImageFont

from armlite.errors import InputError
from armlite.images import shared_view, shrink
from armlite.memory import Limits
from armlite.tools.documents.pages import Document

COLUMNS = 5
GAP = 6
"""Pixels between pages."""


def contact_sheet(document: Document, limits: Limits | None = None) -> Image.Image:
    """Pages from 1, left to right and then down, five to a row, each with its number; RGB.

    Shows at most `limits.sheet_max_pages` pages within `limits.sheet_max_pixels` (an area); how many there are in all
    is said by the prompt, not by the picture. A page that cannot be read is an empty place with its number. Drawn once
    for all episodes that share the document.

    Raises:
        InputError: none of these pages can be read; tells of the first.
    """
    limits = limits or Limits()
    key = limits.sheet_max_pages, limits.sheet_max_pixels
    if key not in document.sheets:
        document.sheets[key] = _draw(document, limits)
    return shared_view(document.sheets[key])


def _draw(document: Document, limits: Limits) -> Image.Image:
    count = min(len(document), limits.sheet_max_pages)
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    share = max(1, limits.sheet_max_pixels // (columns * rows))
    pages: list[Image.Image | None] = []
    complaints = []
    for number in range(1, count + 1):
        try:
            pages.append(document.render(number, share))
        except InputError as error:
            pages.append(None)
            complaints.append(error)
    if len(complaints) == count:
        raise complaints[0]
    wide, high = max(p.width for p in pages if p), max(p.height for p in pages if p)
    # One cell size for all: scaled so that the widest and the tallest page fit and the whole keeps to its area.
    area = (columns * (wide + GAP) + GAP) * (rows * (high + GAP) + GAP)
    scale = min(1.0, math.sqrt(limits.sheet_max_pixels / area))
    cell = max(1, int(wide * scale)), max(1, int(high * scale))
    gap = int(GAP * scale)
    sheet = Image.new("RGB", (columns * (cell[0] + gap) + gap, rows * (cell[1] + gap) + gap), (128, 128, 128))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=max(10, min(cell) // 7))
    for i, page in enumerate(pages):
        left, top = (i % columns) * (cell[0] + gap) + gap, (i // columns) * (cell[1] + gap) + gap
        if page is not None:
            size = max(1, int(page.width * scale)), max(1, int(page.height * scale))
            sheet.paste(page.resize(size, Image.Resampling.BICUBIC), (left, top))
        box = draw.textbbox((left + 2, top + 1), str(i + 1), font=font)
        draw.rectangle((left, top, box[2] + 2, box[3] + 2), fill="black")
        draw.text((left + 2, top + 1), str(i + 1), fill="white", font=font)
    return shrink(sheet, limits.sheet_max_pixels)
