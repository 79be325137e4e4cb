"""What a judge that was trained in the pocket world can know: the questions of that world, and nothing else."""

import json
import re
from pathlib import Path

from armlite.errors import ArmliteError
from armlite.models import model_prefix
from armlite.models.places import folders_of
from armlite.pocket import words
from armlite.pocket.shipped import NAME

LARGEST = 256
"""Width (hidden size) of a language model up to which it is one of the pocket world; Qwen2.5-VL begins at 2,048."""
QUESTIONS = (
    rf"Which way do the stripes of the tile at the ({'|'.join(words.ROWS)}) ({'|'.join(words.COLUMNS)}) run\?",
    r'Which code stands on the page about "[^"]+"\?',
    r"Which code stands on page \d+\?",
    r"Which response keeps the constraint\?",
)
"""As `world` and `instruction` write them."""
DOUBT = (
    "this judge was trained in the pocket world and knows its questions only (the stripes of a tile, the code on a "
    "page, a constraint); what it says of this one means nothing"
)

SHIPPED = (
    f"no --model is given, so {NAME} judges: it comes along, was trained in the pocket world, and knows its questions "
    'only, as "Which response keeps the constraint?"'
)
TEXTS_ONLY = (
    f"without --model {NAME} judges, which knows nothing of a picture or document of yours: name a judge, as --model "
    "runs/pocket or --model openai:MODEL@URL"
)


def or_shipped(models: list[str], files: bool) -> list[str]:
    """The models that a user has named, else the shipped judge.

    Args:
        files: pictures or a document are to be judged.

    Raises:
        ArmliteError: none is named, and there are files.
    """
    if not models and files:
        raise ArmliteError(TEXTS_ONLY)
    return models or [NAME]


def knows(question: str) -> bool:
    """Whether a question is one of the pocket world's."""
    return any(re.fullmatch(pattern, question.strip()) for pattern in QUESTIONS)


def is_pocket(spec: str) -> bool:
    """Whether a word for a model on this disk stands for one of the pocket world's; not of what cannot be loaded, which
    is told when it is.
    """
    try:
        folders = [] if model_prefix(spec) else folders_of(spec)
        config = Path(folders[-1]) / "config.json" if folders else None
        if config is None or not config.is_file():
            return False
        width = json.loads(config.read_text("utf-8")).get("text_config", {}).get("hidden_size")
    except (ArmliteError, ValueError):
        return False
    return isinstance(width, int) and width <= LARGEST


def doubt(spec: str, question: str) -> str | None:
    """What there is to say before a verdict on a question that the judge cannot know anything of; else None."""
    return DOUBT if not knows(question) and is_pocket(spec) else None
