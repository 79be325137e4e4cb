"""JudgeEnvironment: an Episode in the shape that TRL's `environment_factory` wants.

Our own trainer takes the episode and plays it with `armlite.loop`. The stock `GRPOTrainer` can use the same class: then the
tools are its public methods, and `reward_functions` replay each completion through a fresh episode to score it.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ToolError
from armlite.rewards import REWARDS, Weights
from armlite.tools import get_tool
from armlite.tools.tool import Tool
from armlite.types import Task, Trajectory


class JudgeEnvironment:
    """One rollout's episode. Made by `environment_factory`; `reset` is called for each rollout.

    Attributes:
        episode: the running episode, set by `reset`.
    """

    _settings: EpisodeSettings
    _root: Path

    def reset(self, task: str, with_tools: bool = True, order: Sequence[int] = (), **row: Any) -> list[dict[str, Any]]:
        """Open the task of a dataset row.

        Args:
            task: a Task record as JSON.
            with_tools: show tools.
            order: permutation of the responses; empty: the caller's own.
            row: other columns, unused.

        Returns:
            The first user message as content blocks, which TRL appends to an empty prompt.
        """
        settings = self._settings if with_tools else self._settings.model_copy(update={"tools": ()})
        self._open = functools.partial(Episode.open, Task.from_json(task), settings, self._root, tuple(order))
        self._episode = self._open()
        return self._episode.conversation.messages[0].blocks()["content"]


def environment_factory(settings: EpisodeSettings, root: Path | str, tools: Sequence[str] = ("image_zoom_in_tool",)) -> Any:
    """A class for TRL's `environment_factory`.

    Args:
        settings: the rules of an episode.
        root: folder that the tasks' paths are relative to.
        tools: names of the tools that become public methods. TRL needs at least one, or it drops the images of tools.

    Raises:
        ArmliteError: an unknown tool.
        ValueError: no tool at all.
    """
    if not tools:
        raise ValueError("TRL drops tool images when an environment has no public method: name at least one tool")
    methods: dict[str, Any] = {name: _method(get_tool(name)) for name in tools}
    return type("JudgeEnvironment", (JudgeEnvironment,), {"_settings": settings, "_root": Path(root), **methods})


def _method(tool: Tool) -> Callable[..., list[dict[str, Any]]]:
    """A tool as a method that returns content blocks, with the signature and docstring TRL reads its schema from."""

    def method(self: Any, **arguments: Any) -> Any:
        memory = self._episode.memory
        try:
            observation = tool(memory, **arguments)
        except ToolError as error:
            return [{"type": "text", "text": str(error)}]
        images = [{"type": "image", "image": memory.images[i]} for i in observation.images]
        return [*images, {"type": "text", "text": observation.text}]

    shown = [p for p in tool.parameters if p not in tool.hidden]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("self", kind)]
    parameters += [inspect.Parameter(p, kind, annotation=tool.parameters[p]) for p in shown]
    manual = "\n".join(f"    {p}: {tool.descriptions.get(p, '')}" for p in shown)
    method.__name__ = method.__qualname__ = tool.name
    method.__doc__ = f"{tool.description}\n\nArgs:\n{manual}\n"
    method.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    method.__annotations__ = {p: tool.parameters[p] for p in shown}
    return method


def replay(environment: Any, turns: Sequence[str]) -> Trajectory:
    """The trajectory of a completion: its turns, played through a fresh episode of the environment's task."""
    episode: Episode = environment._open()
    for turn in turns:
        if episode.stop is None:
            episode.advance(turn)
    if episode.stop is None:
        episode.advance("", "length")
    return episode.trajectory()


def reward_functions(reward: str, weights: Weights, tokenizer: Any) -> list[Callable[..., list[float]]]:
    """The parts of a reward as TRL reward functions, for the stock trainer.

    Args:
        reward: a name in `armlite.rewards.REWARDS`.
        weights: size of the parts.
        tokenizer: decodes completions, control tokens included.
    """

    def part(name: str) -> Callable[..., list[float]]:
        def function(completion_ids: list[list[int]], environments: list[Any], **_: Any) -> list[float]:
            trajectories = [replay(e, split_turns(tokenizer.decode(i))) for e, i in zip(environments, completion_ids, strict=True)]
            return [REWARDS[reward](t, weights).parts[name] for t in trajectories]

        function.__name__ = name
        return function

    return [part(name) for name in Weights.model_fields]


def split_turns(text: str) -> list[str]:
    """The assistant turns in a decoded completion of our chat template."""
    turns = [piece.rpartition("<|im_start|>assistant\n")[2] for piece in text.split("<|im_end|>")]
    pieces = text.split("<|im_end|>")
    return [t for i, t in enumerate(turns) if (i == 0 or "<|im_start|>assistant\n" in pieces[i]) and t.strip()]
