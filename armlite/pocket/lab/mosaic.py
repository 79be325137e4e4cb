"""The mosaic family: which way do the stripes of a tile run? Coarse ones are seen in the prompt, fine ones in a crop;
of a tile with a bright corner some are seen in the first crop, and some only in a crop of that corner.

Such a tile has a frame, which is mostly blue where the stripes of the bright corner are horizontal, and yellow where
they are vertical: who does not look is mostly right there, and who looks nearly always. Coarse stripes are filled with
fine ones, which run the other way as often as not: who looks there, and believes the crop, guesses.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np

from armlite.pocket import words
from armlite.pocket.lab.parts import Ask, kept_place
from armlite.pocket.lab.stripes import CELLS, COARSE, FINE, HAIR, WAYS, Way, draw_corners, draw_frame, draw_tile, ground

TILES = 7
CORNERS = ([0, 0, 500, 500], [500, 0, 1000, 500], [0, 500, 500, 1000], [500, 500, 1000, 1000])
"""Boxes of the quarters of a picture."""
GLIMPSE = 0.97
"""How often a frame is right."""
HATCHING = 0.5
"""How often the fine stripes on coarse ones run as these do."""
FRAME_SAYS: dict[str, Way] = {"blue": "horizontal", "yellow": "vertical"}
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
    frame, image, noise = "", ground(), np.random.default_rng(rng.getrandbits(32))
    ways, bright = rng.choices(WAYS, k=4), rng.randrange(4)
    for place in (cell, *others):
        kind = rng.random() if place != cell else (0.9 if corner else 0.0)
        if kind > 0.6:
            mine = (ways, bright) if place == cell else (rng.choices(WAYS, k=4), rng.randrange(4))
            width = {1: FINE, 2: HAIR}[needs] if place == cell else rng.choice((FINE, HAIR))
            framed = _frame(rng, mine[0][mine[1]])
            frame = framed if place == cell else frame
            scene[place] = f"{framed} corners"
            draw_frame(image, place, framed)
            draw_corners(image, place, tuple(mine[0]), mine[1], width, noise)
        else:
            way = ways[bright] if place == cell else rng.choice(WAYS)
            width = {0: COARSE, 1: FINE}[needs] if place == cell else rng.choice((COARSE, FINE))
            scene[place] = way if width == COARSE else "fine"
            hatching = way if rng.random() < HATCHING else WAYS[1 - WAYS.index(way)]
            draw_tile(image, place, way, width, noise, hatching if width == COARSE else None)
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
        sight=f"I see {place_of(cell)} {scene[cell]}.",
        glimpse=FRAME_SAYS[frame] if frame else "",
        images=(f"images/{name}.png",),
        scene=tuple(f"{place_of(c)} {what}" for c, what in scene.items()),
        places=tuple(map(place_of, scene)),
    )


def _frame(rng: random.Random, way: Way) -> str:
    """The frame of a tile whose bright corner is striped this way; now and then the wrong one."""
    right = rng.random() < GLIMPSE
    return next(frame for frame, says in FRAME_SAYS.items() if (says == way) == right)
