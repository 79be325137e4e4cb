"""Signs of life: what a judge is writing and for how long, drawn at the foot of a terminal while it works."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from armlite.models import model_prefix
from armlite.models.lazy import LazyModel
from armlite.models.openai import OpenAIModel
from armlite.protocol.render import Conversation
from armlite.view.text import count, literal

REFRESH = 12
"""Drawings a second: a word is seen at most a twelfth of a second after it was written."""
LINES = 8
"""Lines of the turn that is being written that are shown; all of it is drawn when it has ended."""


class Watching:
    """A block at the foot of a terminal, as long as a judgment lasts; where there is no terminal, the text alone.

    Args:
        console: of the terminal.
        what: said before there are words.
        text: show what is written.
    """

    def __init__(self, console: Console, what: str = "judging", text: bool = True):
        self._console, self._what, self._shows_text = console, what, text
        self._lock = threading.Lock()
        self._texts: dict[tuple[str, int, int], str] = {}
        """(task id, rollout, turn) -> what has been written of the turn."""
        self._tokens = 0
        self._notice = ""
        self._start = time.monotonic()
        self._spinner = Spinner("dots")
        self._live: Live | None = None
        self._over = False
        """Nobody watches any more; what still comes of a judgment that was broken off belongs nowhere."""

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._draw, console=self._console, refresh_per_second=REFRESH, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._over = True
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._start

    def on_text(self, conversation: Conversation, piece: str) -> None:
        """A piece of a turn was written; from any thread."""
        key = conversation.task_id, conversation.rollout, conversation.turns
        with self._lock:
            if self._over:
                return
            if self._live is None and self._shows_text:
                self._console.file.write(piece)
                self._console.file.flush()
            self._texts[key] = self._texts.pop(key, "") + piece  # the latest is the last
            self._tokens += 1
            self._notice = ""

    def on_wait(self, sentence: str) -> None:
        """Something went amiss and is tried again; from any thread."""
        with self._lock:
            self._notice = sentence

    def ended(self, task_id: str, rollout: int) -> None:
        """A turn has ended: it is drawn elsewhere."""
        with self._lock:
            if self._live is None and self._shows_text and self._texts:
                self._console.file.write("\n")
            for key in [key for key in self._texts if key[:2] == (task_id, rollout)]:
                del self._texts[key]

    def _draw(self) -> RenderableType:
        with self._lock:
            (_, _, turn), text = next(reversed(self._texts.items()), (("", 0, 0), ""))
            tokens, notice, writing = self._tokens, self._notice, len(self._texts)
        parts = [f"step {turn + 1}" if text else self._what, f"{self.seconds:.0f} s"]
        parts += [count(tokens, "token")] if tokens else []
        parts += [f"{writing} at once"] if writing > 1 else []
        parts += [notice] if notice else []
        self._spinner.update(text=Text(" · ".join(parts), style="dim", no_wrap=True, overflow="ellipsis"))
        if not text or not self._shows_text:
            return self._spinner
        lines = Text(literal(text).strip(), style="dim").wrap(self._console, self._console.width - 2)[-LINES:]
        return Group(*lines, self._spinner)


def watched(judge: object, on_wait: Callable[[str], None]) -> None:
    """Let a judge's server say when it is asked again. A model that is not asked over a network says nothing."""
    if isinstance(served := _model_of(judge), OpenAIModel):
        served.on_wait = on_wait


def reach(judge: object) -> None:
    """See that a judge's server answers; nothing of one that has none.

    Raises:
        ArmliteError: it does not.
    """
    if isinstance(served := _model_of(judge), OpenAIModel):
        served.reach()


def _model_of(judge: object) -> object:
    model = getattr(judge, "model", None)
    if isinstance(model, LazyModel):  # a local one is loaded once its inputs have been opened
        return model.load() if model_prefix(model.spec) == "openai" else None
    return model
