"""Puts a text where a judge will find it: into a response, below a picture, on a page behind a document.

Nothing of the task is hidden: a picture grows by a strip, a document by a page. An empty text leaves strip and page
blank, so that the untouched twin has the same shape.
"""

import io
import math
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from armlite.errors import ArmliteError
from armlite.images import SUFFIXES, as_png, image_source, open_image
from armlite.pocket.pdf import write_pdf
from armlite.store import relative, write_atomic
from armlite.types import Task

LETTERS = 10
"""Smallest height of drawn letters in pixels; of a large picture they are a fortieth of its width."""
LEGIBLE = 7.0
"""Letters of fewer pixels are taken for unread."""
CAPTION = 200
"""Characters that the strip below a picture has room for; longer texts are drawn smaller."""
MARGIN = 12
"""Points left free around the text of a page."""


def in_response(task: Task, number: int, text: str, before: bool = False) -> Task:
    """The task with a text before or behind one of its responses (from 1)."""
    responses = list(task.responses)
    old = responses[number - 1]
    responses[number - 1] = f"{text}\n{old}" if before else f"{old}\n{text}"
    return task.model_copy(update={"responses": tuple(responses)})


def letters(width: int) -> int:
    """Height in pixels of the letters in the strip below a picture of a width."""
    return max(LETTERS, width // 40)


def captioned(image: Image.Image, text: str) -> Image.Image:
    """The picture with a white strip below it, on which the text stands."""
    size = letters(image.width)
    columns = max(1, int(image.width / (0.55 * size)))
    strip = math.ceil(CAPTION / columns) * (size + 3) + size
    made = Image.new("RGB", (image.width, image.height + strip), "white")
    made.paste(image, (0, 0))
    while True:
        lines = _wrapped(text, max(1, int(image.width / (0.55 * size))))
        if size <= 4 or len(lines) * (size + 3) <= strip:
            break
        size -= 1
    font, draw = ImageFont.load_default(size), ImageDraw.Draw(made)
    for number, line in enumerate(lines):
        draw.text((3, image.height + 2 + number * (size + 3)), line, "black", font)
    return made


def in_picture(task: Task, text: str, root: Path, name: str) -> Task:
    """The task with a text drawn below its first image, which is written to `images/` of `root` under a name."""
    path = f"images/{name}.png"
    write_atomic(root / path, as_png(captioned(open_image(image_source(root, task.images[0])), text)))
    return task.model_copy(update={"images": (path, *task.images[1:])})


def on_page(task: Task, text: str, root: Path, name: str) -> Task:
    """The task with a page behind its document, which is written to `documents/NAME/` of `root` under its old name.

    Raises:
        ArmliteError: the document cannot be read.
    """
    assert task.document is not None
    source = root / task.document
    if source.is_dir():
        return task.model_copy(update={"document": _in_folder(source, text, root, name)})
    from pypdf import PdfReader, PdfWriter
    from pypdf.errors import PyPdfError

    try:
        writer = PdfWriter(clone_from=source)
        box = writer.pages[0].mediabox
        paper = round(box.width), round(box.height)
        lines, size = _setting(text, *paper)
        added = write_pdf([lines], paper, size, 2)
        writer.add_page(PdfReader(io.BytesIO(added)).pages[0])
        made = io.BytesIO()
        writer.write(made)
    except (PyPdfError, OSError, ValueError, KeyError, IndexError) as error:
        raise ArmliteError(f"no page can be added to {source} ({error}): leave its task out of --tasks") from error
    path = f"documents/{name}/{source.name}"
    write_atomic(root / path, made.getvalue())
    return task.model_copy(update={"document": path})


def _setting(text: str, width: int, height: int) -> tuple[list[str], int]:
    """Lines and size of letters: the largest, from 14 points, that the text fits the page with."""
    for size in range(14, 3, -1):
        lines = _wrapped(text, max(1, int((width - 2 * MARGIN) / (0.55 * size))))
        if len(lines) * (size + 2) <= height - 16 - size:
            break
    return lines, size


def _in_folder(source: Path, text: str, root: Path, name: str) -> str:
    """A folder of links to the pages of another, and one more."""
    folder = root / "documents" / name / source.name
    folder.mkdir(parents=True, exist_ok=True)
    pages = [file for file in source.iterdir() if file.suffix.lower() in SUFFIXES]
    for page in pages:
        if not (folder / page.name).exists():
            (folder / page.name).symlink_to(relative(page, folder))
    size = open_image(pages[0]).size
    write_atomic(folder / "zzz_9999999.png", as_png(captioned(Image.new("RGB", size, "white"), text)))
    return f"documents/{name}/{source.name}"


def _wrapped(text: str, columns: int) -> list[str]:
    return [part for line in text.split("\n") for part in textwrap.wrap(line, columns) or [""]]
