"""JudgeEnvironment: an Episode in the shape that TRL's `environment_factory` wants.

Our own trainer takes the job and lets `armlite.runner` play it. The stock `GRPOTrainer` can use the same class: its
public methods are the tools, and `reward_functions` replay each completion through a fresh episode to score it.
"""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from armlite.episode import Episode, EpisodeSettings
from armlite.rewards import Reward
from armlite.runner import Job
from armlite.tools import get_tool
from armlite.tools.tool import Tool
from armlite.types import Call, Score, Task, Trajectory, Turn

HEADER = "assistant\n"
"""Of a turn, behind `<|im_start|>`."""


class JudgeEnvironment:
    """One rollout's episode. Made by `environment_factory`; `reset` is called for each rollout."""

    _settings: EpisodeSettings
    _root: Path
    _deferred: bool
    job: Job
    """What is to be played; set by `reset`."""
    episode: Episode
    """The running episode; not set where opening is deferred."""

    def reset(
        self, task: str, with_tools: bool = True, order: Sequence[int] = (), **row: Any
    ) -> list[dict[str, Any]] | None:
        """Open the task of a dataset row.

        Args:
            task: a Task record as JSON.
            with_tools: show tools.
            order: permutation of the responses; empty: the caller's own.
            row: other columns, unused.

        Returns:
            The first user message as content blocks, which TRL appends to an empty prompt; None where our runner is to
            open the task.
        """
        settings = self._settings if with_tools else self._settings.model_copy(update={"tools": ()})
        self.job = Job(Task.from_json(task), settings, self._root, tuple(order))
        if self._deferred:
            return None
        self.episode = self.job.open()
        return self.episode.conversation.messages[0].blocks()["content"]


def environment_factory(
    settings: EpisodeSettings,
    root: Path | str,
    tools: Sequence[str] = ("image_zoom_in_tool",),
    deferred: bool = False,
) -> Any:
    """A class for TRL's `environment_factory`.

    Args:
        settings: the rules of an episode.
        root: folder that the tasks' paths are relative to.
        tools: names of the tools that become public methods. TRL needs at least one, or it drops the images of tools.
        deferred: leave opening the task to our own trainer, where a file that cannot be read ends its rollout only.

    Raises:
        ArmliteError: an unknown tool.
        ValueError: no tool at all.
    """
    if not tools:
        raise ValueError("TRL drops tool images when an environment has no public method: name at least one tool")
    methods: dict[str, Any] = {name: _method(get_tool(name)) for name in tools}
    return type(
        "JudgeEnvironment",
        (JudgeEnvironment,),
        {"_settings": settings, "_root": Path(root), "_deferred": deferred, **methods},
    )


def _method(tool: Tool) -> Callable[..., list[dict[str, Any]]]:
    """A tool as a method that returns content blocks, with the signature and docstring TRL reads its schema from."""

    def method(self: Any, **arguments: Any) -> Any:
        episode: Episode = self.episode
        observation = episode.act(Turn(text="", call=Call(name=tool.name, arguments=arguments)))
        images = [{"type": "image", "image": episode.memory.images[i]} for i in observation.images]
        return [*images, {"type": "text", "text": observation.text}]

    shown = {name: hint for name, hint in tool.parameters.items() if name not in tool.hidden}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("self", kind)]
    parameters += [inspect.Parameter(p, kind, annotation=t) for p, t in shown.items()]
    manual = "\n".join(f"    {p}: {tool.descriptions.get(p, '')}" for p in shown)
    method.__name__ = method.__qualname__ = tool.name
    method.__doc__ = f"{tool.description}\n\nArgs:\n{manual}\n"
    method.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    method.__annotations__ = shown
    return method


def replay(environment: Any, turns: Sequence[str], ended: bool = True) -> Trajectory:
    """The trajectory of a completion: its turns, played through a fresh episode of the environment's task.

    Args:
        ended: the last turn ended by itself; else it ran out of tokens.
    """
    episode: Episode = environment.job.open()
    for number, turn in enumerate(turns, 1):
        if episode.stop is None:
            episode.advance(turn, "stop" if ended or number < len(turns) else "length")
    if episode.stop is None:
        episode.advance("", "length")
    return episode.trajectory()


def reward_functions(reward: Reward, tokenizer: Any) -> list[Callable[..., list[float]]]:
    """The parts of a reward as TRL reward functions, for the stock trainer.

    Args:
        reward: one of `armlite.rewards`, or one of your own.
        tokenizer: knows the control tokens that part the turns of a completion.
    """
    seen: list[Any] = [[], []]

    def scores(completion_ids: list[list[int]], environments: list[Any]) -> list[Score]:
        """Played once for all parts: a new batch has new episodes."""
        episodes = [e.episode for e in environments]
        if len(seen[0]) != len(episodes) or any(a is not b for a, b in zip(seen[0], episodes, strict=True)):
            played = [
                replay(e, *split_turns(ids, tokenizer)) for e, ids in zip(environments, completion_ids, strict=True)
            ]
            seen[:] = episodes, [reward(trajectory) for trajectory in played]
        return seen[1]

    def part(name: str) -> Callable[..., list[float]]:
        def function(completion_ids: list[list[int]], environments: list[Any], **_: Any) -> list[float]:
            return [score.parts[name] for score in scores(completion_ids, environments)]

        function.__name__ = name
        return function

    return [part(name) for name in reward.weights]


def split_turns(ids: Sequence[int], tokenizer: Any) -> tuple[list[str], bool]:
    """The assistant turns in a completion of our chat template, and whether the last one ended by itself.

    By token ids, not by text: a model can spell `<|im_end|>`, but what it spelt parts nothing.
    """
    start, end = (tokenizer.convert_tokens_to_ids(t) for t in ("<|im_start|>", "<|im_end|>"))
    blocks: list[list[int]] = [[]]
    for token in ids:
        if token == end:
            blocks.append([])
        else:
            blocks[-1].append(token)
    open_end, turns = blocks.pop(), []
    if open_end:
        blocks.append(open_end)
    for number, block in enumerate(blocks):
        if number:  # behind the first turn each has a header
            block = block[block.index(start) + 1 :] if start in block else []
        text = tokenizer.decode(block, skip_special_tokens=False)
        if not number:
            turns.append(text)
        elif text.startswith(HEADER):
            turns.append(text.removeprefix(HEADER))
    return turns, not open_end
