"""Pictures and pairs to make judge data of, and what is read of the files and counts that come out."""

import json
import random

from PIL import Image, ImageDraw

from armlite.types import Task


def photo(path, seed=0, size=(96, 72)):
    """A picture with a structure of its own."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, "gray")
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        draw.rectangle((x, y, x + 24, y + 18), fill=tuple(rng.choices(range(256), k=3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return image


def pair(name, gold=1, **fields):
    return Task(
        **{"id": name, "kind": "pairwise", "question": f"Which, {name}?", "responses": ("a", "b"), "gold": gold}
        | fields
    )


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def adds_up(counts):
    found = counts.as_json()
    return found["in"] == found["kept"] + sum(found["rejected"].values())
