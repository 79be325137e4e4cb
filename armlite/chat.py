"""A session of interactive judging, without any input or output: lines go in, what is to be said comes out.

`armlite.cli.chat` reads the lines and draws the answers. The case (question, pictures, document, responses,
constraints) stays until it is changed, so that one can judge, add a response, and judge again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from armlite.asking import Asked, make_task
from armlite.errors import ArmliteError, nearest
from armlite.images import is_data_url, open_image
from armlite.judge import Judge, save
from armlite.loop import OnStep
from armlite.memory import Memory
from armlite.remote import fetch_image, is_url, refuse_urls
from armlite.tools import tools_for
from armlite.types import Constraint, Kind, Verdict
from armlite.view import text as words

INTRODUCTION = (
    "Write the question, then a response on each line, then /judge. /image and /doc add what to look at. "
    "/help lists everything."
)
_PLAIN = """\
  A line without a slash is the question as long as there is none; after that each such line is a response.
  A line that ends with \\ goes on in the next one."""


@dataclass(frozen=True)
class Said:
    """What a line led to."""

    text: str = ""
    verdict: Verdict | None = None
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


class Chat:
    """One session.

    Args:
        judge: who judges.
        on_step: called with each step of a judgment, as it happens.
        offline: no picture is fetched from the web.
    """

    def __init__(self, judge: Judge, on_step: OnStep | None = None, offline: bool = False):
        self.judge, self.on_step, self.offline = judge, on_step, offline
        self._fetched: dict[str, Image.Image] = {}
        self.case, self.tools = Case(), True
        self.several = False
        """The judgment under way is of more than one vote."""
        self.history: list[Verdict] = []
        self._asked: tuple[str, bool] = ("", False)
        self._next = 0
        self._saved: dict[Path, int] = {}

    def hear(self, line: str) -> Said:
        """Act on a line.

        Raises:
            ArmliteError: the line asks for something that is not possible; the session is as it was before.
        """
        line = line.strip()
        if not line:
            return Said()
        if not line.startswith("/"):
            return self._response(line) if self.case.question else self._question(line)
        name, _, rest = line[1:].partition(" ")
        if name not in COMMANDS:
            near = nearest(f"/{name}", [f"/{known}" for known in COMMANDS])
            raise ArmliteError(f"there is no command /{name}.{near} See /help")
        wants, _, act = COMMANDS[name]
        rest = rest.strip()
        if bool(rest) < (wants[:1].isupper()) or bool(rest) > bool(wants):
            raise ArmliteError(f"write /{name} {wants}".rstrip())
        return act(self, rest)

    def _question(self, text: str) -> Said:
        self.case.question = text
        return self._state()

    def _response(self, text: str) -> Said:
        self.case.responses.append(text)
        return self._state()

    def _constraint(self, text: str) -> Said:
        self.case.constraints.append(text)
        return self._state()

    def _image(self, path: str) -> Said:
        if is_url(path):
            if self.offline:
                refuse_urls([path])
            self._fetched[path] = fetch_image(path)
        else:
            path = path if is_data_url(path) else _path(path)
            open_image(path)
        self.case.images.append(path)
        return self._state()

    def _document(self, path: str) -> Said:
        from armlite.tools.documents.pages import open_document

        path = _path(path)
        open_document(Path(path))
        self.case.document = path
        return self._state()

    def _judge(self, how: str) -> Said:
        if how not in ("", "rate", "rank"):
            raise ArmliteError(f"/judge {how}: write /judge, /judge rate or /judge rank")
        return self._decide(how, swap=False, rollout=0)

    def _swap(self, _: str) -> Said:
        return self._decide("", swap=True, rollout=0)

    def _retry(self, _: str) -> Said:
        if not self.history:
            raise ArmliteError("nothing was judged yet: /judge first")
        return self._decide(*self._asked, rollout=self._next)

    def _decide(self, how: str, swap: bool, rollout: int) -> Said:
        case, tools = self.case, None if self.tools else ()
        count = len(case.responses)
        if not case.question or not count:
            raise ArmliteError(f"there is no {'response' if case.question else 'question'} yet")
        if count == 1 and (swap or how == "rank"):
            raise ArmliteError("there is one response only: nothing to swap or rank")
        if count > 1 and how == "rate":
            raise ArmliteError(f"one response can be rated, not {count}: /judge compares them")
        images = [self._fetched.get(path, path) for path in case.images]
        given = (case.question, case.responses, images, case.document, case.constraints)
        self.several = swap or how == "rank"
        asked: Asked = {"tools": tools, "on_step": self.on_step, "rollout": rollout}
        if how == "rank":
            verdict = self.judge.rank(*given, **asked)
        else:
            kinds: dict[int, Kind] = {1: "rating" if how == "rate" else "pointwise", 2: "pairwise"}
            task, images = make_task(kinds.get(count, "listwise"), *given)
            verdict = self.judge.judge(task, images=images, swap=swap, **asked)
        # The next retry's rollouts must be new: of a ranking each pair has two.
        self._asked, self._next = (how, swap), rollout + (2 if self.several else 1)
        self.history.append(verdict)
        return Said(verdict=verdict)

    def _tools(self, what: str) -> Said:
        if what not in ("", "on", "off", "list"):
            raise ArmliteError(f"/tools {what}: write /tools on, /tools off or /tools list")
        if what in ("on", "off"):
            self.tools = what == "on"
        if what == "list":
            names = [t.name for t in tools_for(self._memory(), self.judge.settings.tools)]
            return Said("\n".join(f"  {n}" for n in names) or "no tool goes with what there is to look at yet")
        return Said(f"the judge {'may' if self.tools else 'may not'} call tools")

    def _memory(self) -> Memory:
        """What the case holds; its pictures are stand-ins, as only their number counts."""
        from armlite.tools.documents.pages import open_document

        case = self.case
        document = open_document(Path(case.document)) if case.document else None
        pictures = [Image.new("RGB", (1, 1))] * (len(case.images) + bool(case.document))
        return Memory(pictures, case.responses, document, tuple(Constraint(text=t) for t in case.constraints))

    def _save(self, folder: str) -> Said:
        place = Path(_path(folder))
        fresh = self.history[self._saved.get(place.absolute(), 0) :]
        if not fresh:
            raise ArmliteError("there is no judgment to save yet" if not self.history else f"all is in {place} already")
        for verdict in fresh:
            save(verdict, place)
            self._saved[place.absolute()] = self._saved.get(place.absolute(), 0) + 1
        return Said(f"saved {len(fresh)} judgment{'s' if len(fresh) > 1 else ''}; look with: armlite view {place}")

    def _show(self, _: str) -> Said:
        case = self.case
        lines = [f"  question    {case.question or '(none)'}"]
        lines += [f"  image {n}     {path}" for n, path in enumerate(case.images, 1)]
        lines += [f"  document    {case.document}"] if case.document else []
        lines += [f"  must        {text}" for text in case.constraints]
        lines += [f"  response {n}  {text}" for n, text in enumerate(case.responses, 1)]
        return Said("\n".join(line.replace("\n", "\n" + " " * 14) for line in lines))

    def _new(self, _: str) -> Said:
        self.case = Case()
        return Said(f"a new case; {words.count(len(self.history), 'judgment')} can still be saved")

    def _help(self, _: str) -> Said:
        rows = [(f"/{name} {wants}".rstrip(), about) for name, (wants, about, _) in COMMANDS.items()]
        wide = max(len(command) for command, _ in rows)
        return Said("\n".join([f"  {command:<{wide}}  {about}" for command, about in rows] + ["", _PLAIN]))

    def _quit(self, _: str) -> Said:
        return Said(over=True)

    def _state(self) -> Said:
        """What there is, and what to do next."""
        case, count = self.case, len(self.case.responses)
        has = [words.count(len(case.images), "image")] if case.images else []
        has += ["a document"] if case.document else []
        has += [words.count(len(case.constraints), "constraint")] if case.constraints else []
        has += [words.count(count, "response")] if count else []
        step = "/judge checks it, /judge rate rates it"
        if count > 1:
            step = "/judge finds the better, /swap in both orders, /judge rank ranks them"
        if not case.question or not count:
            step = f"write {'a response' if case.question else 'the question'}"
        return Said(f"{', '.join([*(['the question'] if case.question else []), *has])}: {step}")


def _path(text: str) -> str:
    """A path as people write or drop it: with quotes, or from their home."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return str(Path(text).expanduser())


COMMANDS: dict[str, tuple[str, str, Callable[[Chat, str], Said]]] = {
    "question": ("TEXT", "set the question", Chat._question),
    "image": ("PATH", "add a picture: a file or a URL", Chat._image),
    "doc": ("PATH", "set the document: a PDF file or a folder of page images", Chat._document),
    "response": ("TEXT", "add a response", Chat._response),
    "constraint": ("TEXT", "add something that responses have to satisfy", Chat._constraint),
    "show": ("", "show the case", Chat._show),
    "judge": ("[rate|rank]", "one response: check or rate it; several: find the best or rank them", Chat._judge),
    "swap": ("", "judge in both presented orders", Chat._swap),
    "retry": ("", "judge again with other randomness", Chat._retry),
    "tools": ("[on|off|list]", "let the judge call tools or not, or list them", Chat._tools),
    "save": ("DIR", "save the session's judgments for `armlite view DIR`", Chat._save),
    "new": ("", "begin a new case", Chat._new),
    "help": ("", "this list", Chat._help),
    "quit": ("", "leave; so does the end of the input", Chat._quit),
}
"""Name -> (what follows it, in brackets where it may be missing; what it does; how)."""
