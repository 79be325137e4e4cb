"""What the engine keeps of a conversation, and what it counts. Records only; session and scheduler write them."""

from collections import abc
from dataclasses import dataclass, field

import numpy as np

from armlite.models.engine.tokens import Tokens
from armlite.protocol.render import Conversation


@dataclass
class Stats:
    """What a session has done. On CUDA the time of a prefill shows where the host next waits, in decode."""

    images_encoded: int = 0
    tokens_prefilled: int = 0
    """Tokens that entered the cache ahead of decoding: all but the last of each rendered chunk."""
    largest_prefill: int = 0
    """Tokens of the largest pass that did this, padding included."""
    tokens_copied: int = 0
    """Tokens that entered the cache as copies of another conversation's: the same so far, and computed once."""
    tokens_decoded: int = 0
    steps: int = 0
    """Decode steps."""
    evictions: int = 0
    """Conversations that had to leave the cache and be prefilled again."""
    shortages: int = 0
    """Times that memory ran out; the session has gone on with fewer slots."""
    cache_bytes: int = 0
    """The most that the key-value cache took."""
    vision_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0


@dataclass(eq=False)
class Sequence:
    """A conversation and where it stands.

    Invariant: its slot of the cache holds the first `cached` of its tokens, and `cached < length`, since the last token
    is what the next decode step takes in.
    """

    conversation: Conversation
    tokens: Tokens = field(default_factory=Tokens)
    messages_seen: int = 0
    """Messages that `tokens` covers."""
    reply: str | None = None
    """Text of the last turn, until the caller has appended it to the conversation."""
    active: bool = False
    """A turn has been asked for and has not ended."""
    slot: int | None = None
    """Row of the cache; None while it waits."""
    cached: int = 0
    """Tokens in the cache."""
    position_shift: int = 0
    """M-RoPE position of the next text token, less its index."""
    turn_start: int = 0
    """Index of the turn's first sampled token."""
    turn_top: list[tuple[float, list[tuple[int, float]]]] = field(default_factory=list)
    """For each sampled token of the turn its log-probability, and the likeliest ids with theirs, if they are asked for;
    before any temperature."""
    told: int = 0
    """Tokens whose text was told to whoever watches."""
    random: np.random.Generator | None = None
    script: abc.Sequence[int] | None = None

    @property
    def length(self) -> int:
        """Tokens so far."""
        return len(self.tokens.ids)

    @property
    def prompt_key(self) -> bytes:
        """Equal for conversations with the same prompt."""
        return self.tokens.prompt_key

    @property
    def prefix(self) -> int:
        """Tokens that can be shared: the prompt but its last, which every sequence decodes itself for its logits."""
        return self.tokens.prompt - 1
