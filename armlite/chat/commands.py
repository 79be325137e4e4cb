"""What can be said in a session with a slash before it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from armlite.chat.kept import append_verdict
from armlite.chat.paths import written_path, written_paths
from armlite.chat.session import Case, Chat, Said
from armlite.errors import ArmliteError
from armlite.images import is_data_url, open_image
from armlite.memory import Memory
from armlite.remote import fetch_image, is_url, refuse_urls
from armlite.rubric import read_rubric
from armlite.tools import tools_for
from armlite.types import Constraint
from armlite.view import text as words
from armlite.votes import telling

INTRODUCTION = (
    "Write the question, then a response on each line, then /judge. A paste is one text. /image and /doc add what to "
    "look at. /help lists everything."
)
_PLAIN = """\
  A line without a slash is the question as long as there is none; after that each such line is a response, and so is
  a paste, whatever is in it. A line that ends with \\ goes on in the next one. /response alone begins a text of many
  lines, which a line with . alone ends (.. stands for .); @FILE reads a text from a file."""


class Command(NamedTuple):
    """Something that can be said."""

    wants: str
    """What follows it, in brackets where it may be missing."""
    about: str
    act: Callable[[Chat, str], Said]


def _check_files(chat: Chat) -> None:
    if chat.texts_only:
        raise ArmliteError(f"{chat.texts_only}, or /model NAME here")


def _image(chat: Chat, text: str) -> Said:
    _check_files(chat)
    found = [text] if is_url(text) or is_data_url(text) else written_paths(text)
    for path in found:
        if is_data_url(path):
            open_image(path)
        elif is_url(path):
            if chat.offline:
                refuse_urls([path])
            chat.fetched[path] = fetch_image(path)
        else:
            open_image(path)
    chat.remember()
    chat.case.images += found
    return chat.state()


def _document(chat: Chat, text: str) -> Said:
    from armlite.tools.documents.pages import open_document

    _check_files(chat)
    path = written_path(text)
    open_document(Path(path))
    chat.remember()
    chat.case.document = path
    return chat.state()


def _place(chat: Chat, text: str) -> tuple[list[str], int]:
    """The list that `2`, `response 2`, `image 1` or `constraint 1` is of, and where in it."""
    case = chat.case
    lists = {"response": case.responses, "image": case.images, "constraint": case.constraints}
    role, _, number = text.rpartition(" ")
    role = role.strip() or "response"
    if role not in lists or not number.isdecimal():
        raise ArmliteError(f"{text}: write a response's number, or image N, constraint N, question, document")
    if not 1 <= int(number) <= len(lists[role]):
        raise ArmliteError(f"there is no {role} {number}; there are {len(lists[role])}")
    return lists[role], int(number) - 1


def _drop(chat: Chat, text: str) -> Said:
    if text in ("question", "document"):
        chat.remember()
        setattr(chat.case, text, "" if text == "question" else None)
        return chat.state()
    _place(chat, text)
    chat.remember()
    texts, at = _place(chat, text)
    del texts[at]
    return chat.state()


def _edit(chat: Chat, text: str) -> Said:
    if chat.edit is None:
        raise ArmliteError("/edit opens an editor, which needs a terminal")
    whole = text == "question"
    texts, at = ([chat.case.question], 0) if whole else _place(chat, text)
    new = chat.edit(texts[at]).removesuffix("\n")
    if not new.strip():
        raise ArmliteError("the text is empty: nothing has changed")
    chat.remember()
    if whole:
        chat.case.question = new
    else:
        texts[at] = new
    return chat.state()


def _judge(chat: Chat, how: str) -> Said:
    if how not in ("", "rate", "rank"):
        raise ArmliteError(f"/judge {how}: write /judge, /judge rate or /judge rank")
    return chat.decide(how, swap=False)


def _votes(chat: Chat, text: str) -> Said:
    if not text.isdecimal() or not 1 <= int(text) <= 99:
        raise ArmliteError(f"/votes {text}: write a number from 1 to 99")
    chat.votes = int(text)
    return Said(f"each judgment is of {words.count(chat.votes, 'vote')}")


def _rubric(chat: Chat, text: str) -> Said:
    chat.rubric = None if text == "off" else read_rubric(written_path(text))
    if chat.rubric is None:
        return Said("no rubric: /judge checks again")
    names = ", ".join(criterion.name for criterion in chat.rubric.criteria)
    return Said(f"/judge grades one response by {names}; /rubric off ends that")


def _model(chat: Chat, text: str) -> Said:
    if chat.load is None:
        raise ArmliteError("this session cannot load another model")
    names = text.split()
    if len(names) > 2:
        raise ArmliteError("one judge, or two side by side: /model NAME or /model NAME NAME")
    judges = [chat.load(name) for name in names]
    chat.texts_only = None
    chat.judge, chat.second = judges[0], judges[1] if len(judges) == 2 else None
    return Said(f"{' and '.join(judge.model.name for judge in judges)} judge{'' if chat.second else 's'} from now on")


def _why(chat: Chat, _: str) -> Said:
    """What the last verdict rests on, call by call."""
    if not chat.history:
        raise ArmliteError("nothing was judged yet: /judge first")
    verdict = chat.history[-1]
    vote = telling(verdict)
    if vote is None:
        return Said("there is no verdict, so nothing that it rests on")
    lines = []
    for number, step in enumerate(vote.calls, 1):
        call, seen = step.turn.call, step.observation
        if call is None or seen is None:
            continue
        shown = f" and {words.count(len(seen.images), 'picture')}" if seen.images else ""
        lines.append(f"  {number}. {'{}({})'.format(*words.call_words(step.turn))}")
        lines.append(f"     it wanted to know: {words.shorten(' '.join((step.turn.think or '?').split()), 300)}")
        says = "it said" if seen.ok else "it failed"
        lines.append(f"     {says}: {words.shorten(' '.join(seen.text.split()), 300) or '(no text)'}{shown}")
    if not lines:
        lines = ["  no tool was called: the verdict rests on what was shown"]
    return Said("\n".join([*lines, f"  so: {words.shorten(' '.join(verdict.rationale.split()), 600)}"]))


def _tools(chat: Chat, what: str) -> Said:
    if what not in ("", "on", "off", "list"):
        raise ArmliteError(f"/tools {what}: write /tools on, /tools off or /tools list")
    if what in ("on", "off"):
        chat.tools = what == "on"
    if what == "list":
        names = [t.name for t in tools_for(_memory(chat.case), chat.judge.settings.tools)]
        return Said("\n".join(f"  {n}" for n in names) or "no tool goes with what there is to look at yet")
    return Said(f"the judge {'may' if chat.tools else 'may not'} call tools")


def _memory(case: Case) -> Memory:
    """What the case holds; its pictures are stand-ins, as only their number counts."""
    from armlite.tools.documents.pages import open_document

    document = open_document(Path(case.document)) if case.document else None
    pictures = [Image.new("RGB", (1, 1))] * (len(case.images) + bool(case.document))
    return Memory(pictures, case.responses, document, tuple(Constraint(text=t) for t in case.constraints))


def _save(chat: Chat, folder: str) -> Said:
    place = Path(written_path(folder))
    fresh = chat.history[chat.saved.get(place.absolute(), 0) :]
    if not fresh:
        raise ArmliteError("there is no judgment to save yet" if not chat.history else f"all is in {place} already")
    for verdict in fresh:
        append_verdict(verdict, place)
        chat.saved[place.absolute()] = chat.saved.get(place.absolute(), 0) + 1
    return Said(f"saved {words.count(len(fresh), 'judgment')}; look with: armlite view {place}")


def _show(chat: Chat, _: str) -> Said:
    case = chat.case
    lines = [f"  question    {case.question or '(none)'}"]
    lines += [f"  image {n}     {path}" for n, path in enumerate(case.images, 1)]
    lines += [f"  document    {case.document}"] if case.document else []
    lines += [f"  must        {text}" for text in case.constraints]
    lines += [f"  response {n}  {text}" for n, text in enumerate(case.responses, 1)]
    return Said("\n".join(line.replace("\n", "\n" + " " * 14) for line in lines))


def _new(chat: Chat, _: str) -> Said:
    chat.remember()
    chat.case = Case()
    chat.state()
    return Said(f"a new case; {words.count(len(chat.history), 'judgment')} can still be saved")


def _help(chat: Chat, _: str) -> Said:
    rows = [(f"/{name} {command.wants}".rstrip(), command.about) for name, command in COMMANDS.items()]
    wide = max(len(command) for command, _ in rows)
    return Said("\n".join([f"  {command:<{wide}}  {about}" for command, about in rows] + ["", _PLAIN]))


COMMANDS: dict[str, Command] = {
    "question": Command("[TEXT|@FILE]", "set the question", lambda chat, text: chat.take("question", text)),
    "image": Command("PATH", "add a picture: a file or a URL", _image),
    "doc": Command("PATH", "set the document: a PDF file or a folder of page images", _document),
    "response": Command("[TEXT|@FILE]", "add a response", lambda chat, text: chat.take("response", text)),
    "constraint": Command(
        "[TEXT|@FILE]",
        "add something that responses have to satisfy",
        lambda chat, text: chat.take("constraint", text),
    ),
    "show": Command("", "show the case", _show),
    "edit": Command("N", "change response N (or question, constraint N) in $EDITOR", _edit),
    "drop": Command("N", "take out response N (or image N, constraint N, question, document)", _drop),
    "undo": Command("", "take the last change of the case back", lambda chat, _: chat.undo()),
    "judge": Command("[rate|rank]", "one response: check or rate it; several: find the best or rank them", _judge),
    "rate": Command("", "rate one response from 1 to 10", lambda chat, _: chat.decide("rate", swap=False)),
    "rank": Command("", "put several responses in order", lambda chat, _: chat.decide("rank", swap=False)),
    "swap": Command("", "judge in both presented orders", lambda chat, _: chat.decide("", swap=True)),
    "retry": Command("", "judge again with other randomness", lambda chat, _: chat.again()),
    "why": Command("", "what the last verdict rests on, call by call", _why),
    "votes": Command("N", "make each judgment of N votes", _votes),
    "rubric": Command("FILE|off", "grade one response by the criteria of a file", _rubric),
    "model": Command("NAME [NAME]", "let another judge judge, or two side by side", _model),
    "tools": Command("[on|off|list]", "let the judge call tools or not, or list them", _tools),
    "save": Command("DIR", "save the session's verdicts, and what they rest on for `armlite view DIR`", _save),
    "new": Command("", "begin a new case", _new),
    "help": Command("", "this list", _help),
    "quit": Command("", "leave; so does the end of the input", lambda chat, _: Said(over=True)),
}
"""Name -> what it does."""
