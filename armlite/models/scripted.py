"""A scripted model: answers by a function or from a list, deterministically; the stand-in for a model in tests and
demos.
"""

from collections.abc import Callable, Sequence

from armlite.loop import OnText, Reply
from armlite.protocol.render import Conversation


class ScriptedModel:
    """Says what it is told to say.

    Args:
        script: the turns of every conversation in order (the last one is repeated), or a function of the conversation.
    """

    in_flight = 64

    def __init__(self, script: Sequence[str | Reply] | Callable[[Conversation], str | Reply], name: str = "scripted"):
        self.name = name
        self._script = script

    def session(self) -> "ScriptedSession":
        return ScriptedSession(self._reply)

    def _reply(self, conversation: Conversation) -> Reply:
        if callable(self._script):
            reply = self._script(conversation)
        else:
            reply = self._script[min(conversation.turns, len(self._script) - 1)]
        return reply if isinstance(reply, Reply) else Reply(reply)


class ScriptedSession:
    """Answers all submitted conversations at the next `wait`."""

    threads = 0

    def __init__(self, reply: Callable[[Conversation], Reply]):
        self._reply = reply
        self._waiting: list[Conversation] = []
        self.on_text: OnText | None = None

    def submit(self, conversation: Conversation) -> None:
        self._waiting.append(conversation)

    def wait(self) -> list[tuple[Conversation, Reply]]:
        done, self._waiting = self._waiting, []
        replies = [(c, self._reply(c)) for c in done]
        for conversation, reply in replies if self.on_text is not None else ():
            self.on_text(conversation, reply.text)  # type: ignore[misc]  # it is there
        return replies

    def wake(self) -> None:
        """Not called: it has no threads."""

    def close(self, conversation: Conversation) -> None:
        """Take back a turn that is no longer wanted."""
        self._waiting = [c for c in self._waiting if c is not conversation]
