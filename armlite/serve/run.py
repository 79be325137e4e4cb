"""Serves until it is told to stop: the socket first, then the model, then the requests."""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from armlite.errors import ArmliteError, first_fault, nearest
from armlite.judge import Judge, check_folder
from armlite.serve.settings import ServeSettings

INTERVAL = 0.0005
"""Seconds after which a request's thread gives way to the engine's, instead of Python's 5 ms."""


def serve(judge: Judge, settings: ServeSettings, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a judge until SIGTERM or SIGINT, then finish what is in flight; a second signal ends that, too.

    Args:
        judge: its model is loaded once the port is known to be free.
        port: 0: any that is free.
        say: told where it listens, and that it stops.

    Raises:
        ArmliteError: the address cannot be had, the model not be loaded, or a folder is none.
    """
    try:
        import uvicorn

        from armlite.serve.app import make_app
    except ImportError as error:
        raise ArmliteError(f'serve needs the extra `serve` ({error}): pip install "armlite[serve]"') from error
    if settings.files is not None and not settings.files.is_dir():
        raise ArmliteError(f"--files {settings.files}: there is no such folder")
    if settings.save is not None:
        check_folder(settings.save)
    with listening(host, port) as place:
        judge.prepare()
        config = uvicorn.Config(
            make_app(judge, settings),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=int(settings.seconds) + 1,
            timeout_keep_alive=30,
        )
        shown = f"[{host}]" if ":" in host else host
        say(f"listening on http://{shown}:{place.getsockname()[1]}")
        # What uvicorn raises again when it has stopped is no reason to fail.
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
        interval = sys.getswitchinterval()
        sys.setswitchinterval(INTERVAL)
        gc.collect()
        gc.freeze()  # or a full collection looks through all that the model is made of, and everybody waits
        try:
            uvicorn.Server(config).run(sockets=[place])
        finally:
            gc.unfreeze()
            sys.setswitchinterval(interval)
            for number, handler in before.items():
                signal.signal(number, handler)
        say("stopped")


def listening(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        ArmliteError: somebody else has it, or there is no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen(2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ArmliteError(f"cannot listen on {host}:{port} ({why}): give another --port or --host") from error
    return place


def key_of(name: str | None) -> str | None:
    """The key that an environment variable holds.

    Raises:
        ArmliteError: it holds none.
    """
    if name is None:
        return None
    if not os.environ.get(name, "").strip():
        raise ArmliteError(f"--api-key-env {name}: the environment variable {name} is not set")
    return os.environ[name].strip()


def read_limits(words: Iterable[str]) -> dict[str, Any]:
    """Limits from words such as `queue=64`.

    Raises:
        ArmliteError: a word is of another form, or names no limit; a value is out of range.
    """
    fields = ServeSettings.model_fields
    known = [name for name in fields if name not in ("name", "key", "files", "save", "workers")]
    found: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in known:
            raise ArmliteError(
                f"--limit {word!r}: there is no such limit.{nearest(name, known)} Known: {', '.join(known)}"
            )
        try:
            found[name] = getattr(ServeSettings.model_validate({name: value or "nothing"}), name)
        except ValidationError as error:
            raise ArmliteError(
                f"--limit {word!r}: {first_fault(error)[1]}, as {name}={fields[name].default}"
            ) from error
    return found


def name_of(spec: str) -> str:
    """How `/v1/models` names a judge: the last part of what the model is called."""
    from armlite.models.endpoint import place_free

    name = place_free(spec).rpartition(":")[2] if not Path(spec).exists() else spec
    return Path(name.rstrip("/")).name or "judge"


def say(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)
