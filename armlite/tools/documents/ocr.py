"""Text of pages that are pictures, through the optional `ocr` extra (rapidocr on onnxruntime, models in the wheel).

Without the extra such pages have no text, and only their number or their neighbours lead to them.
"""

import importlib.util
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

from armlite.errors import ArmliteError
from armlite.tools.documents.page_text import Pages, PageText

MAX_PIXELS = 1_500_000
"""Area at which a page is read (letter paper at 125 dpi): a page takes 2 to 10 seconds of one core."""
PAGE_HEIGHT = 792
"""Letter heights are given as if every page were this many points tall (letter paper)."""
FEWEST_CHARACTERS = 16
"""A page with fewer letters and digits in its text layer is looked at: that may be but a page number on a scan."""
_LOCK = threading.Lock()


@cache
def available() -> bool:
    """Whether the `ocr` extra is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


def wanted(page: PageText) -> bool:
    """Whether OCR may find more on a page than its text layer holds."""
    return page.source != "ocr" and sum(c.isalnum() for c in page.text) < FEWEST_CHARACTERS


def read_page(pages: Pages, number: int, page: PageText) -> PageText:
    """The page as it is if its text layer has enough text, else with what OCR finds on page `number` (from 1).

    Raises:
        ArmliteError: the page cannot be drawn, or the extra is installed but does not work.
    """
    if not wanted(page):
        return page
    image = pages.render(number, MAX_PIXELS)
    import numpy as np

    with _LOCK:
        seen = _engine()(np.asarray(image)[:, :, ::-1])  # rapidocr expects BGR
    if seen.txts is None or seen.boxes is None:
        return page
    rows = _rows([(box.tolist(), text) for box, text in zip(seen.boxes, seen.txts, strict=True)])
    text = "\n".join(words for words, _ in rows)
    heights = tuple(round(height * PAGE_HEIGHT / image.height, 1) for _, height in rows)
    found = {"text": text, "source": "ocr", "heights": heights}
    return page.model_copy(update=found) if len(text) > len(page.text) else page


@cache
def _engine() -> Any:
    try:
        from rapidocr import RapidOCR

        return RapidOCR(params={"Global.log_level": "error"})
    except Exception as error:
        raise ArmliteError(
            f"the ocr extra is installed but cannot start ({error}); reinstall it with `pip install --force-reinstall "
            "rapidocr onnxruntime`, or uninstall rapidocr to go on without"
        ) from error


def _rows(pieces: Sequence[tuple[list[list[float]], str]]) -> list[tuple[str, float]]:
    """Join pieces (corners, text) that stand side by side, as in the row of a table, into lines (text, letter height).

    A piece belongs to a row if its middle lies within the row's first piece.
    """
    spans = sorted(
        (min(y for _, y in box), max(y for _, y in box), min(x for x, _ in box), text.strip())
        for box, text in pieces
        if text.strip()
    )
    rows: list[list[tuple[float, float, float, str]]] = []
    for span in spans:
        middle = (span[0] + span[1]) / 2
        home = next((row for row in reversed(rows[-3:]) if row[0][0] <= middle <= row[0][1]), None)
        if home is None:
            rows.append([span])
        else:
            home.append(span)
    return [
        (" ".join(piece[3] for piece in sorted(row, key=lambda piece: piece[2])), max(p[1] - p[0] for p in row))
        for row in rows
    ]
