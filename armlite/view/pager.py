"""Paging through trajectories in a terminal by single keys; where nobody can press one, everything is printed at once.

A page scrolls like `less` as long as it is made of characters. Pictures of kitty or sixel cannot be cut at a line: such
a page is written whole, and the terminal's own scrollback serves. A change of the terminal's size draws it anew.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from armlite.errors import ArmliteError
from armlite.view import text as words
from armlite.view.entries import Entry
from armlite.view.images import Protocol, choose_protocol
from armlite.view.keys import RESIZED, pressed, resizes, single_keys
from armlite.view.selection import Chosen, Selection, select
from armlite.view.side import draw_group, draw_pair, draw_row, group_key, groups, place_of
from armlite.view.terminal import SHOWN

NEXT, PREVIOUS = {b"n", b"\x1b[C"}, {b"p", b"\x1b[D"}
QUIT = {b"q", b"Q", b"\x1b", b"\x03", b"\x04"}
ENTER, ERASE = {b"\r", b"\n"}, {b"\x7f", b"\b"}
SCROLL = {b"j": 1, b"\x1b[B": 1, b"\r": 1, b"\n": 1, b"k": -1, b"\x1b[A": -1}
"""Key -> lines."""
_FAR = 10**6
LEAP = {b" ": 1, b"\x1b[6~": 1, b"b": -1, b"\x1b[5~": -1, b"g": -_FAR, b"\x1b[H": -_FAR, b"G": _FAR, b"\x1b[F": _FAR}
"""Key -> screens."""
KEYS = (
    ("n → / p ←", "next, previous trajectory"),
    ("12 Enter", "the trajectory with this number"),
    ("w / W", "next, previous wrong one"),
    ("↓ ↑ j k", "scroll by a line"),
    ("space b", "scroll by a screen; at the end space goes on to the next"),
    ("g G", "top, end"),
    ("/", "search: only those that hold a text; empty: all again"),
    ("f", "where: only those that fit, as status=failed and tool=zoom; empty: all again"),
    ("s", "sort by a field, as -reward; empty: in file order"),
    ("c", "keep this one beside the next; again: no more"),
    ("x", "long texts whole; again: their heads"),
    ("?", "these keys"),
    ("q Esc", "leave"),
)
ASKED = {b"/": ("search", "search: "), b"f": ("where", "where: "), b"s": ("sort", "sort by: ")}


@dataclass
class _Look:
    """What is being looked at."""

    chosen: Chosen
    wishes: Selection
    shown: list[Entry]
    groups: dict[tuple[object, ...], list[Entry]]
    at: int = 0
    pinned: Entry | None = None
    characters: int | None = SHOWN
    """Of a long text; None: all."""
    said: str = ""
    """A complaint about what was typed."""
    partner: dict[int, Entry | None] = field(default_factory=dict)

    @property
    def entry(self) -> Entry:
        return self.shown[self.at]

    def narrow(self, name: str, value: str) -> None:
        """Change a wish; the trajectory stays if it still fits."""
        wishes, before = replace(self.wishes, **{name: value}), self.entry
        try:
            self.shown = select(self.chosen.entries, wishes)
        except ArmliteError as e:
            self.said = words.literal(str(e))
            return
        self.wishes, self.said = wishes, ""
        self.at = next((i for i, entry in enumerate(self.shown) if entry is before), 0)

    def wrong(self, by: int) -> int | None:
        """Place of the next wrong one in a direction."""
        places = range(self.at + by, len(self.shown) if by > 0 else -1, by)
        return next((i for i in places if self.shown[i].first("outcome") == "wrong"), None)


def page(console: Console, chosen: Chosen, protocol: Protocol | None = None, keyboard: TextIO | None = None) -> None:
    """Show what was chosen: one at a time, by keys (`?` lists them); or all, one below the other.

    Args:
        console: where to.
        chosen: what, at least one. A single one is printed, not paged.
        protocol: how to show pictures; None: as the environment says.
        keyboard: where keys come from; None: stdin.
    """
    keyboard = keyboard or sys.stdin  # None where stdin is closed
    protocol = protocol or choose_protocol(os.environ, console.is_terminal)
    look = _Look(chosen, Selection(), chosen.entries, groups(chosen.everything))
    look.partner = {id(e): other for e, other in zip(chosen.entries, chosen.beside, strict=False)}
    if len(chosen.entries) == 1 or not console.is_terminal or keyboard is None or not keyboard.isatty():
        for look.at in range(len(chosen.entries)):
            _draw(console, look, protocol)
        return
    if chosen.opening:
        look.narrow("where", chosen.opening)
    whole = protocol in ("kitty", "sixel")
    with single_keys(keyboard), resizes() as wake, nullcontext() if whole else console.screen(hide_cursor=False):
        keys = pressed(keyboard, wake)
        while True:
            with console.capture() as drawn:
                _draw(console, look, protocol)
            if not _browse(console, keys, drawn.get().rstrip("\n").split("\n"), whole, look):
                return


def _draw(console: Console, look: _Look, protocol: Protocol) -> None:
    entry, pixels = look.entry, look.chosen.pixels
    place = place_of(entry, f"{look.at + 1} of {len(look.shown)}" if len(look.shown) > 1 else "")
    other = look.pinned if look.pinned is not None else look.partner.get(id(entry))
    if other is not None and other is not entry:
        draw_pair(console, (other, entry), pixels, protocol, (place_of(other), place))
    else:
        draw_row(console, entry.row, pixels, protocol, place, look.characters)
    # A single one that was asked for stands alone; in a pipe all of a group follow, and the table below the last.
    following = look.shown[look.at + 1 : look.at + 2]
    if len(look.chosen.entries) > 1 and (console.is_terminal or not following or _ends_with(entry, following[0])):
        draw_group(console, entry, look.groups[group_key(entry)])


def _ends_with(entry: Entry, following: Entry) -> bool:
    """Is a row the last of its group?"""
    return group_key(entry) != group_key(following)


def _browse(console: Console, keys: Iterator[bytes], lines: list[str], whole: bool, look: _Look) -> bool:
    """Show one page until a key leads to another; False: leave."""
    top, typed, shown = 0, "", -1
    while True:
        room = len(lines) if whole else max(1, console.height - 2)
        last = max(0, len(lines) - room)
        top = min(max(top, 0), last)
        if top != shown:
            console.file.write("\x1b[H\x1b[2J" + "\n".join(lines[top : top + room]) + "\n")
            shown = top
        _prompt(console, look, typed, "" if not last else f" · {100 * top // last}%", whole)
        key = next(keys, b"q")
        if key in QUIT:
            _say(console, "")
            return False
        if key == RESIZED:
            return True
        if key.isdigit():
            typed = (typed + key.decode())[:9]
        elif key in ERASE:
            typed = typed[:-1]
        elif typed and key in ENTER:
            wanted, typed = int(typed) - 1, ""
            if 0 <= wanted < len(look.shown):
                look.at = wanted
                return True
        elif _moved(console, keys, b"n" if key == b" " and top == last else key, look):
            return True
        else:
            top += SCROLL.get(key, 0) + LEAP.get(key, 0) * max(1, room - 2)


def _moved(console: Console, keys: Iterator[bytes], key: bytes, look: _Look) -> bool:
    """Do what a key says; False: it does not change what is shown."""
    look.said = ""
    to: int | None = None
    if key in NEXT or key in PREVIOUS:
        to = look.at + (1 if key in NEXT else -1)
    elif key in (b"w", b"W"):
        to = look.wrong(1 if key == b"w" else -1)
        look.said = "" if to is not None else "no wrong one further on" if key == b"w" else "no wrong one before"
    elif key == b"c":
        look.pinned = None if look.pinned is not None else look.entry
        look.said = "this one stays beside the next" if look.pinned is not None else ""
        return look.pinned is None
    elif key == b"x":
        look.characters = SHOWN if look.characters is None else None
        return True
    elif key in ASKED:
        name, question = ASKED[key]
        answer = _asked(console, keys, question, str(getattr(look.wishes, name)))
        if answer is not None:
            look.narrow(name, answer)
        return True
    elif key == b"?":
        _help(console)
        next(keys, b"q")
        return True
    if to is None or not 0 <= to < len(look.shown):
        return False
    look.at = to
    return True


def _asked(console: Console, keys: Iterator[bytes], question: str, text: str) -> str | None:
    """A line that is typed; None: Escape."""
    pending = b""
    while True:
        _say(console, f"{question}{words.literal(text)}"[-(console.width - 1) :])
        key = next(keys, b"\x1b")
        if key in ENTER:
            return text.strip()
        if key in ERASE:
            text = text[:-1]
        elif key == b"\x15":  # Ctrl-U
            text = ""
        elif key in QUIT - {b"q", b"Q"}:
            return None
        elif len(key) == 1 and key >= b" ":
            pending += key  # a letter beyond ASCII comes byte by byte
            try:
                text, pending = text + pending.decode(), b""
            except UnicodeDecodeError:
                pending = pending[-4:]


def _help(console: Console) -> None:
    table = Table(box=None, padding=(0, 3, 0, 0), show_header=False)
    for keys, what in KEYS:
        table.add_row(keys, what)
    with console.capture() as drawn:
        console.print(table)
    console.file.write("\x1b[H\x1b[2J" + drawn.get())
    _say(console, "any key goes back")


def _prompt(console: Console, look: _Look, typed: str, place: str, whole: bool) -> None:
    """Two lines below the page: what is chosen, or a complaint; where we are, and the keys."""
    wishes = look.wishes
    chosen = [
        wishes.where,
        f"search {wishes.search!r}" if wishes.search else "",
        f"by {wishes.sort}" if wishes.sort else "",
    ]
    above = look.said or " · ".join(words.literal(w) for w in chosen if w)
    here = f"{look.at + 1:,} of {len(look.shown):,}{place}   "
    keys = "n next  p previous  w wrong  / search  f where  ? keys  q quit"
    if cell_len(here + keys) >= console.width:
        keys = "n p w / f  ? keys  q quit"
    if not whole:
        console.file.write(f"\x1b[{console.height - 1};1H\x1b[2K\x1b[2m{_cut(above, console.width - 1)}\x1b[0m\n")
    _say(console, _cut(here + (f"go to {typed}" if typed else keys), console.width - 1))


def _cut(text: str, columns: int) -> str:
    """The head of a line; a rest that does not fit is an ellipsis."""
    text = text.replace("\n", " ")
    return text if cell_len(text) <= columns else text[: max(0, columns - 1)] + "…"


def _say(console: Console, line: str) -> None:
    console.file.write(f"\r\x1b[2K{line}")
    console.file.flush()
