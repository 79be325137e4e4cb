"""Policies that call a tool without reading the question: a fixed box, a fixed query, always the same check.

Each makes its call, reads the observation as well as can be (pixels, page text, check result), answers by it where it
says anything about the responses, and guesses otherwise. All of them should stay at chance, 0.5.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from armlite.data.tasks import family
from armlite.episode import Episode, EpisodeSettings, presented_order
from armlite.pocket import words
from armlite.rewards import is_right
from armlite.types import Task

Call = dict[str, Any]


def _box(rng: random.Random, task: Task) -> Call:
    column, row = rng.randrange(3), rng.randrange(3)
    edges = (0, 333, 667, 1000)
    box = [edges[column], edges[row], edges[column + 1], edges[row + 1]]
    return {"name": "image_zoom_in_tool", "arguments": {"image": "original_image", "bbox_2d": box}}


def _fixed(name: str, **arguments: Any) -> Callable[[random.Random, Task], Call]:
    return lambda rng, task: {"name": name, "arguments": arguments}


def _on_document(name: str, **arguments: Any) -> Callable[[random.Random, Task], Call]:
    return lambda rng, task: {"name": name, "arguments": {"filename": Path(task.document or "").stem, **arguments}}


POLICIES: dict[str, tuple[str, Callable[[random.Random, Task], Call]]] = {
    "whole picture": (
        "zoom",
        _fixed("image_zoom_in_tool", image="original_image", bbox_2d=[0, 0, 1000, 1000]),
    ),
    "fixed box": ("zoom", _fixed("image_zoom_in_tool", image="original_image", bbox_2d=[333, 333, 667, 667])),
    "random box": ("zoom", _box),
    "fixed query": ("document", _on_document("doc_page_retrieval_by_query", query=words.TOPICS[0])),
    "fixed page": ("document", _on_document("doc_page_retrieval_by_index", image_idx=1)),
    "same check": (
        "instruction",
        _fixed("check_whether_response_word_count_in_range", response="resp_1", lower_bound=12, upper_bound=24),
    ),
}
"""Name -> (family, the call it makes)."""


def baselines(tasks: Sequence[Task], settings: EpisodeSettings, root: Path, seed: int = 0) -> dict[str, float]:
    """Accuracy of each policy on the tasks of its family, and of the expert's own call (`right call`) on all.

    Args:
        tasks: of the pocket world.
        root: folder that their paths are relative to.
    """
    found = {}
    for name, (kind, make) in POLICIES.items():
        own = [t for t in tasks if family(t) == kind]
        if own:
            found[name] = sum(_right(t, make, settings, root, seed) for t in own) / len(own)
    found["right call"] = sum(
        _right(t, lambda rng, task: task.meta["expert"]["call"], settings, root, seed) for t in tasks
    ) / len(tasks)
    return found


def _right(
    task: Task, make: Callable[[random.Random, Task], Call], settings: EpisodeSettings, root: Path, seed: int
) -> bool:
    rng = random.Random(f"baseline/{seed}/{task.id}")
    episode = Episode.open(task, settings, root, presented_order(task, seed))
    step = episode.advance(f"<think>I call.</think><tool_call>{json.dumps(make(rng, task))}</tool_call>")
    assert step is not None
    assert step.observation is not None
    best = _read(episode, step.observation) or rng.randint(1, 2)
    episode.advance(f"<think>I decide.</think><answer>Overall Judgment: Answer {best} is better.</answer>")
    return bool(is_right(task, episode.decision))


def _read(episode: Episode, observation: Any) -> int | None:
    """The presented number of the response that the observation speaks for, if it speaks for one."""
    responses = list(episode.memory.texts.values())
    kind = family(episode.task)
    if kind == "instruction":
        return 1 if observation.data["result"] else 2
    if kind == "document":
        said = [i for i, text in enumerate(responses, 1) if f'"{text}"' in observation.text]
        return said[0] if len(said) == 1 else None
    way = stripes(episode.memory.images[observation.images[0]])
    return responses.index(way) + 1 if way else None


def stripes(image: Image.Image) -> Literal["horizontal", "vertical"] | None:
    """Which way the stripes of a picture run, by its brightness gradients; None where neither way stands out."""
    grey = np.asarray(image.convert("L"), dtype=float)
    down, across = np.abs(np.diff(grey, axis=0)).mean(), np.abs(np.diff(grey, axis=1)).mean()
    if max(down, across) < 1.5 * min(down, across):
        return None
    return "horizontal" if down > across else "vertical"
