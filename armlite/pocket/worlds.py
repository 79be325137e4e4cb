"""The worlds that a recipe may name: what makes their tasks, plays their traces and tries their shortcuts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from armlite.episode import Episode, EpisodeSettings
from armlite.types import Task

WorldName = Literal["pocket", "lab"]
WORLDS: tuple[WorldName, ...] = get_args(WorldName)


@dataclass(frozen=True)
class World:
    """A generator of judging tasks."""

    generate: Callable[..., Iterator[Task]]
    """(split, n, seed, out, family)"""
    expert_episodes: Callable[..., Iterator[Episode]]
    """(tasks, settings, root, share, without_tools, seed)"""
    sample_texts: Callable[[Iterable[Task], EpisodeSettings, Path, int], list[str]]
    baselines: Callable[..., dict[str, float]]
    """(tasks, settings, root, seed)"""
    base_episodes: Callable[..., Iterator[Episode]] | None = None
    """(tasks, settings, root, without_tools, seed): what a base model is made of, where there is one."""
    transfers: bool = False
    """It has a split `transfer`."""


def get_world(name: WorldName) -> World:
    """A world by name."""
    if name == "lab":
        from armlite.pocket.lab import baselines, traces, world

        return World(
            world.generate,
            traces.expert_episodes,
            traces.sample_texts,
            baselines.baselines,
            traces.base_episodes,
            transfers=True,
        )
    from armlite.pocket import baselines as policies
    from armlite.pocket import traces as played
    from armlite.pocket import world as pocket

    return World(pocket.generate, played.expert_episodes, played.sample_texts, policies.baselines)
