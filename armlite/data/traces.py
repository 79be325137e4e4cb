"""Traces for supervised training as conversations: saved trajectories, and the turns that published sets bring.

A file holds the one or the other: trajectories as armlite saves them, or tasks as `armlite data convert` writes them
of sets whose rows are whole conversations (`arm-thinker-data`, `arm-thinker-trajectories`).
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from armlite.data.conversations import MARK, preamble_of, schemas, schemas_in
from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError
from armlite.images import image_source, shrink
from armlite.images import open_image as open_file
from armlite.memory import Limits
from armlite.protocol.render import Conversation, Message, without_control_tokens
from armlite.store import Saved, image_path, open_image, read
from armlite.tools import get_tool
from armlite.types import StopReason, Task, Trajectory


class Trace(Protocol):
    """One conversation to learn from."""

    @property
    def name(self) -> str:
        """`TASK/ROLLOUT`."""
        ...

    def files(self) -> list[Path | str]:
        """Where its pictures are."""
        ...

    def conversation(self, limits: Limits) -> Conversation:
        """What its model saw and said, pictures opened."""
        ...


@dataclass(frozen=True)
class SavedTrace:
    """A saved trajectory."""

    row: Saved

    @property
    def name(self) -> str:
        return f"{self.row.trajectory.task.id}/{self.row.trajectory.rollout}"

    def files(self) -> list[Path | str]:
        return [image_path(self.row.path or ".", info) for info in self.row.trajectory.images]

    def conversation(self, limits: Limits) -> Conversation:
        return conversation(self.row, limits)


@dataclass(frozen=True)
class PublishedTrace:
    """A task whose turns were published with it."""

    task: Task
    root: Path
    """Folder that the task's paths are relative to."""

    @property
    def name(self) -> str:
        return f"{self.task.id}/0"

    def files(self) -> list[Path | str]:
        return [image_source(self.root, path) for path in self.task.meta["conversation_images"]]

    def conversation(self, limits: Limits) -> Conversation:
        pictures = iter(self.files())
        messages: list[Message] = []
        tools, system = schemas(self.task.meta.get("tools")), None
        for turn in self.task.meta["conversations"]:
            speaker, text = turn["from"], turn["value"]
            if speaker == "system":
                tools, system = tools or schemas_in(text), preamble_of(text)
                continue
            most = limits.crop_max_pixels if messages else limits.image_max_pixels
            shown = [shrink(open_file(next(pictures)), most) for _ in range(text.count(MARK))]
            messages.append(_message(speaker, text, tuple(shown), first=not messages))
        return Conversation(self.task.id, 0, tools, messages, system)


def read_traces(path: Path | str) -> list[Trace]:
    """The conversations of a file or folder that end in an answer, and whose turns all needed no lenient reading: a
    turn that was cut off, an error's text or a thought that is not closed is nothing to learn from.

    Raises:
        ArmliteError: there is nothing at the path.
        DataError: a line breaks its schema.
    """
    file = Path(path)
    if file.is_file() and _holds_tasks(file):
        return [PublishedTrace(task, file.parent) for task in read_tasks(file) if task.meta.get("conversations")]
    return [SavedTrace(row) for row in read(path) if row.trajectory.stop is StopReason.ANSWERED and not _lenient(row)]


class SavedConversations(Sequence[Conversation]):
    """The conversations of a file or folder of traces, as the model of each saw them; images are read when asked for.

    Args:
        path: JSONL file, or folder of such.
        limits: pixel limits of the prompt's images; of published turns also of the tools' ones.
        n: take only so many.
        skip: `TASK/ROLLOUT` of traces that are left out, since their pictures cannot be read.

    Raises:
        ArmliteError: there is nothing at the path, or fewer than `n`; DataError: a line breaks its schema.
    """

    def __init__(self, path: Path | str, limits: Limits, n: int | None = None, skip: Collection[str] = ()):
        found = read_traces(path)
        if not found:
            raise ArmliteError(f"data.traces: {path} holds no trajectory that ends in an answer")
        if n is not None and n > len(found):
            raise ArmliteError(
                f"data.n_traces is {n}, but {path} holds {len(found)} trajectories that end in an answer"
            )
        self._traces = [trace for trace in found[:n] if trace.name not in skip]
        self._limits = limits

    def __len__(self) -> int:
        return len(self._traces)

    def __getitem__(self, index: Any) -> Any:
        return self._traces[index].conversation(self._limits)


def _holds_tasks(file: Path) -> bool:
    with file.open("rb") as lines:
        first = next((line for line in lines if line.strip()), b"")
    return re.match(rb'\s*\{\s*"id"', first) is not None


def _lenient(row: Saved) -> bool:
    return any(step.turn.lenient for step in row.trajectory.steps)


def conversation(row: Saved, limits: Limits) -> Conversation:
    """One trajectory as a conversation."""
    trajectory: Trajectory = row.trajectory
    infos = {info.id: info for info in trajectory.images}
    opened = {name: open_image(row.path, info) for name, info in infos.items()} if row.path else {}
    last = trajectory.prompt_images[-1] if trajectory.task.document and trajectory.prompt_images else None
    images = tuple(
        shrink(opened[i], limits.sheet_max_pixels if i == last else limits.image_max_pixels)
        for i in trajectory.prompt_images
    )
    messages = [Message("user", trajectory.prompt, images)]
    for step in trajectory.steps:
        messages.append(Message("assistant", step.turn.text))
        if step.observation is not None:
            shown = tuple(opened[i] for i in step.observation.images)
            messages.append(Message("tool", step.observation.text, shown))
    # In the words the model was shown, which need not be those of today's tools.
    tools = schemas_in(trajectory.system) or tuple(get_tool(name).schema for name in trajectory.tools)
    return Conversation(trajectory.task.id, trajectory.rollout, tools, messages, preamble_of(trajectory.system))


def _message(speaker: str, text: str, shown: tuple[Image.Image, ...], first: bool) -> Message:
    """A published turn as a message; marks of pictures go, since pictures come before the text."""
    text = text.replace(f"{MARK}\n", "").replace(MARK, "")
    if speaker in ("gpt", "assistant"):
        return Message("assistant", text)
    if speaker == "function_call":
        return Message("assistant", _as_call(text))
    text = without_control_tokens(text)
    if first:
        return Message("user", text, shown)
    inner = re.fullmatch(r"\s*<tool_response>\n?(.*?)\n?</tool_response>\s*", text, re.DOTALL)
    return Message("tool", inner[1] if inner else text, shown)


def _as_call(text: str) -> str:
    """A `function_call` turn (a thought, perhaps, and the JSON of a call) in the form that our parser reads."""
    if "<tool_call>" in text:
        return text
    thought, _, body = text.rpartition("</think>")
    lead = f"{thought.strip()}</think>\n" if thought else ""
    try:
        value = json.loads(body)
    except ValueError:
        return text
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(value, dict) and isinstance(value.get("arguments"), str):
        value = {**value, "arguments": json.loads(value["arguments"])}
    return f"{lead}<tool_call>\n{json.dumps(value, ensure_ascii=False)}\n</tool_call>"
