"""Whether prompts fit into a stage's conversations: counted before the first stage, by the model's own processor."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from armlite.episode import Episode, presented_order
from armlite.errors import DataError, InputError
from armlite.models.engine.vision import picture_grid
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.places import processor_source, resolve
from armlite.models.processor import load_processor
from armlite.protocol.render import Conversation, render
from armlite.recipe import Recipe
from armlite.stages import GrpoSettings
from armlite.types import Task


def long_prompts(recipe: Recipe, tasks: Sequence[Task], root: Path) -> dict[str, str]:
    """Task id -> why its prompt does not fit into the conversations of a GRPO stage; nothing for all others.

    Args:
        root: folder that the tasks' paths are relative to.

    Raises:
        ArmliteError: the recipe's model has no processor.
    """
    stages = [stage for stage in recipe.stages.named().values() if isinstance(stage, GrpoSettings)]
    if not stages:
        return {}
    most = min(stage.max_context for stage in stages)
    processor = load_processor(processor_source(resolve(recipe.model.path)))
    vocabulary = Vocabulary(processor.tokenizer, 0)

    def tokens(task: Task) -> int:
        try:
            episode = Episode.open(task, recipe.episode, root, presented_order(task, 0))
        except (InputError, DataError):  # told elsewhere
            return 0
        return prompt_tokens(episode.conversation, vocabulary, processor.image_processor)

    with ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1)), "armlite-lengths") as pool:
        found = dict(zip([task.id for task in tasks], pool.map(tokens, tasks), strict=True))
    why = "its prompt of {} tokens does not fit max_context {}: raise that, or lower the pixel limits"
    return {name: why.format(n, most) for name, n in found.items() if n >= most}


def prompt_tokens(conversation: Conversation, vocabulary: Vocabulary, image_processor: Any) -> int:
    """Tokens of what a conversation holds before the first turn, visual ones included."""
    text = render(conversation.messages, conversation.tools, system=conversation.system)
    visual = 0
    for image in (image for message in conversation.messages for image in message.images):
        _, height, width = picture_grid(image, image_processor)
        visual += height * width // image_processor.merge_size**2 - 1  # the text holds one token for it
    return len(vocabulary.ids(text)) + visual
