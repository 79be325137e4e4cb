"""A command in a terminal of its own, emulated by pyte: what is typed, and what a person would see."""

import os
import pty
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyte

OWN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"
"""Not `pty.fork`: a fork of a process that has threads may hang before it becomes another."""
PASTE = ("\x1b[200~", "\x1b[201~")


class Terminal:
    """`armlite` with some words, at a terminal.

    Args:
        words: after `armlite`.
        cwd: its folder.
        environ: further variables of its environment.
        size: columns and lines.
    """

    def __init__(self, *words: str, cwd: Path, size: tuple[int, int] = (100, 30), **environ: str):
        columns, lines = size
        self.screen = pyte.HistoryScreen(columns, lines, history=5000)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self._entered = -1
        """Where the cursor was when a line was last ended."""
        self._ours, theirs = pty.openpty()
        # A terminal answers when it is asked where its cursor is.
        self.screen.write_process_input = lambda data: os.write(self._ours, data.encode())
        env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(lines), **environ}
        command = [sys.executable, "-c", OWN, sys.executable, "-m", "armlite", *words]
        self.process = subprocess.Popen(
            command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                select.select([self._ours], [], [])
                data = os.read(self._ours, 65536)
            except (OSError, ValueError):  # the command has ended
                return
            with self._lock:
                self._stream.feed(data)

    @property
    def shown(self) -> str:
        """What is on the screen, without empty lines at its end."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def said(self) -> str:
        """All that is on the screen or has left it at the top."""
        with self._lock:
            above = ["".join(line[x].data for x in range(self.screen.columns)) for line in self.screen.history.top]
            return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip()

    def until(self, *parts: str, seconds: float = 60) -> str:
        """Wait until all of these are there, in this order; returns all that is."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            said, at = self.said, 0
            for part in parts:
                at = said.find(part, at)
                if at < 0:
                    break
                at += len(part)
            else:
                return said
            time.sleep(0.02)
        raise AssertionError(f"no {parts!r} in\n{self.said}")

    @property
    def _line(self) -> int:
        return len(self.screen.history.top) + self.screen.cursor.y

    def ready(self, prompt: str = ">", seconds: float = 60) -> None:
        """Wait until the cursor stands behind a new prompt with nothing else on its line."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self._lock:
                line, new = self.screen.display[self.screen.cursor.y].rstrip(), self._line > self._entered
            if line == prompt and new:
                time.sleep(0.1)  # no one types faster: an interrupt before the prompt reads keys would be lost
                return
            time.sleep(0.02)
        raise AssertionError(f"no prompt {prompt!r} at\n{self.shown}")

    def press(self, keys: str) -> None:
        """Type."""
        if keys.endswith("\r"):
            with self._lock:
                self._entered = self._line
        os.write(self._ours, keys.encode())

    def paste(self, text: str) -> None:
        """Paste, as a terminal with bracketed paste does: lines end with a carriage return."""
        self.press(PASTE[0] + text.replace("\n", "\r") + PASTE[1])

    def close(self, seconds: float = 30) -> int:
        """Wait for the command's end; returns its exit status."""
        status = self.process.wait(seconds)
        self._reader.join(2)
        os.close(self._ours)
        return status
