"""The pocket world: judging tasks in which the truth is out of reach without the right tool call.

zoom: which way do the fine stripes of the tile at one place run? The prompt's small copy shows plain tiles.
document: which code word stands on one page? The prompt shows the contact sheet only.
instruction: which response keeps a constraint? The prompt shows the first characters only; a verifier sees all of it.

What to crop, look up or check depends on the question; the rest of a task says nothing about the truth (`baselines`).
`meta["expert"]` holds the right call and what it shows, for the cold start's traces; nothing else reads it.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from armlite.pocket import words
from armlite.pocket.instruction import instruction_task, two_responses
from armlite.pocket.pdf import write_pdf
from armlite.types import Task

FAMILIES = ("zoom", "document", "instruction")
SPLITS = ("train", "validation", "test", "traces")
"""Disjoint streams; `traces` is the cold start's."""
CELLS, CELL = 3, 56
"""The picture is a grid of 3 x 3 cells of 56 pixels; a 4x smaller copy has one 14-pixel patch a cell."""
TILES, PAGES, STRIPE, FADE, CONTRAST = 4, 8, 2, 16, 60


def generate(split: str, n: int, seed: int, out: Path, family: str | None = None) -> Iterator[Task]:
    """Make tasks one by one and write their images and documents below `out`.

    Args:
        split: `train`, `validation` or `test`; part of every task's seed, so splits are disjoint streams.
        n: number of tasks; the families take turns.
        seed: another seed, other tasks.
        out: folder for `images/` and `documents/`; the tasks' paths are relative to it.
        family: only this one.
    """
    for folder in ("images", "documents"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    makers = dict(zip(FAMILIES, (zoom_task, document_task, instruction_task), strict=True))
    for i in range(n):
        kind = family or FAMILIES[i % len(FAMILIES)]
        rng = random.Random(f"pocket/{split}/{seed}/{kind}/{i}")
        name = f"{split}-{seed}-{kind}-{i}"
        yield Task(id=name, source=f"pocket/{kind}", kind="pairwise", **makers[kind](rng, name, out))


def zoom_task(rng: random.Random, name: str, out: Path) -> dict[str, Any]:
    """Tiles of different colours in random cells, each finely striped one way or the other."""
    image = _ground()
    cells = rng.sample(range(CELLS * CELLS), TILES)
    colours = rng.sample(list(words.COLOURS), TILES)
    placed = {c: (cell, rng.choice(("horizontal", "vertical"))) for c, cell in zip(colours, cells, strict=True)}
    noise = np.random.default_rng(rng.getrandbits(32))
    for colour, (cell, way) in placed.items():
        _draw_tile(image, cell, way, words.COLOURS[colour], noise)
    image.save(out / "images" / f"{name}.png")
    colour = rng.choice(list(placed))
    cell, way = placed[colour]
    row, column = divmod(cell, CELLS)
    edges = [round(1000 * i / CELLS) for i in range(CELLS + 1)]
    box = [edges[column], edges[row], edges[column + 1], edges[row + 1]]
    other = "vertical" if way == "horizontal" else "horizontal"
    call = {"name": "image_zoom_in_tool", "arguments": {"image": "original_image", "bbox_2d": box}}
    return {
        "question": f"Which way do the stripes of the tile at the {words.ROWS[row]} {words.COLUMNS[column]} run?",
        "images": (f"images/{name}.png",),
        **two_responses(rng, way, other),
        "meta": {"expert": {"call": call, "plan": f"I look at {box[0]} {box[1]}.", "finding": way}},
    }


def _ground() -> Image.Image:
    """A ground lit from the side and from below: red grows to the right, green downward, so that each place looks
    its own.
    """
    light = np.rint(np.linspace(50, 205, CELLS * CELL)).astype(np.uint8)
    pixels = np.full((CELLS * CELL, CELLS * CELL, 3), 128, dtype=np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = light[None, :], light[:, None]
    return Image.fromarray(pixels)


def _draw_tile(
    image: Image.Image, cell: int, way: str, colour: tuple[int, int, int], noise: np.random.Generator
) -> None:
    """Stripes of a lighter and a darker shade that fade into their own mean at the tile's edge, under a little noise.

    Bicubic shrinking by 4 turns both ways into the same pixels but for the noise (at most one level of 255 apart
    without).
    """
    row, column = divmod(cell, CELLS)
    inside = CELL - 8
    steps = np.arange(inside)
    ramp = np.clip(np.minimum(steps + 0.5, inside - 0.5 - steps) / FADE, 0, 1)
    fade = 0.5 - 0.5 * np.cos(np.pi * ramp)
    wave = np.where(steps % (2 * STRIPE) < STRIPE, 1.0, -1.0)
    pattern = fade[:, None] * fade[None, :] * (wave[:, None] if way == "horizontal" else wave[None, :])
    pixels = np.array(colour) + CONTRAST * pattern[:, :, None] + noise.uniform(-8, 8, (inside, inside, 3))
    tile = Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))
    image.paste(tile, (column * CELL + 4, row * CELL + 4))


def document_task(rng: random.Random, name: str, out: Path) -> dict[str, Any]:
    """A PDF whose pages have a topic and a code word each; asked for by topic or by page number.

    Pages draw their codes independently, so that another page says nothing about the one asked for.
    """
    topics = rng.sample(words.TOPICS, PAGES)
    codes = rng.choices(words.CODES, k=PAGES)
    pages = [(f'topic "{t}"', f'code "{c}"') for t, c in zip(topics, codes, strict=True)]
    title = rng.choice(words.TITLES)
    path = out / "documents" / name / f"{title}.pdf"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(write_pdf(pages))
    page = rng.randrange(PAGES)
    if rng.random() < 0.5:
        question = f'Which code stands on the page about "{topics[page]}"?'
        call = {"name": "doc_page_retrieval_by_query", "arguments": {"filename": title, "query": topics[page]}}
        plan = f'I look up "{topics[page]}".'
    else:
        question = f"Which code stands on page {page + 1}?"
        call = {"name": "doc_page_retrieval_by_index", "arguments": {"filename": title, "image_idx": page + 1}}
        plan = f"I look at page {page + 1}."
    return {
        "question": question,
        "document": f"documents/{name}/{title}.pdf",
        **two_responses(rng, codes[page], rng.choice([c for c in words.CODES if c != codes[page]])),
        "meta": {"expert": {"call": call, "plan": plan, "finding": codes[page]}},
    }
