"""What the lab world's pictures show: tiles of a mosaic and figures of pages, striped so coarsely, finely or very
finely that they can be read in the prompt, in a first look, or only in a second look at what the first one brought.

Every look doubles the resolution or more, and stripes that are not to be seen yet are as wide as half a pixel or less.
"""

from typing import Literal

import numpy as np
from PIL import Image

from armlite.pocket import words

Way = Literal["horizontal", "vertical"]
WAYS: tuple[Way, Way] = ("horizontal", "vertical")
CELLS, CELL, MARGIN = 3, 112, 8
"""A mosaic is 3 x 3 cells of 112 pixels, each with a tile inside its margin. The prompt shows an eighth of that (a cell
is one patch of 14 pixels), a crop of a cell one half, a crop of a quarter of a cell all of it.
"""
COARSE, FINE, HAIR = 24, 4, 1
"""Widths in pixels of a mosaic's stripes: seen in the prompt, in a crop, in a crop of a quarter of that crop."""
SHRUNK = 8
"""Pixels of a mosaic to one of the prompt's; noise comes in blocks of that size, for there it has to hide things."""
CONTRAST, HATCHING, NOISE = 60, 25, 6
"""Levels by which stripes, and fine ones on coarse ones, are above and below their mean, and noise at most."""
SHADE = 35
"""By how much the bright corner is brighter than its mean, and the others are darker."""
PAPER = 112
"""Side of a page in points. The sheet shows a quarter of that, a fetched page a half, a quarter of a page all of it."""
PAGE_FINE, PAGE_HAIR = 2, 1
"""Widths in points of a page's stripes: seen on the fetched page, in a crop of it."""
TOP = 16
"""Points at the head of a page that are kept for its lines."""
LIGHT = (85, 125, 165)
"""Red of the tiles of a column, from west to east, and green of those of a row, from north to south: a place is known
by its colour, as a small model has little else to know it by."""
TINTS = ((200, 70, 70), (60, 125, 60), (80, 80, 200), (120, 110, 40))
"""Colours of the four quarters of what has a bright corner, as bright as each other; likewise."""
FRAMES = {"yellow": 10, "blue": 245}
"""Levels of blue of the frames of tiles with a bright corner; their red and green are those of the place."""
Corners = tuple[Way, Way, Way, Way]
"""Which way the stripes of each quarter run: top left, top right, bottom left, bottom right."""


def ground() -> Image.Image:
    """An empty mosaic, lit from the side and from below."""
    side = CELLS * CELL
    light = np.rint(np.linspace(50, 205, side)).astype(np.uint8)
    pixels = np.full((side, side, 3), 128, dtype=np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = light[None, :], light[:, None]
    return Image.fromarray(pixels)


def draw_tile(
    image: Image.Image, cell: int, way: Way, width: int, noise: np.random.Generator, hatching: Way | None = None
) -> None:
    """A tile whose stripes all run one way.

    Args:
        hatching: of coarse stripes: which way the fine ones run that they are filled with, and a crop shows.
    """
    row, column = divmod(cell, CELLS)
    inside = CELL - 2 * MARGIN
    mean = np.array((LIGHT[column], LIGHT[row], 128))
    waves = CONTRAST * _waves(inside, way, width)
    if hatching is not None:
        waves = waves + HATCHING * _waves(inside, hatching, FINE)
    _paste(image, cell, mean + waves[:, :, None], noise)


def draw_frame(image: Image.Image, cell: int, frame: str) -> None:
    """What shows as a frame once a tile is drawn on it: the ground of a cell, bluer or less blue."""
    row, column = divmod(cell, CELLS)
    box = column * CELL, row * CELL, (column + 1) * CELL, (row + 1) * CELL
    pixels = np.array(image.crop(box))
    pixels[:, :, 2] = FRAMES[frame]
    image.paste(Image.fromarray(pixels), box)


def draw_corners(
    image: Image.Image, cell: int, ways: Corners, bright: int, width: int, noise: np.random.Generator
) -> None:
    """A tile of four quarters with stripes of their own, one of them bright.

    Args:
        bright: number of the bright quarter.
    """
    half = CELL // 2 - MARGIN
    parts = []
    for i, way in enumerate(ways):
        mean = np.array(TINTS[i]) + (SHADE if i == bright else -SHADE)
        parts.append(mean + CONTRAST * _waves(half, way, width)[:, :, None])
    _paste(image, cell, np.block([[[parts[0]], [parts[1]]], [[parts[2]], [parts[3]]]]), noise)


def _waves(side: int, way: Way, width: int) -> np.ndarray:
    """(side, side) of 1 and -1; finer stripes fade into their mean at the edge, where shrinking would show them."""
    steps = np.arange(side)
    wave = np.where(steps // width % 2 == 0, 1.0, -1.0)
    across = np.broadcast_to(wave[:, None] if way == "horizontal" else wave[None, :], (side, side))
    if width == COARSE:
        return across
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.clip(np.minimum(steps + 0.5, side - 0.5 - steps) / 16, 0, 1))
    return across * ramp[:, None] * ramp[None, :]


def _paste(image: Image.Image, cell: int, tile: np.ndarray, noise: np.random.Generator) -> None:
    blocks = noise.uniform(-NOISE, NOISE, (len(tile) // SHRUNK, len(tile) // SHRUNK, 3))
    pixels = tile + blocks.repeat(SHRUNK, axis=0).repeat(SHRUNK, axis=1)
    row, column = divmod(cell, CELLS)
    drawn = Image.fromarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))
    image.paste(drawn, (column * CELL + MARGIN, row * CELL + MARGIN))


def page_figure(colour: str, way: Way) -> str:
    """A page's finely striped figure in PDF's operators."""
    side = PAPER - 2 * 6
    return _striped(6, 6, side, side - TOP + 4, words.COLOURS[colour], way, PAGE_FINE)


def page_corners(ways: Corners, bright: int) -> str:
    """A page's figure of four quarters, one of them bright, whose stripes are hairs."""
    drawn, half = [], PAPER // 2
    for i, way in enumerate(ways):
        row, column = divmod(i, 2)
        shade = SHADE if i == bright else -SHADE
        mean = tuple(min(max(v + shade, CONTRAST), 255 - CONTRAST) for v in TINTS[i])
        high = half - 8 if row else half - TOP - 2
        drawn.append(
            _striped(6 + column * (half - 4), 6 + (1 - row) * (half - 4), half - 8, high, mean, way, PAGE_HAIR)
        )
    return " ".join(drawn)


def _striped(x: int, y: int, wide: int, high: int, mean: tuple[int, ...], way: Way, width: int) -> str:
    """A rectangle with its lower left at (x, y). All stripes are one path: then half-covered pixels add up exactly."""
    low, lit = (" ".join(f"{(v + d) / 255:.3f}" for v in mean) for d in (-CONTRAST, CONTRAST))
    if way == "horizontal":
        bars = [f"{x} {y + at} {wide} {width} re" for at in range(0, high, 2 * width)]
    else:
        bars = [f"{x + at} {y} {width} {high} re" for at in range(0, wide, 2 * width)]
    return f"{low} rg {x} {y} {wide} {high} re f {lit} rg {' '.join(bars)} f"
