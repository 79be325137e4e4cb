"""Reading an observation of the lab world as well as can be: what it says about the responses, whether the right call
brought it or another.

For policies that are to show what a call is worth without the question (`baselines`), and for the base model's traces,
which believe what they see.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from armlite.pocket.baselines import stripes
from armlite.pocket.lab.mosaic import CORNERS
from armlite.pocket.lab.stripes import Way
from armlite.protocol.render import Message
from armlite.types import Task

APART = 25
"""Levels of brightness by which a bright corner stands out from the rest."""
TRUE, FALSE = "Check result: True", "Check result: False"


def read(task: Task, order: Sequence[int], seen: Message) -> int | None:
    """The presented number of the response that an observation speaks for; None: it speaks for none."""
    if seen.text.startswith((TRUE, FALSE)):
        return 1 if seen.text.startswith(TRUE) else 2
    responses = [task.responses[number - 1] for number in order]
    if "stripes" not in task.question:
        said = [i for i, text in enumerate(responses, 1) if f'code "{text}"' in seen.text]
        return said[0] if said else None
    way = way_shown(seen.images[-1], "bright corner" in task.question) if seen.images else None
    return responses.index(way) + 1 if way else None


def way_shown(image: Image.Image, corner: bool) -> Way | None:
    """Which way the stripes of a picture run, or those of its bright corner where it has one and that is asked for."""
    bright = corner_shown(image) if corner else None
    return stripes(image if bright is None else _quarters(image)[bright])


def corner_shown(image: Image.Image) -> int | None:
    """The number of the bright corner of a picture; None: it has none."""
    light = [float(np.asarray(part.convert("L"), dtype=float).mean()) for part in _quarters(image)]
    bright = int(np.argmax(light))
    return bright if light[bright] - sorted(light)[-2] > APART else None


def _quarters(image: Image.Image) -> list[Image.Image]:
    wide, high = image.size
    boxes = [tuple(round(v * side / 1000) for v, side in zip(b, (wide, high) * 2, strict=True)) for b in CORNERS]
    return [image.crop(box) for box in boxes]  # type: ignore[arg-type]
