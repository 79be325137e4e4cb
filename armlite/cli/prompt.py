"""The prompt of `armlite chat` at a terminal: a paste is one text, Tab completes, what was typed is remembered."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from armlite.chat import COMMANDS, Chat
from armlite.errors import ArmliteError

PROMPT, INSIDE = "> ", ". "
PATHS = ("image", "doc", "save", "rubric")
"""Commands that a path follows."""
TEXTS = ("question", "response", "constraint")
"""Commands that `@FILE` may follow."""


@dataclass(frozen=True)
class Line:
    """What was entered."""

    text: str
    literal: bool = False
    """It was pasted, so it is a text."""


class Words(Completer):
    """Commands, paths and numbers of responses."""

    def __init__(self, chat: Chat):
        self._chat = chat
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text or self._chat.block is not None:
            return
        name, blank, rest = text[1:].partition(" ")
        if not blank:
            for known, command in COMMANDS.items():
                if known.startswith(name):
                    more = " " if command.wants else ""
                    yield Completion(known + more, -len(name), f"/{known} {command.wants}".rstrip(), command.about)
        elif name in PATHS or (name in TEXTS and rest.startswith("@")):
            path = rest.removeprefix("@")
            yield from self._paths.get_completions(Document(path, len(path)), event)
        else:
            yield from self._others(name, rest)

    def _others(self, name: str, rest: str) -> Iterator[Completion]:
        case = self._chat.case
        known: list[tuple[str, str]] = []
        if name in ("drop", "edit"):
            known = [(str(n), text[:60].replace("\n", " ")) for n, text in enumerate(case.responses, 1)]
            known += [(f"image {n}", path) for n, path in enumerate(case.images, 1) if name == "drop"]
            known += [(f"constraint {n}", text[:60]) for n, text in enumerate(case.constraints, 1)]
            known += [("question", case.question[:60].replace("\n", " "))] if case.question else []
        elif name == "tools":
            known = [(word, "") for word in ("on", "off", "list")]
        elif name == "judge":
            known = [(word, "") for word in ("rate", "rank")]
        for word, about in known:
            if word.startswith(rest):
                yield Completion(word, -len(rest), word, about)


def entered(chat: Chat, history: Path | None) -> Iterator[Line]:
    """Lines as they are entered, until their end.

    Ctrl-D ends a text of several lines, else the session; Ctrl-C throws the line away.

    Args:
        chat: whose case the completions are of.
        history: file of what was entered; None: only of this session.
    """
    pasted = False
    keys = KeyBindings()

    @keys.add(Keys.BracketedPaste)
    def _paste(event: KeyPressEvent) -> None:
        nonlocal pasted
        buffer, text = event.current_buffer, event.data.replace("\r\n", "\n").replace("\r", "\n")
        pasted = pasted or not buffer.text
        buffer.insert_text(text)

    session: PromptSession[str] = PromptSession(
        history=_history(history),
        completer=Words(chat),
        complete_while_typing=False,
        key_bindings=keys,
        enable_history_search=True,
    )
    parts: list[str] = []
    while True:
        pasted = False
        try:
            text = session.prompt(INSIDE if parts or chat.block is not None else PROMPT)
        except EOFError:
            if chat.block is None:
                return
            yield Line(".")
            continue
        except KeyboardInterrupt:
            parts, chat.block = [], None
            print("  (/quit leaves)", file=sys.stderr)
            continue
        if pasted and (not _is_command(text) or "\n" in text):
            yield from _pasted(chat, text)
            continue
        parts.append(text.removesuffix("\\"))
        if not text.endswith("\\") or chat.block is not None:
            yield Line("\n".join(parts))
            parts = []


def _pasted(chat: Chat, text: str) -> Iterator[Line]:
    """A paste: one text, or lines of the text that is being written."""
    if chat.block is None:
        yield Line(text.removesuffix("\n"), literal=True)
        return
    for line in text.removesuffix("\n").split("\n"):
        yield Line(".." if line.rstrip() == "." else line)


def _is_command(text: str) -> bool:
    return text.startswith("/") and text[1:].split(" ", 1)[0].strip() in COMMANDS


def _history(file: Path | None) -> History:
    if file is None:
        return InMemoryHistory()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError as error:
        raise ArmliteError(f"cannot keep the history in {file}: {error.strerror}; say --no-history") from error
    return FileHistory(str(file))
