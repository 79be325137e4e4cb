"""A conversation as token ids with labels: SFT's view of exactly what the engine builds turn by turn in a rollout.

Messages are tokenised one by one, as they arrive in a rollout; loss falls on assistant text and its end-of-turn only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from armlite.errors import ArmliteError
from armlite.protocol.render import Conversation, render

IGNORE = -100
"""Label of a token that carries no loss."""


@dataclass(frozen=True)
class Encoded:
    """One conversation, ready for a batch."""

    input_ids: list[int]
    labels: list[int]
    pixel_values: torch.Tensor | None
    """(patches, 1176) of all images in order."""
    image_grid_thw: torch.Tensor | None
    """(images, 3)"""


def encode_conversation(conversation: Conversation, processor: Any, max_length: int | None = None) -> Encoded | None:
    """Tokenise a conversation.

    Args:
        conversation: a finished one; its last message is the assistant's.
        processor: tokenizer and image processor.
        max_length: longest sequence, in tokens.

    Returns:
        None if it is longer than `max_length`: a cut would split an image from its tokens.
    """
    tokenizer = processor.tokenizer
    images = [image for message in conversation.messages for image in message.images]
    pixels = processor.image_processor(images=images, return_tensors="pt") if images else {}
    merge = processor.image_processor.merge_size**2
    counts = (int(grid.prod()) // merge for grid in pixels.get("image_grid_thw", ()))
    pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    ids: list[int] = []
    labels: list[int] = []

    def add(text: str) -> None:
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
            ids.extend([pad] * next(counts) if token == pad else [token])
        labels.extend([IGNORE] * (len(ids) - len(labels)))

    def learn(text: str) -> None:
        # What looks like a control token in a model's words was spelt: the engine never lets it sample one.
        ids.extend(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
        ids.append(tokenizer.convert_tokens_to_ids("<|im_end|>"))
        labels.extend(ids[len(labels) :])

    add(render([], conversation.tools, add_generation_prompt=False, system=conversation.system))
    for i, message in enumerate(conversation.messages):
        if message.role == "assistant":
            learn(message.text)
        else:
            continued = conversation.messages[i - 1].role == "assistant" if i else False
            add(("\n" if continued else "") + render([message], suffix=True))
    if max_length is not None and len(ids) > max_length:
        return None
    return Encoded(ids, labels, pixels.get("pixel_values"), pixels.get("image_grid_thw"))


class EncodedRows:
    """Conversations as rows for training, opened when needed: a data set of large images does not fit into memory.

    Args:
        conversations: indexable; opening one may read image files.
        processor: tokenizer and image processor.
        max_length: longer conversations are left out.
        cache_bytes: encoded rows kept in memory, first come, first kept.

    Raises:
        ArmliteError: none fits.
    """

    def __init__(
        self, conversations: Sequence[Conversation], processor: Any, max_length: int, cache_bytes: int = 1 << 30
    ):
        self._conversations, self._processor, self._room = conversations, processor, cache_bytes
        self._cache: dict[int, Encoded] = {}
        self.kept: list[int] = []
        """Numbers of the conversations that fit."""
        self.lengths: list[int] = []
        """Their lengths, in tokens."""
        for number in range(len(conversations)):
            row = encode_conversation(conversations[number], processor, max_length)
            if row is not None:
                self._keep(number, row)
                self.kept.append(number)
                self.lengths.append(len(row.input_ids))
        if not self.kept:
            raise ArmliteError(
                f"none of the {len(conversations)} traces fits stages.sft.max_length ({max_length} tokens)"
            )

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Encoded:
        number = self.kept[index]
        if number in self._cache:
            return self._cache[number]
        row = encode_conversation(self._conversations[number], self._processor)
        assert row is not None
        return row

    def _keep(self, number: int, row: Encoded) -> None:
        size = 64 * len(row.input_ids) + (row.pixel_values.nbytes if row.pixel_values is not None else 0)
        if size <= self._room:
            self._cache[number] = row
            self._room -= size


def collate_rows(rows: Sequence[Encoded], pad_id: int, image_id: int) -> dict[str, torch.Tensor]:
    """Right-padded batch: `input_ids`, `labels`, `attention_mask`, `mm_token_type_ids` (B, T) and the rows' pixels."""
    width = max(len(r.input_ids) for r in rows)
    ids = torch.full((len(rows), width), pad_id)
    labels = torch.full((len(rows), width), IGNORE)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        n = len(row.input_ids)
        ids[i, :n], labels[i, :n], mask[i, :n] = torch.tensor(row.input_ids), torch.tensor(row.labels), 1
    batch = {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": mask,
        "mm_token_type_ids": (ids == image_id).long(),
    }
    pixels = [r.pixel_values for r in rows if r.pixel_values is not None]
    if pixels:
        batch["pixel_values"] = torch.cat(pixels)
        batch["image_grid_thw"] = torch.cat([r.image_grid_thw for r in rows if r.image_grid_thw is not None])
    return batch
