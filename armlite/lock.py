"""One process at a time on a folder: a lock of the operating system, which ends with the process however that ends.

`.lock` in the folder says who holds it; that the file is there means nothing. Whoever writes to a folder bit by bit
holds it: run directories (`armlite.train.run`), evaluations and journals of data in the making (`armlite.journal`).
"""

import errno
import json
import os
import shlex
import socket
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.store import read_json

if sys.platform == "win32":
    import msvcrt

    FAR = 1 << 30
    """Byte that is locked: Windows lets nobody read those that are."""

    def _take(file: int) -> None:
        os.lseek(file, FAR, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
else:
    import fcntl

    def _take(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


NAME = ".lock"


UNABLE = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""What a file system without locks says; nothing is guarded there."""


class Lock:
    """A folder that this process holds, until nobody in it refers to this any more. Made by `hold`."""

    def __init__(self, path: Path, file: int, made: bool):
        weakref.finalize(self, _let_go, path, file, made, os.getpid())


def _let_go(path: Path, file: int, made: bool, process: int) -> None:
    if os.getpid() == process:  # a fork's copy must not take the file from under its parent
        with suppress(OSError):  # Windows keeps the file, which does no harm; or the folder has gone
            if _is_named(path, file):
                path.unlink()
            if made:  # and nothing was written: it raises where something was
                path.parent.rmdir()
    os.close(file)


def _is_named(path: Path, file: int) -> bool:
    """Whether an open file is still the one of that name."""
    return path.is_file() and os.path.samestat(os.fstat(file), path.stat())


_HELD: weakref.WeakValueDictionary[Path, Lock] = weakref.WeakValueDictionary()


def hold(folder: Path) -> Lock:
    """Take a folder, which is made where there is none, for as long as the result is kept.

    A process that has it already shares it with itself.

    Raises:
        ArmliteError: another process holds it (names which, where and since when), or it cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise ArmliteError(f"cannot write to {folder}: it is not a folder")
    path = folder.resolve() / NAME
    if (held := _HELD.get(path)) is not None:
        return held
    try:
        if made := not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _take(file)
            except OSError as error:
                if error.errno not in UNABLE:
                    os.close(file)
                    said = f"{folder} is in use by {_holder(path)}; wait for it, or end it first"
                    raise ArmliteError(said) from error
            if _is_named(path, file):
                break
            os.close(file)  # whoever held it has just let go, and taken the file away
        lock = Lock(path, file, made)
        os.truncate(file, 0)
        os.write(file, json.dumps(_myself()).encode())
    except OSError as error:
        raise ArmliteError(f"cannot write to {folder}: {error.strerror}") from error
    _HELD[path] = lock
    return lock


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Inside, this process holds a folder; errors as of `hold`."""
    lock = hold(folder)
    try:
        yield
    finally:
        del lock


def command_line(*more: str) -> str:
    """What this process was called with, and words that were not yet among them, to be typed into a shell."""
    program = Path(sys.argv[0]).name.replace("__main__.py", "armlite")
    return shlex.join([program, *sys.argv[1:], *(word for word in more if word not in sys.argv)])


def _myself() -> dict[str, Any]:
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": command_line()}


def _holder(path: Path) -> str:
    try:
        who = read_json(path)
        return f"process {who['pid']} on {who['host']} since {who['since']} ({who['command']})"
    except (OSError, ValueError, TypeError):  # it has not written its name yet
        return "another process"
