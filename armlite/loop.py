"""The loop: think, act, observe, for a batch of episodes at once, until all have stopped.

It prints nothing and writes no file; `on_step` is its only window. `judge`, `chat`, `eval` and the GRPO trainer all
call it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

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
    with Turns(getattr(session, "tool_threads", 0)) as turns:
        while waiting:
            for conversation, reply in turns.wait(session):
                turns.act(waiting[id(conversation)], reply)
            for episode, step in turns.acted():
                if step is not None and on_step is not None:
                    on_step(episode, step)
                if episode.stop is None:
                    session.submit(episode.conversation)
                else:
                    del waiting[id(episode.conversation)]
                    session.close(episode.conversation)
    return session


class Turns:
    """Where turns that have ended are acted on: in place, or in threads while the model goes on with the others.

    Args:
        threads: 0: in place; then the order of everything is that of the session's replies. With threads the session
            is one whose `wait` can be told to return after so many decode steps.
    """

    def __init__(self, threads: int = 0):
        self._pool = ThreadPoolExecutor(threads, "armlite-tools") if threads else None
        self._open: list[tuple[Episode, Future[Step | None]]] = []
        self._idle = False

    def __enter__(self) -> "Turns":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def wait(self, session: Any) -> list[tuple[Conversation, Reply]]:
        """Turns that have ended; perhaps none while some are being acted on."""
        self._idle = False
        if not self._open:
            return session.wait()
        replies = session.wait(steps=1)
        self._idle = not replies and not session.busy
        return replies

    def act(self, episode: Episode, reply: Reply) -> None:
        """Take a turn, run its tool."""
        work = partial(episode.advance, reply.text, reply.finish, reply.tokens)
        future: Future[Step | None] = Future()
        if self._pool is None:
            future.set_result(work())
        else:
            future = self._pool.submit(work)
        self._open.append((episode, future))

    def acted(self) -> list[tuple[Episode, Step | None]]:
        """Those that have been acted on, in the order in which their turns ended; waits where nothing else goes on."""
        if self._idle and self._open:
            wait([future for _, future in self._open], return_when=FIRST_COMPLETED)
        done = [(episode, future.result()) for episode, future in self._open if future.done()]
        self._open = [pair for pair in self._open if all(pair[0] is not episode for episode, _ in done)]
        return done
