"""Paging through trajectories in a terminal by single keys; where nobody can press one, everything is printed at once.

A page scrolls like `less` as long as it is made of characters. Pictures of kitty or sixel cannot be cut at a line: such
a page is written whole, and the terminal's own scrollback serves.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TextIO

from rich.console import Console

from armlite.store import Saved
from armlite.view.images import Protocol, choose_protocol
from armlite.view.selection import RowPixels
from armlite.view.terminal import draw_trajectory

_KEY = re.compile(rb"\x1b(?:[\[O][0-9;]*[A-Za-z~])?|.", re.DOTALL)
NEXT, PREVIOUS = {b"n", b"\x1b[C"}, {b"p", b"\x1b[D"}
QUIT = {b"q", b"Q", b"\x1b", b"\x03", b"\x04"}
ENTER, ERASE = {b"\r", b"\n"}, {b"\x7f", b"\b"}
SCROLL = {b"j": 1, b"\x1b[B": 1, b"\r": 1, b"\n": 1, b"k": -1, b"\x1b[A": -1}
"""Key -> lines."""
_FAR = 10**6
LEAP = {b" ": 1, b"\x1b[6~": 1, b"b": -1, b"\x1b[5~": -1, b"g": -_FAR, b"\x1b[H": -_FAR, b"G": _FAR, b"\x1b[F": _FAR}
"""Key -> screens."""


def page(
    console: Console,
    rows: Sequence[Saved],
    pixels: RowPixels,
    protocol: Protocol | None = None,
    keyboard: TextIO | None = None,
) -> None:
    """Show the rows: one at a time with `n`, `p`, a number and Enter, `q`; or all, one below the other.

    Args:
        console: where to.
        rows: what, at least one. A single one is printed, not paged.
        pixels: opens an image of a row.
        protocol: how to show pictures; None: as the environment says.
        keyboard: where keys come from; None: stdin.
    """
    keyboard = keyboard or sys.stdin  # None where stdin is closed
    protocol = protocol or choose_protocol(os.environ, console.is_terminal)
    if len(rows) == 1 or not console.is_terminal or keyboard is None or not keyboard.isatty():
        for number in range(len(rows)):
            _draw(console, rows, number, pixels, protocol)
        return
    number: int | None = 0
    whole = protocol in ("kitty", "sixel")
    with single_keys(keyboard), nullcontext() if whole else console.screen(hide_cursor=False):
        keys = pressed(keyboard)
        while number is not None:
            with console.capture() as drawn:
                _draw(console, rows, number, pixels, protocol)
            number = _browse(console, keys, drawn.get().rstrip("\n").split("\n"), whole, number, len(rows))


def _draw(console: Console, rows: Sequence[Saved], number: int, pixels: RowPixels, protocol: Protocol) -> None:
    row = rows[number]
    place = f"{number + 1} of {len(rows)}" if len(rows) > 1 else ""
    draw_trajectory(console, row.trajectory, row.score, partial(pixels, row), protocol, place)
    console.print()


def _browse(
    console: Console, keys: Iterator[bytes], lines: Sequence[str], whole: bool, number: int, count: int
) -> int | None:
    """Show one page until a key leads to another, whose number is returned; None: leave."""
    top, typed, shown = 0, "", -1
    while True:
        room = len(lines) if whole else max(1, console.height - 1)
        last = max(0, len(lines) - room)
        top = min(max(top, 0), last)
        if top != shown:
            console.file.write("\x1b[H\x1b[2J" + "\n".join(lines[top : top + room]) + "\n")
            shown = top
        _prompt(console, number, count, typed, "" if not last else f" · {100 * top // last}%")
        key = next(keys, b"q")
        if key in QUIT:
            _say(console, "")
            return None
        if key.isdigit():
            typed = (typed + key.decode())[:9]
        elif key in ERASE:
            typed = typed[:-1]
        elif typed and key in ENTER:
            wanted, typed = int(typed) - 1, ""
            if 0 <= wanted < count:
                return wanted
        elif (key in NEXT or (key == b" " and top == last)) and number + 1 < count:
            return number + 1
        elif key in PREVIOUS and number > 0:
            return number - 1
        else:
            top += SCROLL.get(key, 0) + LEAP.get(key, 0) * max(1, room - 2)


def _prompt(console: Console, number: int, count: int, typed: str, place: str) -> None:
    typed = f"go to {typed}" if typed else ""
    keys = f"↑↓ space scroll · n next · p previous · 1 to {count} and Enter · q quit"
    _say(console, f"{number + 1} of {count}{place}   {typed or keys}"[: console.width - 1])


def _say(console: Console, words: str) -> None:
    console.file.write(f"\r\x1b[2K{words}")
    console.file.flush()


def pressed(keyboard: TextIO) -> Iterator[bytes]:
    """Keys as the terminal sends them; ends with the input or an interrupt."""
    try:
        while data := os.read(keyboard.fileno(), 64):
            yield from _KEY.findall(data)
    except (KeyboardInterrupt, OSError):
        return


@contextmanager
def single_keys(keyboard: TextIO) -> Iterator[None]:
    """Keys arrive at once and unseen; the terminal is put back as it was, whatever happens."""
    import termios
    import tty

    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard, termios.TCSADRAIN)  # the default would throw away what was typed ahead
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
