"""Policies of the lab world that decide without reading the question: whether to call, what, and how often.

Each makes its calls, reads what came back as well as can be, answers by it where it says anything, and guesses
otherwise. On tasks that need a call none of them should do better than chance, 0.5.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from armlite.data.tasks import family
from armlite.episode import Episode, EpisodeSettings, presented_order
from armlite.pocket import words
from armlite.pocket.lab.mosaic import box_of, zoom
from armlite.pocket.lab.reading import read
from armlite.pocket.lab.traces import wander
from armlite.rewards import is_right
from armlite.types import Task

Call = dict[str, Any]
Policy = Callable[[random.Random, Task], Sequence[Call]]


def _document(task: Task, tool: str, **arguments: Any) -> list[Call]:
    return [{"name": tool, "arguments": {"filename": Path(task.document or "").stem, **arguments}}]


def _needed(task: Task) -> list[Call]:
    return list(task.meta["expert"]["calls"])


_CHECK: Call = {
    "name": "check_whether_response_word_count_in_range",
    "arguments": {"response": "resp_1", "lower_bound": 12, "upper_bound": 20},
}
_QUERY = f"{words.FILLER[0]} {words.TOPICS[0]}"
POLICIES: Mapping[str, tuple[tuple[str, ...], tuple[int, ...], Policy]] = {
    "never": ((), (1, 2), lambda rng, task: ()),
    "any call": ((), (1, 2), lambda rng, task: wander(task, rng)),
    "once": ((), (2,), lambda rng, task: _needed(task)[:1]),
    "whole picture": (("mosaic",), (1, 2), lambda rng, task: [zoom("original_image", [0, 0, 1000, 1000])]),
    "fixed box": (("mosaic",), (1, 2), lambda rng, task: [zoom("original_image", box_of(4))]),
    "fixed query": (
        ("paper",),
        (1, 2),
        lambda rng, task: _document(task, "doc_page_retrieval_by_query", query=_QUERY),
    ),
    "fixed page": (("paper",), (1, 2), lambda rng, task: _document(task, "doc_page_retrieval_by_index", image_idx=1)),
    "same check": (("prose",), (1, 2), lambda rng, task: [_CHECK]),
}
"""Name -> (families, all if empty; the numbers of needed calls; the calls it makes)."""


def baselines(tasks: Sequence[Task], settings: EpisodeSettings, root: Path, seed: int = 0) -> dict[str, float]:
    """Accuracy of each policy on the tasks that it is for, of the calls that the task before of the same family needs
    (`previous calls`), and of those that are needed (`right calls`), both on all tasks that need some; and of what a
    first sight speaks for (`first sight`), on those tasks where it does.

    Args:
        tasks: of the lab world.
        root: folder that their paths are relative to.
    """
    found = {}
    for name, (families, needs, make) in POLICIES.items():
        own = [t for t in tasks if t.meta["needs"] in needs and (not families or family(t) in families)]
        found[name] = _share([_right(t, make, settings, root, seed) for t in own])
    glimpsed = [t for t in tasks if t.meta["expert"]["glimpse"]]
    found["first sight"] = _share([t.responses[t.gold - 1] == t.meta["expert"]["glimpse"] for t in glimpsed])
    demanding = [t for t in tasks if t.meta["needs"]]
    before = {t.id: p for p, t in _pairs(demanding)}
    lagging = [t for t in demanding if t.id in before]
    found["previous calls"] = _share(
        [_right(t, lambda _, t: _needed(before[t.id]), settings, root, seed) for t in lagging]
    )
    found["right calls"] = _share([_right(t, lambda _, t: _needed(t), settings, root, seed) for t in demanding])
    return found


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right) if right else 0.0


def _pairs(tasks: Sequence[Task]) -> list[tuple[Task, Task]]:
    """Each task with the one before it of its family and its number of calls."""
    last: dict[tuple[str, int], Task] = {}
    pairs = []
    for task in tasks:
        key = family(task), task.meta["needs"]
        if key in last:
            pairs.append((last[key], task))
        last[key] = task
    return pairs


def _right(task: Task, make: Policy, settings: EpisodeSettings, root: Path, seed: int) -> bool:
    rng = random.Random(f"baseline/{seed}/{task.id}")
    episode = Episode.open(task, settings, root, presented_order(task, seed))
    for call in make(rng, task):
        episode.advance(f"<think>I call.</think><tool_call>{json.dumps(call)}</tool_call>")
    best = _best(episode) or rng.randint(1, 2)
    episode.advance(f"<think>I decide.</think><answer>Overall Judgment: Answer {best} is better.</answer>")
    return bool(is_right(task, episode.decision))


def _best(episode: Episode) -> int | None:
    """The presented number that the observations speak for: of two checks those that differ, else the last."""
    seen = [read(episode.task, episode.order, m) for m in episode.conversation.messages if m.role == "tool"]
    if len(seen) == 2 and len(episode.task.constraints) == 2:
        return 1 if seen[0] != seen[1] else 2
    return seen[-1] if seen else None
