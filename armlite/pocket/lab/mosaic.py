"""The mosaic family: which way do the stripes of a tile run? Coarse ones are seen in the prompt, fine ones in a crop;
of a tile with a bright corner some are seen in the first crop, and some only in a crop of that corner.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np

from armlite.pocket import words
from armlite.pocket.lab.parts import Ask, kept_place
from armlite.pocket.lab.stripes import CELLS, COARSE, FINE, HAIR, WAYS, draw_corners, draw_tile, ground

TILES = 7
CORNERS = ([0, 0, 500, 500], [500, 0, 1000, 500], [0, 500, 500, 1000], [500, 500, 1000, 1000])
"""Boxes of the quarters of a picture."""
EDGES = ((0, 333), (334, 666), (667, 1000))
"""Of boxes that cut a cell of 112 pixels out to the pixel: corners are rounded outwards."""


def zoom(image: str, box: list[int]) -> dict[str, Any]:
    """A call of the crop tool."""
    return {"name": "image_zoom_in_tool", "arguments": {"image": image, "bbox_2d": box}}


def box_of(cell: int) -> list[int]:
    """The box of a cell of the mosaic."""
    row, column = divmod(cell, CELLS)
    return [EDGES[column][0], EDGES[row][0], EDGES[column][1], EDGES[row][1]]


def place_of(cell: int) -> str:
    """What a cell of the mosaic is called."""
    row, column = divmod(cell, CELLS)
    return f"{words.ROWS[row]} {words.COLUMNS[column]}"


def mosaic_ask(rng: random.Random, name: str, out: Path, needs: int, transfer: bool) -> Ask:
    """A mosaic of tiles of all kinds, and a question about one that needs so many calls."""
    corner = needs == 2 or (needs == 1 and rng.random() < 0.3)
    cell = rng.choice([c for c in range(CELLS**2) if kept_place(c) == transfer])
    others = rng.sample([c for c in range(CELLS**2) if c != cell], TILES - 1)
    scene = dict.fromkeys(range(CELLS**2), "nothing")
    image, noise = ground(), np.random.default_rng(rng.getrandbits(32))
    ways, bright = rng.choices(WAYS, k=4), rng.randrange(4)
    for place in (cell, *others):
        kind = rng.random() if place != cell else (0.9 if corner else 0.0)
        if kind > 0.6:
            mine = (ways, bright) if place == cell else (rng.choices(WAYS, k=4), rng.randrange(4))
            width = {1: FINE, 2: HAIR}[needs] if place == cell else rng.choice((FINE, HAIR))
            scene[place] = "corners"
            draw_corners(image, place, tuple(mine[0]), mine[1], width, noise)
        else:
            way = ways[bright] if place == cell else rng.choice(WAYS)
            width = {0: COARSE, 1: FINE}[needs] if place == cell else rng.choice((COARSE, FINE))
            scene[place] = way if width == COARSE else "fine"
            draw_tile(image, place, way, width, noise)
    image.save(out / "images" / f"{name}.png", compress_level=1)
    what = "in the bright corner of the tile" if corner else "of the tile"
    box, way = box_of(cell), ways[bright]
    calls = [zoom("original_image", box), zoom("observation_1", CORNERS[bright])][:needs]
    plans = [f"I look at {box[0]} {box[1]}.", f"I look at the corner {CORNERS[bright][0]} {CORNERS[bright][1]}."]
    return Ask(
        question=f"Which way do the stripes {what} at the {place_of(cell)} run?",
        right=way,
        wrong=WAYS[1 - WAYS.index(way)],
        calls=tuple(calls),
        plans=tuple(plans[:needs]),
        finding=way,
        images=(f"images/{name}.png",),
        scene=", ".join(f"{place_of(c)} {what}" for c, what in scene.items()),
    )
