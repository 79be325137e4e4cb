"""A small judgment: turns in words, pictures of one colour, a document, and an episode to advance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from armlite.episode import Episode, EpisodeSettings
from armlite.memory import Memory
from armlite.types import Observation, Task

THINK = "<think>I weigh them.</think>\n"
ANSWER = f"{THINK}<answer>Overall Judgment: Answer 1 is better.</answer>"


def call(name: str, arguments: str) -> str:
    return f'{THINK}<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def look(place: str, more: str = "") -> str:
    return call("peek", f'{{"place": "{place}"{more}}}')


def photo(color: str = "white", size: tuple[int, int] = (600, 400)) -> Image.Image:
    return Image.new("RGB", size, color)


def start(
    images: Sequence[Image.Image] = (),
    order: Sequence[int] = (),
    texts: Sequence[str] = ("Ulm", "Bern"),
    **settings: Any,
) -> Episode:
    task = Task(
        id="t", kind="pairwise" if len(texts) == 2 else "listwise", question="Which?", responses=tuple(texts), gold=1
    )
    shown = [texts[n - 1] for n in order or range(1, len(texts) + 1)]
    chosen = EpisodeSettings(**settings)
    return Episode(task, Memory(images, shown, None, (), chosen.limits), chosen, order)


def seen(episode: Episode, text: str) -> Observation:
    """What the model gets to see after a turn."""
    step = episode.advance(text)
    assert step is not None
    assert step.observation is not None
    assert episode.conversation.messages[-1].text == step.observation.text
    return step.observation


def document_of(folder: Path, pages: int) -> Any:
    from armlite.tools.documents.pages import Document

    folder.mkdir()
    for i in range(1, pages + 1):
        photo("white", (200, 300)).save(folder / f"{i}.png")
    return Document(folder)
