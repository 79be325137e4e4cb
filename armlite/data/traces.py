"""Saved trajectories as conversations again, to learn from them."""

from collections.abc import Iterator
from pathlib import Path

from armlite.memory import Limits
from armlite.protocol.render import Conversation, Message
from armlite.store import Saved, open_image, read
from armlite.tools import get_tool
from armlite.tools.images import shrink
from armlite.types import Trajectory


def read_conversations(path: Path | str, limits: Limits) -> Iterator[Conversation]:
    """The conversations of a file or folder of trajectories, as the model of each saw them.

    Args:
        path: JSONL file, or folder of such.
        limits: pixel limits of the prompt's images.

    Raises:
        ArmliteError: an image is missing; DataError: a line breaks its schema.
    """
    for row in read(path):
        yield conversation(row, limits)


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
