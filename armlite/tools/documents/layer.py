"""The text layer of a PDF page: its lines as they are seen, without text that leaves no ink.

A file can hold text that nobody sees: without colour, in the ground's own colour, outside of the page, below a picture.
Such text is left out, but for that of a scan, which lies on a picture of the page and stands in for it. `pdf` calls
this, under its lock.
"""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from PIL import Image, ImageChops

INKLESS = (3, 7)
"""Text render modes that draw nothing: invisible, and clipping."""
JOINTS = (0, 2, 0xFFFE)
"""What PDFium puts between the parts of a word that a line break hyphenates."""
PALE = 235
"""Text whose colours are all above this may be white on white: it is looked at."""
NOTICEABLE = 0.01
"""Share of the page from which on a picture or drawing counts..."""
SCAN = 0.5
"""...and from which on a picture may be a scan of the page."""
LOOK_PIXELS = 700_000
"""Area at which two drawings of the page, with and without the text in question, are compared."""
Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points."""


@dataclass(frozen=True)
class Content:
    """What is drawn on a page, as far as it matters."""

    pictures: int
    """Number of pictures, shadings and form drawings of a noticeable size, plus 1 for many strokes."""
    scans: tuple[Box, ...]
    """Where pictures are that may be scans of the page."""
    doubtful: bool
    """Whether some text may be invisible."""

    @property
    def covered(self) -> bool:
        return bool(self.scans)


def content(page: Any) -> Content:
    """Look through the objects of a page."""
    import pypdfium2.raw as raw

    width, height = page.get_size()
    count = strokes = 0
    scans: list[Box] = []
    doubtful = False
    for item in _objects(page, raw.FPDFPage_CountObjects, raw.FPDFPage_GetObject):
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            doubtful = doubtful or _is_doubtful(item)
        elif kind == raw.FPDF_PAGEOBJ_PATH:
            strokes += 1
        else:
            box = _bounds(item)
            share = (box[2] - box[0]) * (box[3] - box[1]) / (width * height)
            count += share >= NOTICEABLE
            inner = list(_objects(item, raw.FPDFFormObj_CountObjects, raw.FPDFFormObj_GetObject))
            kinds = {raw.FPDFPageObj_GetType(i) for i in inner} | {kind}
            if share >= SCAN and raw.FPDF_PAGEOBJ_IMAGE in kinds:
                scans.append(box)
            doubtful = doubtful or any(_is_doubtful(i) for i in inner if raw.FPDFPageObj_GetType(i) == 1)
    return Content(count + (strokes >= 40), tuple(scans), doubtful or bool(scans))


def lines(page: Any, seen: Content) -> tuple[str, tuple[float, ...], bool]:
    """A page's lines, the letter height of each in points, and whether some are those of a scan."""
    textpage = page.get_textpage()
    try:
        found = _lines(textpage)
        left, bottom, right, top = page.get_bbox()
        inside = all(left <= x <= right and bottom <= y <= top for _, _, x, y in found)
        if (inside and not seen.doubtful) or not textpage.count_chars():
            return "\n".join(line for line, *_ in found), _heights(found), False
        chars, of_scan = _seen_characters(page, textpage, seen)
        kept = _lines(textpage, chars)
        return "\n".join(line for line, *_ in kept), _heights(kept), of_scan
    finally:
        textpage.close()


Line = tuple[str, float, float, float]
"""Text, letter height, and where its middle is."""


def _lines(textpage: Any, chars: list[tuple[int, str]] | None = None) -> list[Line]:
    """The lines of a text layer, or of those of its characters (number, text) that are given."""
    import pypdfium2.raw as raw

    numbers: Sequence[int] | None
    if chars is None:
        whole = textpage.get_text_range()
        # Text and character numbers run in step only when nothing was left out of the text.
        numbers = range(len(whole)) if len(whole) == textpage.count_chars() else None
    else:
        whole, numbers = "".join(c for _, c in chars), [i for i, _ in chars]
    found, start, box = [], 0, raw.FS_RECTF()
    for line in whole.split("\n"):
        if clean := line.replace("\ufffe", "").replace("\x00", "").strip():
            middle = start + len(line.rstrip()) // 2
            known = numbers is not None and raw.FPDFText_GetLooseCharBox(textpage, numbers[middle], box)
            place = (box.top - box.bottom, (box.left + box.right) / 2, (box.top + box.bottom) / 2)
            found.append((clean, *place) if known else (clean, 0.0, 0.0, 0.0))
        start += len(line) + 1
    return found


def _heights(found: Iterable[Line]) -> tuple[float, ...]:
    heights = tuple(round(height, 1) for _, height, *_ in found)
    return heights if any(heights) else ()


def _seen_characters(page: Any, textpage: Any, seen: Content) -> tuple[list[tuple[int, str]], bool]:
    """The characters (number, text) that are seen or stand for a scan, and whether there are some of a scan."""
    import pypdfium2.raw as raw

    numbers = range(textpage.count_chars())
    items = [raw.FPDFText_GetTextObject(textpage, i) for i in numbers]
    keys = [ctypes.cast(item, ctypes.c_void_p).value for item in items]
    texts = {key: item for key, item in zip(keys, items, strict=True) if key}
    doubtful = {key for key, item in texts.items() if seen.scans or _is_doubtful(item)}
    before = _draw(page)
    for key in doubtful:
        raw.FPDFTextObj_SetTextRenderMode(texts[key], 3)
    # What changes when the text is taken away is its ink. The page is loaded anew by whoever reads it next.
    ink = ImageChops.difference(before, _draw(page)).convert("L").point(lambda v: 255 * (v > 8))
    kept: list[tuple[int, str]] = []
    of_scan = False
    for key, some in groupby(numbers, key=lambda i: keys[i]):
        run = list(some)
        if key:
            left, bottom, right, top = zip(*(_char_box(textpage, i) for i in run), strict=True)
            whole = min(left), min(bottom), max(right), max(top)
            on_page = _overlaps(whole, page.get_bbox())
            if not on_page or (key in doubtful and not _is_inked(page, ink, whole)):
                if not on_page or not any(_overlaps(whole, scan) for scan in seen.scans):
                    continue
                of_scan = True
        kept += [(i, chr(code)) for i in run if (code := raw.FPDFText_GetUnicode(textpage, i)) not in JOINTS]
    return kept, of_scan


def _is_inked(page: Any, ink: Image.Image, box: Box) -> bool:
    import pypdfium2.raw as raw

    corners = []
    x, y = ctypes.c_int(), ctypes.c_int()
    for a, b in ((box[0], box[1]), (box[2], box[3])):
        raw.FPDF_PageToDevice(page, 0, 0, ink.width, ink.height, 0, a, b, x, y)
        corners.append((x.value, y.value))
    (a, b), (c, d) = corners
    place = (min(a, c) - 1, min(b, d) - 1, max(a, c) + 2, max(b, d) + 2)
    return ink.crop(place).getbbox() is not None


def _draw(page: Any) -> Image.Image:
    width, height = page.get_size()
    bitmap = page.render(scale=min(1.0, (LOOK_PIXELS / (width * height)) ** 0.5), rev_byteorder=True)
    try:
        return bitmap.to_pil().convert("RGB")
    finally:
        bitmap.close()


def _objects(parent: Any, count: Any, get: Any) -> Iterator[Any]:
    """The objects of a page; of a form drawing all that are in it."""
    import pypdfium2.raw as raw

    for i in range(max(0, count(parent))):
        item = get(parent, i)
        yield item
        if count is raw.FPDFFormObj_CountObjects:
            yield from _objects(item, count, get)


def _is_doubtful(text: Any) -> bool:
    """Whether a text object may be one that nobody sees."""
    import pypdfium2.raw as raw

    if raw.FPDFTextObj_GetTextRenderMode(text) in INKLESS:
        return True
    colour = [ctypes.c_uint() for _ in range(4)]
    if not raw.FPDFPageObj_GetFillColor(text, *colour):
        return False
    red, green, blue, alpha = (c.value for c in colour)
    return min(red, green, blue) >= PALE or alpha < 255 - PALE


def _bounds(item: Any) -> Box:
    import pypdfium2.raw as raw

    edges = [ctypes.c_float() for _ in range(4)]
    raw.FPDFPageObj_GetBounds(item, *edges)
    left, bottom, right, top = (e.value for e in edges)
    return left, bottom, right, top


def _char_box(textpage: Any, number: int) -> Box:
    import pypdfium2.raw as raw

    box = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(textpage, number, box)
    return box.left, box.bottom, box.right, box.top


def _overlaps(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
