"""The token ids of one conversation: what was rendered, what was sampled, where its images are. Append-only.

Text that a model sampled is never tokenised again; a `TokenRecord` is exactly what the model read and wrote.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import Image

from armlite.models.engine.vision import Picture

STRIDE = 64
"""Tokens that are compared at once."""


@dataclass(frozen=True)
class Span:
    """Where the visual tokens of an image are."""

    start: int
    """Index of its first token in the conversation."""
    picture: Picture
    merge: int
    """Patches that make a visual token, along each axis."""

    @property
    def end(self) -> int:
        return self.start + self.picture.tokens

    @property
    def shift(self) -> int:
        """M-RoPE positions that the image takes, less its tokens: what it adds to the positions of later text."""
        return max(self.picture.grid[1:]) // self.merge - self.picture.tokens

    def places(self) -> np.ndarray:
        """(3, tokens): time, height and width of each visual token, from 0."""
        t, h, w = self.picture.grid
        return np.indices((t, h // self.merge, w // self.merge)).reshape(3, -1)


def rope_positions(spans: Sequence[Span], start: int, end: int) -> np.ndarray:
    """M-RoPE positions (3, end - start) of tokens `start` to `end` of a conversation.

    Args:
        spans: its images, in order.
    """
    places = np.tile(np.arange(start, end), (3, 1))
    shift = 0  # of the images so far
    for span in spans:
        low, high = max(span.start, start), min(span.end, end)
        if low < high:
            inside = span.places()[:, low - span.start : high - span.start]
            places[:, low - start : high - start] = inside + span.start + shift
        places[:, max(span.end - start, 0) :] += span.shift
        shift += span.shift
    return places


def path_of(ids: Sequence[int], spans: Sequence[Span], start: int = 0) -> list[int]:
    """Ids with those of an image told by what it shows: conversations that show the same have the same path so far.

    Args:
        spans: the images in it.
        start: where the first of the ids is in its conversation.
    """
    path = list(ids)
    for span in spans:
        low, high = max(span.start - start, 0), span.end - start
        path[low:high] = [-1 - int(span.picture.key[:15], 16)] * len(path[low:high])
    return path


def common_prefix(one: Sequence[int], other: Sequence[int], start: int = 0) -> int:
    """How many tokens two paths begin with alike, given that they do up to `start`."""
    n, at = min(len(one), len(other)), start
    while at + STRIDE <= n and one[at : at + STRIDE] == other[at : at + STRIDE]:
        at += STRIDE
    while at < n and one[at] == other[at]:
        at += 1
    return at


@dataclass(frozen=True, eq=False)
class TokenRecord:
    """A conversation as token ids, for a trainer."""

    prompt_ids: list[int]
    """Up to and including the first assistant header, image pads expanded; empty if the prompt did not fit."""
    completion_ids: list[int]
    mask: list[int]
    """For each completion id: 1 if it was sampled (a turn's own end-of-turn token included), else 0."""
    logprobs: list[float]
    """For each completion id: log-probability at the sampling temperature; 0.0 where it was not sampled."""
    prompt_spans: tuple[Span, ...]
    """The prompt's images."""
    completion_spans: tuple[Span, ...]
    """The completion's images; like the prompt's they are placed from the start of the prompt."""
    prompt_key: bytes
    """Equal for conversations with the same prompt: the same ids and the same images."""
    ended: bool
    """The last turn ended by itself: it did not run out of tokens."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """All images, in order."""
        return self.prompt_spans + self.completion_spans

    @cached_property
    def path(self) -> list[int]:
        """All ids, images told by what they show; see `path_of`."""
        return path_of(self.prompt_ids + self.completion_ids, self.spans)

    @property
    def images(self) -> list[Image.Image]:
        """The pixels of all images, in order."""
        return [span.picture.image for span in self.spans]


@dataclass
class Tokens:
    """Ids so far, with all that is known of each."""

    ids: list[int] = field(default_factory=list)
    sampled: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    path: list[int] = field(default_factory=list)
    """See `path_of`."""
    prompt: int = 0
    """Length of the prompt; 0 before there is one."""
    prompt_spans: int = 0
    prompt_key: bytes = b""
    """See `TokenRecord`."""
    ended: bool = True

    def extend(self, ids: Sequence[int], spans: Sequence[Span]) -> None:
        """Append rendered tokens; the first ones are the prompt."""
        self.path.extend(path_of(ids, spans, len(self.ids)))
        self.ids.extend(ids)
        self.sampled.extend([0] * len(ids))
        self.logprobs.extend([0.0] * len(ids))
        self.spans.extend(spans)
        if not self.prompt:
            self.prompt, self.prompt_spans = len(self.ids), len(self.spans)
            self.prompt_key = hashlib.sha256(repr((self.ids, [s.picture.key for s in spans])).encode()).digest()

    def push(self, token: int, logprob: float) -> None:
        """Append a sampled token."""
        self.ids.append(token)
        self.path.append(token)
        self.sampled.append(1)
        self.logprobs.append(logprob)

    @property
    def shift(self) -> int:
        """Position of the next text token, less the number of tokens."""
        return sum(span.shift for span in self.spans)

    def positions(self, start: int, end: int) -> np.ndarray:
        """M-RoPE positions (3, end - start) of some of the tokens."""
        return rope_positions(self.spans, start, end)

    def record(self) -> TokenRecord:
        """A copy of what there is."""
        n, spans = self.prompt, tuple(self.spans)
        return TokenRecord(
            prompt_ids=self.ids[:n],
            completion_ids=self.ids[n:],
            mask=self.sampled[n:],
            logprobs=self.logprobs[n:],
            prompt_spans=spans[: self.prompt_spans],
            completion_spans=spans[self.prompt_spans :],
            prompt_key=self.prompt_key,
            ended=self.ended,
        )
