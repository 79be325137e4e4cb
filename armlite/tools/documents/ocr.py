"""Text of pages that are pictures, through the optional `ocr` extra (rapidocr on onnxruntime, models in the wheel).

Without the extra such pages have no text, and only their number or their neighbours lead to them. Several pages are
read by processes of this module (`python -m armlite.tools.documents.ocr PATH PAGE ...`), each with a core.
"""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from queue import SimpleQueue
from typing import Any

from armlite.errors import ArmliteError
from armlite.tools.documents.page_text import Pages, PageText

MAX_PIXELS = 1_500_000
"""Area at which a page is read (letter paper at 125 dpi): a page takes 2 to 10 seconds of one core."""
PAGE_HEIGHT = 792
"""Letter heights are given as if every page were this many points tall (letter paper)."""
FEWEST_CHARACTERS = 16
"""A page with fewer letters and digits in its text layer is looked at: that may be but a page number on a scan..."""
FEWEST_BESIDE_PICTURE = 200
"""...and one with fewer than this on which a picture covers the half: that may be a running head."""
ALONE = 2
"""So many pages are read in place: a process takes seconds to begin."""
MOST_PROCESSES = 8
"""Each takes about half a GiB of memory."""
_LOCK = threading.Lock()


@cache
def available() -> bool:
    """Whether the `ocr` extra is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


def wanted(page: PageText) -> bool:
    """Whether OCR is there and may find more on a page than its text layer holds."""
    if page.looked or page.source in ("layer", "unreadable") or not available():
        return False
    return sum(c.isalnum() for c in page.text) < (FEWEST_BESIDE_PICTURE if page.covered else FEWEST_CHARACTERS)


def read_pages(pages: Pages, numbers: Sequence[int], known: Mapping[int, PageText]) -> Iterator[tuple[int, PageText]]:
    """Read pages, several at once; yields each with its number, as it is done.

    Args:
        known: number (from 1) -> what is known of a page without OCR.

    Raises:
        ArmliteError: as `read_page`.
    """
    left = list(numbers)
    if len(left) > ALONE:
        count = min(MOST_PROCESSES, os.cpu_count() or 1, -(-len(left) // ALONE))
        for number, page in _side_by_side(pages, [left[i::count] for i in range(count)]):
            left.remove(number)
            yield number, page
    for number in left:  # all where there are few, else what a process that ended early has left
        yield number, read_page(pages, number, known[number])


def _side_by_side(pages: Pages, shares: Sequence[Sequence[int]]) -> Iterator[tuple[int, PageText]]:
    """What a process for each share of pages finds; a process that fails ends without a word."""
    command = [sys.executable, "-m", __name__, os.fspath(pages.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    found: SimpleQueue[tuple[int, PageText] | None] = SimpleQueue()

    def listen(process: "subprocess.Popen[str]") -> None:
        try:
            for line in process.stdout or ():
                number, page = json.loads(line)
                found.put((number, PageText.model_validate(page)))
        finally:
            found.put(None)

    processes = [
        subprocess.Popen(
            [*command, *map(str, share)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            encoding="utf-8",
        )
        for share in shares
    ]
    try:
        with ThreadPoolExecutor(len(processes), "armlite-ocr") as pool:
            for process in processes:
                pool.submit(listen, process)
            for _ in processes:
                yield from iter(found.get, None)
    finally:
        for process in processes:
            process.kill()
            process.wait()


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
    page = page.model_copy(update={"looked": True})
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

        threads = {"EngineConfig.onnxruntime.intra_op_num_threads": 1} if __name__ == "__main__" else {}
        return RapidOCR(params={"Global.log_level": "error", **threads})
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


def _main(path: str, *numbers: str) -> None:
    """Read pages of a document, and print each as a line of JSON: its number and what can be read on it."""
    from armlite.tools.documents.pages import Document

    pages = Document(path).pages
    results, sys.stdout = sys.stdout, sys.stderr  # whatever else prints
    for number in map(int, numbers):
        page = read_page(pages, number, pages.read(number))
        print(json.dumps([number, page.model_dump()]), file=results, flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
