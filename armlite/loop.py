"""The loop: think, act, observe, for a batch of episodes at once, until all have stopped.

It prints nothing and writes no file; `on_step` is its only window. `judge`, `chat`, `eval` and the GRPO trainer all
call it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from armlite.episode import Episode
from armlite.protocol.render import Conversation
from armlite.types import Step


class ChatSession(Protocol):
    """Conversations in flight with one model. Not shared between threads."""

    def submit(self, conversation: Conversation) -> None:
        """Ask for the next assistant turn of a conversation, which may be new or one seen before."""

    def wait(self) -> list[tuple[Conversation, "Reply"]]:
        """Block until at least one submitted turn has ended; return those that have, in a deterministic order."""
        ...

    def close(self, conversation: Conversation) -> None:
        """The conversation has ended: release what is held for it."""


class ChatModel(Protocol):
    """Anything that answers a batch of conversations."""

    name: str

    def session(self) -> ChatSession:
        """Start a batch."""
        ...


@dataclass(frozen=True)
class Reply:
    """One assistant turn as it came from a model."""

    text: str
    """Without end-of-turn tokens; cut after the first `</tool_call>`. For `error`: why."""
    finish: Literal["stop", "length", "overflow", "error"] = "stop"
    """`length`: the turn's budget ran out; `overflow`: the new messages do not fit the context, nothing was sampled."""
    tokens: int = 0


def play(
    episodes: Sequence[Episode], model: ChatModel, on_step: Callable[[Episode, Step], None] | None = None
) -> ChatSession:
    """Drive episodes to their end.

    Returns:
        The session, for a caller that wants the token ids of what was played.
    """
    session = model.session()
    waiting = {id(e.conversation): e for e in episodes}
    for episode in episodes:
        episode.model = model.name
        session.submit(episode.conversation)
    while waiting:
        for conversation, reply in session.wait():
            episode = waiting[id(conversation)]
            step = episode.advance(reply.text, reply.finish, reply.tokens)
            if step is not None and on_step is not None:
                on_step(episode, step)
            if episode.stop is None:
                session.submit(conversation)
            else:
                del waiting[id(conversation)]
                session.close(conversation)
    return session
