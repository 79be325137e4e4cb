"""Saved trajectories as conversations, for supervised training."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.images import shrink
from armlite.memory import Limits
from armlite.protocol.render import Conversation, Message
from armlite.store import Saved, open_image, read
from armlite.tools import get_tool
from armlite.types import StopReason, Trajectory


class SavedConversations(Sequence[Conversation]):
    """The conversations of a file or folder of trajectories, as the model of each saw them; images are read when
    asked for.

    Only those that end in an answer, and whose turns all needed no lenient reading: a turn that was cut off, an error's
    text or a thought that is not closed is nothing to learn from.

    Args:
        path: JSONL file, or folder of such.
        limits: pixel limits of the prompt's images.
        n: take only so many.
        skip: `TASK/ROLLOUT` of trajectories that are left out, since their pictures cannot be read.

    Raises:
        ArmliteError: there is nothing at the path, or fewer than `n`; DataError: a line breaks its schema.
    """

    def __init__(self, path: Path | str, limits: Limits, n: int | None = None, skip: Collection[str] = ()):
        found = [row for row in read(path) if row.trajectory.stop is StopReason.ANSWERED and not _lenient(row)]
        if not found:
            raise ArmliteError(f"data.traces: {path} holds no trajectory that ends in an answer")
        if n is not None and n > len(found):
            raise ArmliteError(
                f"data.n_traces is {n}, but {path} holds {len(found)} trajectories that end in an answer"
            )
        self._rows = [r for r in found[:n] if f"{r.trajectory.task.id}/{r.trajectory.rollout}" not in skip]
        self._limits = limits

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return conversation(self._rows[index], self._limits)


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
    tools = tuple(get_tool(name).schema for name in trajectory.tools)
    return Conversation(trajectory.task.id, trajectory.rollout, tools, messages)
