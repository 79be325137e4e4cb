"""A session of interactive judging, without any input or output: lines go in, what is to be said comes out.

`armlite.cli.chat` reads the lines and draws the answers. The case (question, pictures, document, responses,
constraints) stays until it is changed, so that one can judge, add a response, and judge again.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from armlite.asking import Asked, make_task
from armlite.chat.kept import Kept
from armlite.chat.paths import read_text, written_path
from armlite.errors import ArmliteError, nearest
from armlite.images import is_data_url
from armlite.judge import Judge
from armlite.loop import OnStep, OnText
from armlite.models.lazy import LazyModel
from armlite.pocket.knowledge import doubt
from armlite.remote import fetch_image, is_url
from armlite.rubric import Grade, Rubric
from armlite.types import Kind, Verdict
from armlite.view import text as words

if TYPE_CHECKING:
    from armlite.chat.commands import Command

END = "."
"""A line of it alone ends a text of several lines; `..` stands for itself."""


@dataclass(frozen=True)
class Said:
    """What a line led to."""

    text: str = ""
    verdict: Verdict | None = None
    other: Verdict | None = None
    """That of the second judge on the same case."""
    grade: Grade | None = None
    over: bool = False
    """The session has ended."""


@dataclass
class Case:
    """What is to be judged."""

    question: str = ""
    images: list[str] = field(default_factory=list)
    document: str | None = None
    responses: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)


def _is_named(judge: Judge | None) -> bool:
    return judge is not None and isinstance(judge.model, LazyModel)


@dataclass(frozen=True)
class Block:
    """A text of several lines that is being written."""

    role: str
    lines: list[str] = field(default_factory=list)


class Chat:
    """One session.

    Args:
        judge: who judges.
        on_step: called with each step of a judgment, as it happens.
        offline: no picture is fetched from the web.
        kept: where it is kept as it goes; None: nowhere.
        load: makes another judge of a model's name, for /model.
        edit: lets the user change a text, for /edit.
    """

    def __init__(
        self,
        judge: Judge,
        on_step: OnStep | None = None,
        offline: bool = False,
        kept: Kept | None = None,
        load: Callable[[str], Judge] | None = None,
        edit: Callable[[str], str] | None = None,
    ):
        self.judge, self.on_step, self.offline, self.load, self.edit = judge, on_step, offline, load, edit
        self.second: Judge | None = None
        """Judges the same cases beside the first."""
        self.on_text: OnText | None = None
        self.texts_only: str | None = None
        """Why no picture or document is taken; None: they are."""
        self.kept = kept
        self.case, self.tools, self.votes = Case(), True, 1
        self.rubric: Rubric | None = None
        self.several = False
        """The judgment under way is of more than one vote."""
        self.history: list[Verdict] = []
        self.block: Block | None = None
        """The text of several lines that is being written: lines are no commands then."""
        self.fetched: dict[str, Image.Image] = {}
        self.saved: dict[Path, int] = {}
        self._before: list[Case] = []
        self._asked: tuple[str, bool] = ("", False)
        self._next = 0

    def hear(self, line: str, literal: bool = False) -> Said:
        """Act on a line.

        Args:
            literal: it is a text (pasted, for example), even if it begins with a slash.

        Raises:
            ArmliteError: the line asks for something that is not possible; the session is as it was before.
        """
        if self.block is not None:
            return self._go_on(self.block, line)
        if literal and line.strip():
            return self._text(line)
        line = line.strip()
        if not line:
            return Said()
        if not line.startswith("/"):
            if line.casefold() in self._commands():
                raise ArmliteError(
                    f"{line} is the name of a command: write /{line.casefold()} for that, or "
                    f"/{'response' if self.case.question else 'question'} {line} to take it as a text"
                )
            return self._text(line)
        name, _, rest = line[1:].partition(" ")
        if name not in self._commands():
            near = nearest(f"/{name}", [f"/{known}" for known in self._commands()])
            raise ArmliteError(f"there is no command /{name}.{near} See /help")
        command, rest = self._commands()[name], rest.strip()
        if bool(rest) < command.wants[:1].isupper() or bool(rest) > bool(command.wants):
            raise ArmliteError(f"write /{name} {command.wants}".rstrip())
        return command.act(self, rest)

    def end_of_input(self) -> Said:
        """The input has ended: a text of several lines is whole."""
        return Said() if self.block is None else self._go_on(self.block, END)

    def _commands(self) -> "dict[str, Command]":
        from armlite.chat.commands import COMMANDS

        return COMMANDS

    def _text(self, text: str) -> Said:
        return self.write("response" if self.case.question else "question", text)

    def _go_on(self, block: Block, line: str) -> Said:
        if line.rstrip() != END:
            block.lines.append("." if line.rstrip() == ".." else line)
            return Said()
        self.block = None
        text = "\n".join(block.lines)
        if not text.strip():
            raise ArmliteError(f"the {block.role} is empty: nothing has changed")
        return self.write(block.role, text)

    def take(self, role: str, text: str) -> Said:
        """A text as a command gives it: itself, `@FILE`, or nothing (or `-`) for the lines that follow."""
        if text in ("", "-"):
            self.block = Block(role)
            return Said(f"the {role}, line by line; a line with {END} alone ends it")
        return self.write(role, read_text(written_path(text[1:])) if text.startswith("@") else text)

    def write(self, role: str, text: str) -> Said:
        """Set the question, or add a response or constraint."""
        self.remember()
        if role == "question":
            self.case.question = text
        else:
            (self.case.responses if role == "response" else self.case.constraints).append(text)
        return self.state()

    def remember(self) -> None:
        """Keep the case as it is, for /undo."""
        self._before.append(copy.deepcopy(self.case))

    def undo(self) -> Said:
        """Take the last change of the case back.

        Raises:
            ArmliteError: there is none.
        """
        if not self._before:
            raise ArmliteError("there is nothing to undo")
        self.case = self._before.pop()
        return self.state("undone; ")

    def pictures(self) -> list[str | Image.Image]:
        """The case's pictures; of those on the web the ones that were fetched."""
        for path in self.case.images:
            if is_url(path) and not is_data_url(path) and path not in self.fetched:
                self.fetched[path] = fetch_image(path)  # of a session that goes on
        return [self.fetched.get(path, path) for path in self.case.images]

    def decide(self, how: str, swap: bool, rollout: int = 0) -> Said:
        """Judge the case.

        Args:
            how: "rate", "rank", or empty.
            swap: in both presented orders.
            rollout: number of the first rollout.

        Raises:
            ArmliteError: the case is not complete, or cannot be judged so.
        """
        case, count = self.case, len(self.case.responses)
        if not case.question or not count:
            raise ArmliteError(f"there is no {'response' if case.question else 'question'} yet")
        if count == 1 and (swap or how == "rank"):
            raise ArmliteError("there is one response only: nothing to swap or rank")
        if count > 1 and how == "rate":
            raise ArmliteError(f"one response can be rated, not {count}: /judge compares them")
        if self.rubric is not None and not how and not swap:
            return self._grade(self.rubric)
        self.several = swap or how == "rank" or self.votes > 1
        asked = self._how(rollout)
        verdict = self._ask(self.judge, how, swap, asked)
        other = None if self.second is None else self._ask(self.second, how, swap, asked)
        # The next retry's rollouts must be new: of a ranking each pair has two.
        self._asked = (how, swap)
        self._next = rollout + self.votes * (2 if swap or how == "rank" else 1)
        for made in (verdict, other):
            if made is not None:
                self.add(made)
        return Said(self._doubt(), verdict, other)

    def again(self) -> Said:
        """Judge with other randomness what was judged last.

        Raises:
            ArmliteError: nothing was.
        """
        if not self.history:
            raise ArmliteError("nothing was judged yet: /judge first")
        return self.decide(*self._asked, rollout=self._next)

    def _how(self, rollout: int) -> Asked:
        tools = None if self.tools else ()
        return {
            "tools": tools,
            "on_step": self.on_step,
            "on_text": self.on_text,
            "rollout": rollout,
            "votes": self.votes,
        }

    def _ask(self, judge: Judge, how: str, swap: bool, asked: Asked) -> Verdict:
        case, count = self.case, len(self.case.responses)
        given: Any = (case.question, case.responses, self.pictures(), case.document, case.constraints)
        if how == "rank":
            return judge.rank(*given, **asked)
        kinds: dict[int, Kind] = {1: "rating" if how == "rate" else "pointwise", 2: "pairwise"}
        task, images = make_task(kinds.get(count, "listwise"), *given)
        return judge.judge(task, images=images, swap=swap, **asked)

    def _grade(self, rubric: Rubric) -> Said:
        case = self.case
        if len(case.responses) != 1:
            raise ArmliteError(
                f"a rubric grades one response; there are {len(case.responses)}: /drop some, or /rubric off"
            )
        self.several = True
        grade = self.judge.grade(
            case.question, case.responses[0], rubric, self.pictures(), case.document, **self._how(0)
        )
        for graded in grade.criteria:
            self.add(graded.verdict)
        return Said(self._doubt(), grade=grade)

    def _doubt(self) -> str:
        """What there is to say of a judge that cannot know."""
        found = [doubt(j.model.spec, self.case.question) for j in (self.judge, self.second) if _is_named(j)]
        return next(filter(None, found), "")

    def add(self, verdict: Verdict) -> None:
        """A judgment was made: it can be saved, and is kept."""
        self.history.append(verdict)
        if self.kept is not None:
            self.kept.verdict(verdict)

    def resume(self) -> Said:
        """Go on with what is kept.

        Raises:
            ArmliteError: it cannot be read.
        """
        assert self.kept is not None
        case, self.history = self.kept.read()
        try:
            self.case = Case(**case)
        except TypeError as error:
            raise ArmliteError(f"the session in {self.kept.folder} is of another version: {error}") from error
        return self.state(f"the session in {self.kept.folder} goes on; ")

    def state(self, before: str = "") -> Said:
        """What there is, and what to do next; and keep it."""
        case, count = self.case, len(self.case.responses)
        if self.kept is not None:
            self.kept.case(case)
        has = [words.count(len(case.images), "image")] if case.images else []
        has += ["a document"] if case.document else []
        has += [words.count(len(case.constraints), "constraint")] if case.constraints else []
        has += [words.count(count, "response")] if count else []
        step = "/judge checks it, /rate rates it"
        if count > 1:
            step = "/judge finds the better, /swap in both orders, /rank ranks them"
        if not case.question or not count:
            step = f"write {'a response' if case.question else 'the question'}"
        return Said(before + f"{', '.join([*(['the question'] if case.question else []), *has]) or 'nothing'}: {step}")
