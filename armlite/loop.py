"""The loop: think, act, observe, for many episodes at once, each to its own end.

It prints nothing and writes no file; `on_step` is its only window. `armlite.runner` calls it, and nothing else does:
judging, evaluation, data making and the GRPO trainer play the same loop.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Literal, Protocol

from armlite.episode import Episode
from armlite.protocol.probability import TokenLogprobs
from armlite.protocol.render import Conversation
from armlite.types import Step

OnStep = Callable[[Episode, Step], None]
OnText = Callable[[Conversation, str], None]
"""Told each piece of a turn's text as the model writes it, perhaps in another thread."""


class ChatSession(Protocol):
    """Conversations in flight with one model. Called from one thread, but for `wake`."""

    threads: int
    """Threads that files may be opened and tools may run in while the model is at work elsewhere (a server). 0: they
    run between two calls of `wait`, in the order of the replies, so that nothing depends on the clock."""
    on_text: OnText | None
    """Told what is written, where somebody wants to see it; set before the first `submit`."""

    def submit(self, conversation: Conversation) -> None:
        """Ask for the next assistant turn of a conversation, which may be new or one seen before."""

    def wait(self) -> "list[tuple[Conversation, Reply]]":
        """Block until a submitted turn has ended; return those that have, in a deterministic order."""
        ...

    def wake(self) -> None:
        """From any thread: let `wait` return soon, perhaps with nothing; a tool is done, or somebody came or went."""

    def close(self, conversation: Conversation) -> None:
        """The conversation has ended, or is no longer wanted: release what is held for it."""


class ChatModel(Protocol):
    """Anything that answers a batch of conversations."""

    name: str
    """As trajectories name it."""
    in_flight: int
    """Conversations that it is worth giving it at once."""

    def session(self) -> ChatSession:
        """Start a batch."""
        ...


@dataclass(frozen=True)
class Reply:
    """One assistant turn as it came from a model."""

    text: str
    """Without end-of-turn tokens; cut after the end of its call. For `error`: why."""
    finish: Literal["stop", "length", "overflow", "error"] = "stop"
    """`length`: the turn's budget ran out; `overflow`: the new messages do not fit the context, nothing was sampled."""
    tokens: int = 0
    """Sampled."""
    prompt_tokens: int = 0
    """Read, pictures included; 0 where the model does not say."""
    logprobs: tuple[TokenLogprobs, ...] = ()
    """Of the tokens behind the last `<answer>`, where the turn has one and the model says them."""


def play(
    openings: Iterator[Callable[[], Episode] | None],
    session: ChatSession,
    in_flight: int,
    on_step: OnStep | None = None,
    wanted: Callable[[Episode], bool] = lambda episode: True,
) -> Iterator[Episode]:
    """Drive episodes to their end, and yield them as they end.

    Args:
        openings: each opens one episode (which may have stopped already); taken when a place is free. None: there is no
            other yet; it is asked again when a turn has ended or the session was woken.
        session: of the model.
        in_flight: episodes that are open at once, at most.
        on_step: told each step as it happens, in the caller's thread.
        wanted: asked whenever a turn has ended or the session was woken; an episode that is wanted no more is closed,
            and yielded as it stands.
    """
    playing: dict[int, Episode] = {}
    busy: set[int] = set()  # of those in `playing`, the ones with a tool
    live = 0  # taken from `openings` and not ended: being opened, at the model, or with a tool
    with Workers(session) as workers:
        try:
            while True:
                while live < in_flight and (opening := next(openings, None)) is not None:
                    workers.do(partial(_opened, opening))
                    live += 1
                if not live:
                    return
                before = live
                for place, episode in list(playing.items()):
                    if place not in busy and not wanted(episode):
                        session.close(playing.pop(place).conversation)
                        live -= 1
                        yield episode
                for episode, step in workers.done():
                    busy.discard(id(episode.conversation))
                    if step is not None and on_step is not None:
                        on_step(episode, step)
                    if episode.stop is None and wanted(episode):
                        playing[id(episode.conversation)] = episode
                        session.submit(episode.conversation)
                        continue
                    if playing.pop(id(episode.conversation), None) is not None:
                        session.close(episode.conversation)
                    live -= 1
                    yield episode
                if live == before:  # else a place is free
                    for conversation, reply in session.wait():
                        if (place := id(conversation)) in playing:  # else it was closed while it was answered
                            busy.add(place)
                            workers.do(partial(_acted, playing[place], reply))
        finally:
            for episode in playing.values():
                session.close(episode.conversation)


def _opened(opening: Callable[[], Episode]) -> tuple[Episode, None]:
    return opening(), None


def _acted(episode: Episode, reply: Reply) -> tuple[Episode, Step | None]:
    return episode, episode.advance(reply.text, reply.finish, reply.tokens, reply.prompt_tokens, reply.logprobs)


class Workers:
    """Where episodes are opened and tools run: at once and in order, or in the session's threads."""

    def __init__(self, session: ChatSession):
        self._wake = session.wake
        self._asked: SimpleQueue[Callable[[], Result] | None] = SimpleQueue()
        self._done: SimpleQueue[Future[Result]] = SimpleQueue()
        self._open = True
        self._threads = [Thread(target=self._work, name="armlite-tools", daemon=True) for _ in range(session.threads)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        self._open = False
        for _ in self._threads:  # daemons: a tool that never returns does not keep the process
            self._asked.put(None)

    def do(self, work: Callable[[], "Result"]) -> None:
        """Do something whose result `done` gives."""
        if self._threads:
            self._asked.put(work)
        else:
            future: Future[Result] = Future()
            future.set_result(work())
            self._done.put(future)

    def done(self) -> Iterator["Result"]:
        """What has been opened or acted on since the last call; an error of ours is raised here."""
        while not self._done.empty():
            yield self._done.get().result()

    def _work(self) -> None:
        while (work := self._asked.get()) is not None and self._open:
            future: Future[Result] = Future()
            try:
                future.set_result(work())
            except BaseException as error:  # raised where `done` is called
                future.set_exception(error)
            self._done.put(future)
            self._wake()


Result = tuple[Episode, Step | None]
