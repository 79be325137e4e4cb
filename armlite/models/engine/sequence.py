"""What the engine keeps of a conversation, and what it counts. Records only; `engine` and `slots` write them."""

from collections.abc import Sequence
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
    tokens_decoded: int = 0
    steps: int = 0
    """Decode steps."""
    evictions: int = 0
    """Conversations that had to leave the cache and be prefilled again."""
    shortages: int = 0
    """Times that memory ran out; the session has gone on with fewer slots."""
    vision_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0


@dataclass(eq=False)
class Track:
    """A conversation and where it stands."""

    conversation: Conversation
    tokens: Tokens = field(default_factory=Tokens)
    key: bytes = b""
    """Equal for conversations with the same prompt."""
    seen: int = 0
    """Messages that `tokens` covers."""
    reply: str | None = None
    """Text of the last turn, until the caller has appended it to the conversation."""
    active: bool = False
    """A turn has been asked for and has not ended."""
    slot: int | None = None
    cached: int = 0
    """Tokens in the cache."""
    shift: int = 0
    start: int = 0
    """Where the turn begins."""
    random: np.random.Generator | None = None
    script: Sequence[int] | None = None

    @property
    def length(self) -> int:
        return len(self.tokens.ids)
