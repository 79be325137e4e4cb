"""The pocket judge that comes with the package, as `--model pocket-judge`; `tests/ship.py` remakes it."""

import hashlib
import json
from pathlib import Path

from armlite.settings import read_yaml

NAME = "pocket-judge"
FOLDER = Path(__file__).parent / "judge"
"""A model folder as `armlite export weights` makes it, in bfloat16, and `made.json`: when, and of which recipe."""
DECIDES = ("seed", "model", "lora", "episode", "data", "stages")
"""Keys of a recipe that decide what is learnt."""


def folder_of(spec: str | Path) -> Path:
    """The path that a word for a model names; where there is no such path, `pocket-judge` is the shipped folder."""
    path = Path(spec).expanduser()
    return FOLDER if str(spec) == NAME and not path.exists() else path


def digest(recipe: Path) -> str:
    """Of all that a recipe's file says and that decides what is learnt."""
    said = {key: value for key, value in read_yaml("recipe", recipe).items() if key in DECIDES}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
