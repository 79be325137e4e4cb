"""Single keys of a terminal, and its changes of size, as one stream; used by the viewer and by `armlite label`."""

import os
import re
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_KEY = re.compile(rb"\x1b(?:[\[O][0-9;]*[A-Za-z~])?|.", re.DOTALL)
RESIZED = b"\x00resized"
"""Comes among the keys when the terminal has another size."""


def pressed(keyboard: TextIO, wake: int | None = None) -> Iterator[bytes]:
    """Keys as the terminal sends them; ends with the input or an interrupt.

    Args:
        keyboard: where they come from.
        wake: what `resizes` gave; `RESIZED` is among the keys then.
    """
    sources = [keyboard.fileno(), *([wake] if wake is not None else [])]
    try:
        while True:
            ready, _, _ = select.select(sources, [], [])
            if keyboard.fileno() in ready:
                data = os.read(keyboard.fileno(), 64)
                if not data:
                    return
                yield from _KEY.findall(data)
            elif wake is not None:
                os.read(wake, 64)
                yield RESIZED
    except (KeyboardInterrupt, OSError):
        return


@contextmanager
def resizes() -> Iterator[int | None]:
    """A file descriptor that can be read whenever the terminal's size has changed; None where no signal tells."""
    if not hasattr(signal, "SIGWINCH") or threading.current_thread() is not threading.main_thread():
        yield None
        return
    out, into = os.pipe()
    os.set_blocking(into, False)

    def tell(*_: Any) -> None:
        try:
            os.write(into, b"r")
        except BlockingIOError:
            return  # enough are waiting already

    before = signal.signal(signal.SIGWINCH, tell)
    try:
        yield out
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(out)
        os.close(into)


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
