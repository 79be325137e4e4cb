"""Trajectories as a page that needs no server and no other file: style, script, texts and pictures inside.

What is looked at is made when it is looked at: each row's HTML lies in a compressed block, as do the texts for the
search; pictures lie in blocks of their own, at the size in which the page shows them. A content security policy allows
only our own script, so that an escape that we forgot could still run nothing. With `split`, whole pictures lie in a
folder beside the page.
"""

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from armlite.errors import ArmliteError
from armlite.images import as_png
from armlite.stages import CHECKPOINTS
from armlite.store import Saved, image_path, whole_file, write_atomic
from armlite.types import ImageInfo
from armlite.view import text as words
from armlite.view.entries import ROUNDS, Entry, Value, entries
from armlite.view.html import MARKS, ROOM, article, template
from armlite.view.selection import Chosen, RowPixels

PNG_BYTES = 64 * 1024
"""A PNG larger than this is embedded as JPEG of quality 85."""
SHARP = 2
"""Pixels of an embedded picture for each of the page: for dense screens, and for the large view."""
ROWS, TEXTS, IMAGES = 32, 1024, 96 * 1024
"""Rows in a block, texts in a block, and characters of pictures in a block (a single one may be larger)."""
INDEXED = ("id", "stage", "round", "step", "kind", "family", "outcome", "question", "said")
"""Columns that the page needs whatever can be asked for."""


@dataclass(frozen=True)
class Start:
    """What the page's own filters begin with."""

    where: str = ""
    search: str = ""
    beside: str = ""


@dataclass(frozen=True)
class Pictures:
    """Blocks of data URIs, and the block of each file; None: the pictures lie beside the page."""

    blocks: Sequence[str] = ()
    places: Mapping[str, int] | None = None


def write(path: Path, chosen: Chosen, title: str, beside: str = "", split: bool = False) -> int:
    """Write a page of what was chosen; returns how many trajectories are in it.

    Args:
        path: the file; with `split` the folder.
        chosen: what it holds; with a stage beside, what is shown there, too.
        title: shown at the top, such as the path.
        beside: a stage whose judgments are shown beside.
        split: write `index.html` and whole pictures in `images/` below the folder.

    Raises:
        ArmliteError: it cannot be written. A picture that is not there is told in its place.
    """
    if split and path.exists() and not path.is_dir():
        raise ArmliteError(f"--split writes a folder, and {path} is a file: name another")
    there = {id(entry): entry for entry in (*chosen.entries, *chosen.beside) if entry is not None}
    found = list(there.values())
    start = Start(where=chosen.opening, beside=beside)
    if beside:
        start = replace(start, where=f'stage="{chosen.entries[0].first("stage")}"')
    parts = (
        _in_folder(path, found, chosen.pixels, title, start)
        if split
        else page_parts(found, chosen.pixels, title, start)
    )
    with whole_file(path / "index.html" if split else path) as file:
        for part in parts:
            file.write(part.encode())
    return len(found)


def _in_folder(path: Path, found: Sequence[Entry], pixels: RowPixels, title: str, start: Start) -> Iterator[str]:
    lost: dict[str, str] = {}
    for row, info in _pictures(found):
        target = image_path(path / "index.html", info)
        if not target.exists():
            try:
                write_atomic(target, as_png(pixels(row, info)))
            except ArmliteError as e:
                lost[info.file] = str(e)
    yield from _page(found, lost, Pictures(), title, start)


def to_html(rows: Sequence[Saved], pixels: RowPixels, title: str = "trajectories") -> str:
    """The page of these rows as text."""
    return "".join(page_parts(entries(rows), pixels, title, Start()))


def page_parts(found: Sequence[Entry], pixels: RowPixels, title: str, start: Start) -> Iterator[str]:
    """A page that needs no other file, piece by piece."""
    uris, lost = _embed(found, pixels)
    blocks = list(_cut(uris))
    places = {file: number for number, block in enumerate(blocks) for file in block}
    texts = [json.dumps(block).replace("<", "\\u003c") for block in blocks]
    yield from _page(found, lost, Pictures(texts, places), title, start)


def _page(found: Sequence[Entry], lost: Mapping[str, str], images: Pictures, title: str, start: Start) -> Iterator[str]:
    head, foot = shell(title, "file" if images.places is not None else "folder")
    yield head
    sizes = {"rows": ROWS, "texts": TEXTS, "images": images.places or {}}
    yield _block("index", columns(found) | asdict(start) | sizes)
    for at in range(0, len(found), ROWS):
        yield _block(f"rows-{at // ROWS}", [article(entry, lost) for entry in found[at : at + ROWS]])
    for at in range(0, len(found), TEXTS):
        yield _block(f"texts-{at // TEXTS}", [entry.text for entry in found[at : at + TEXTS]])
    for number, block in enumerate(images.blocks):
        yield f'<script type="application/json" id="images-{number}">{block}</script>\n'
    yield foot


def shell(title: str, kind: str) -> tuple[str, str]:
    """What stands before and after the data of a page.

    Args:
        title: shown at the top.
        kind: where rows and pictures come from: `file` (the page itself), `folder` (pictures beside it), `live` (our
            server).
    """
    script = files("armlite.view").joinpath("templates/page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    images = {"file": "data:", "folder": "'self' file:", "live": "'self'"}[kind]
    rest = " connect-src 'self';" if kind == "live" else ""
    policy = f"default-src 'none'; base-uri 'none'; img-src {images}; style-src 'unsafe-inline';{rest}"
    html = template("page.html.jinja").render(
        title=words.literal(title),
        kind=kind,
        policy=f"{policy} script-src 'sha256-{digest}'",
        style=files("armlite.view").joinpath("templates/page.css").read_text("utf-8"),
        script=script,
    )
    head, _, foot = html.partition("<!--data-->")
    return head, foot


def columns(found: Sequence[Entry]) -> dict[str, Any]:
    """What filters and the list read: of each field its different values, and a row's number among them (-1: none)."""
    names = dict.fromkeys((*INDEXED, *(name for entry in found for name in entry.fields)))
    fields = {}
    for name in names:
        seen: dict[tuple[Value, ...], int] = {}
        at = [seen.setdefault(values, len(seen)) if (values := _values(entry, name)) else -1 for entry in found]
        fields[name] = {"values": [list(map(_plain, values)) for values in seen], "at": at}
    benchmarks = {str(name): str(name) for entry in found for name in entry.fields.get("round", ())}
    rounds = {**benchmarks, **ROUNDS}
    return {"count": len(found), "fields": fields, "stages": CHECKPOINTS, "rounds": rounds, "marks": MARKS}


def _values(entry: Entry, name: str) -> tuple[Value, ...]:
    task = entry.row.trajectory.task
    if name == "question":
        return (words.literal(words.shorten(task.question, 80)),)
    if name == "said":
        return (words.decision_words(task, entry.row.trajectory.decision),)
    return entry.fields.get(name, ())


def _plain(value: Value) -> Value:
    """A value as JSON can hold it, in few digits."""
    if isinstance(value, str):
        return words.literal(value)
    return round(value, 6) if abs(value) < 1e15 else str(value)


def _block(name: str, value: Any) -> str:
    packed = base64.b64encode(
        gzip.compress(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), 6, mtime=0)
    )
    return f'<script type="text/plain" id="{name}">{packed.decode()}</script>\n'


def _pictures(found: Iterable[Entry]) -> Iterator[tuple[Saved, ImageInfo]]:
    """Each picture file once, with a row that has it."""
    seen = set()
    for entry in found:
        for info in entry.row.trajectory.images:
            if info.file not in seen:
                seen.add(info.file)
                yield entry.row, info


def _embed(found: Sequence[Entry], pixels: RowPixels) -> tuple[dict[str, str], dict[str, str]]:
    """(file name -> data URI, file name -> why it is missing), each file opened once."""
    uris: dict[str, str] = {}
    lost: dict[str, str] = {}
    for row, info in _pictures(found):
        try:
            uris[info.file] = _data_uri(pixels(row, info))
        except ArmliteError as e:
            lost[info.file] = str(e)
    return uris, lost


def _data_uri(image: Image.Image) -> str:
    room = (ROOM[0] * SHARP, ROOM[1] * SHARP)
    if image.width > room[0] or image.height > room[1]:
        image = image.copy()
        image.thumbnail(room)
    kind, data = "png", as_png(image)
    if len(data) > PNG_BYTES:
        jpeg = io.BytesIO()
        image.convert("RGB").save(jpeg, "JPEG", quality=85)
        kind, data = "jpeg", jpeg.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _cut(uris: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Blocks of pictures that are mostly looked at together: in the order of the rows."""
    block: dict[str, str] = {}
    size = 0
    for file, uri in uris.items():
        if block and size + len(uri) > IMAGES:
            yield block
            block, size = {}, 0
        block[file] = uri
        size += len(uri)
    if block:
        yield block
