"""What the engine has to know about a tokenizer: which ids end a turn, stand for images, or may never be sampled."""

import re
from typing import Any

from armlite.protocol.parse import CALL_END, end_of_call

TURN_END = "<|im_end|>"
TAIL = 2 * len(CALL_END)
"""Tokens at the end of a turn in which `</tool_call>` is looked for when it is spelt out."""


class Vocabulary:
    """Text to ids and back.

    Args:
        tokenizer: with the control tokens of Qwen2.5-VL, which Qwen3-VL has too.
        size: rows of the model's output; ids beyond the tokenizer's own are never sampled.
    """

    def __init__(self, tokenizer: Any, size: int):
        self._tokenizer = tokenizer
        known = tokenizer.get_vocab()
        self.end: int = known[TURN_END]
        """<|im_end|>"""
        self.image: int = known["<|image_pad|>"]
        added = tokenizer.added_tokens_decoder
        control = {i for i, t in added.items() if t.special or re.fullmatch(r"<\|.*\|>", t.content)}
        unused = set(range(size)) - set(known.values())
        self.forbidden = sorted((control | set(tokenizer.all_special_ids) | unused) - {self.end})
        """Ids that are never sampled: control tokens but <|im_end|>, and rows without a token."""
        self._call_end: int | None = known.get(CALL_END)
        self._spelt: dict[int, str] = {}
        self._may_close = {i for text, i in known.items() if CALL_END[-1] in text}

    def ids(self, text: str) -> list[int]:
        """Token ids of rendered text; control tokens in it become control tokens."""
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def spelled(self, text: str) -> list[int]:
        """Token ids of a turn as a model writes it, its end included: what looks like a control token is spelt."""
        ids = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [*ids, self.end]

    def text(self, ids: list[int]) -> str:
        """The exact text of ids."""
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def spelling(self, token: int) -> str:
        """The text of one id; remembered."""
        if token not in self._spelt:
            self._spelt[token] = self.text([token])
        return self._spelt[token]

    def closes_call(self, turn: list[int]) -> bool:
        """Whether the last of a turn's ids completes the `</tool_call>` of a call, in one token or many; one in a
        thought or in a string of the call does not.
        """
        last = turn[-1]
        tag = last == self._call_end or (last in self._may_close and CALL_END in self.text(turn[-TAIL:]))
        return tag and end_of_call(self.text(turn)) is not None
