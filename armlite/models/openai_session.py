"""Conversations in flight with one endpoint; `armlite.models.openai` asks for each turn."""

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from armlite.loop import OnText, Reply
from armlite.protocol.render import Conversation

if TYPE_CHECKING:
    from armlite.models.openai import OpenAIModel


class Unwanted(Exception):
    """Nobody waits for the turn any more."""


class OpenAISession:
    """Conversations in flight with one endpoint: at most `workers` threads, which end when nothing is left to ask."""

    def __init__(self, model: "OpenAIModel"):
        self._model, self.threads = model, model.workers
        self.on_text: OnText | None = None
        self._lock = threading.Lock()
        self._begun: deque[tuple[int, Conversation]] = deque()
        self._new: deque[tuple[int, Conversation]] = deque()
        self._done: queue.SimpleQueue[tuple[int, Conversation, Reply | BaseException] | None] = queue.SimpleQueue()
        """None: `wait` is to return."""
        self._wired: dict[int, list[dict[str, Any]]] = {}
        self._ends: dict[int, threading.Event] = {}
        """Set for a conversation whose turn is no longer wanted, by its id."""
        self._count, self._running, self._over = 0, 0, False

    def submit(self, conversation: Conversation) -> None:
        with self._lock:
            if self._over:  # `wait` raises
                return
            # Going on comes before beginning: few conversations then hold encoded images, and prompt caches stay warm.
            self._ends.setdefault(id(conversation), threading.Event())
            line = self._begun if conversation.turns else self._new
            line.append((self._count, conversation))
            self._count += 1
            if self._running < self._model.workers:
                self._running += 1
                # A daemon, so that Ctrl-C does not wait for the last reply.
                threading.Thread(target=self._work, name="armlite-openai", daemon=True).start()

    def wait(self) -> list[tuple[Conversation, Reply]]:
        try:
            done = [self._done.get()]
            while not self._done.empty():
                done.append(self._done.get())
            replies = []
            for _, conversation, reply in sorted((d for d in done if d is not None), key=lambda d: d[0]):
                if isinstance(reply, BaseException):
                    raise reply
                replies.append((conversation, reply))
            return replies
        except BaseException:
            self._abandon()
            raise

    def wake(self) -> None:
        self._done.put(None)

    def close(self, conversation: Conversation) -> None:
        """Forget a conversation; a turn of it that was asked for is not asked, nor asked again."""
        self._wired.pop(id(conversation), None)
        with self._lock:
            if ended := self._ends.pop(id(conversation), None):
                ended.set()
            for line in (self._begun, self._new):
                for entry in [entry for entry in line if entry[1] is conversation]:
                    line.remove(entry)

    def _abandon(self) -> None:
        """Ask nothing more; requests in flight are left to themselves, but for those that somebody has watched."""
        with self._lock:
            self._over = True
            for ended in self._ends.values():
                ended.set()
            self._begun.clear()
            self._new.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                line = self._begun or self._new
                if not line:
                    self._running -= 1
                    return
                number, conversation = line.popleft()
                ended = self._ends[id(conversation)]
            try:
                told = self._told(conversation, ended)
                reply = self._model.reply(conversation, self._messages(conversation), ended, told)
                self._done.put((number, conversation, reply))
            except Unwanted:
                continue
            except BaseException as error:
                # Raised again by `wait`, in the thread of the caller.
                self._abandon()
                self._done.put((number, conversation, error))

    def _told(self, conversation: Conversation, ended: threading.Event) -> Callable[[str], None] | None:
        """Takes what is written of a conversation, where somebody watches; raises `Unwanted` when nobody does any more,
        which closes the connection, so that the server can stop writing.
        """
        if (on_text := self.on_text) is None:
            return None

        def told(piece: str) -> None:
            if ended.is_set():
                raise Unwanted
            on_text(conversation, piece)

        return told

    def _messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        """The conversation in the endpoint's form; each message is encoded once."""
        wired = self._wired.setdefault(id(conversation), [])
        wired += [self._model.wire(m) for m in conversation.messages[len(wired) :]]
        return wired
