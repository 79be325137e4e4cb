"""A run that is being written, as a page that grows: `armlite view RUN --serve`, for this machine only and read-only.

Answers come from the records alone: a picture is looked up by its name in a row, never by a path. Whoever names another
host than this one is refused, so that a web page elsewhere cannot read a run through the browser (DNS rebinding).
"""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from armlite import store
from armlite.errors import ArmliteError
from armlite.images import as_png
from armlite.view.entries import Entry, entries
from armlite.view.html import article
from armlite.view.page import columns, shell
from armlite.view.selection import from_disk

HOSTS = ("127.0.0.1", "localhost")
PAUSE = 1.0
"""Seconds between two looks at the folder, however often it is asked for."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Followed:
    """The rows of a file or folder as they are written.

    Rows keep their numbers while files only grow; where one is replaced or gone, all are read anew and `generation`
    changes.
    """

    def __init__(self, root: Path):
        self.root = root
        self.entries: list[Entry] = []
        self.generation = 0
        self._read: dict[Path, tuple[int, int]] = {}
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def look(self, pause: float = PAUSE) -> Sequence[Entry]:
        """All rows that are whole by now.

        Raises:
            ArmliteError: the place is gone, or a row breaks its schema.
        """
        with self._lock:
            if time.monotonic() - self._looked >= pause:
                self._look()
                self._looked = time.monotonic()
            return self.entries

    def _look(self) -> None:
        files = {file: file.stat() for file in store.trajectory_files(self.root)}
        if any(file not in files or files[file].st_ino != inode or files[file].st_size < end
               for file, (inode, end) in self._read.items()):  # fmt: skip
            self._read, self.entries = {}, []
            self.generation += 1
        found = []
        for file, stat in files.items():
            inode, end = self._read.get(file, (stat.st_ino, 0))
            if stat.st_size > end:
                rows, end = store.read_on(file, end)
                found += rows
            self._read[file] = inode, end
        # A new list, not a longer one: who has the old one may be at work on it.
        self.entries = [*self.entries, *entries(found, self.root)]


class Server(ThreadingHTTPServer):
    """Listens on this machine only."""

    daemon_threads = True

    def __init__(self, followed: Followed, port: int):
        self.followed = followed
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_address[1]}/"


def open_server(path: Path, port: int) -> Server:
    """A server of what is below a path; `serve_forever` runs it.

    Raises:
        ArmliteError: there is no such place, a row breaks its schema, or the port is taken.
    """
    followed = Followed(path)
    followed.look()
    try:
        return Server(followed, port)
    except (OSError, OverflowError) as e:
        raise ArmliteError(
            f"cannot listen on port {port}: {getattr(e, 'strerror', None) or e}; try another --port"
        ) from e


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: Server
    server_version = "armlite"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer, or say why not."""
        if not self._is_us():
            return self._send(403, "text/plain", b"this server answers for 127.0.0.1 and localhost only\n")
        parts = urlsplit(self.path)
        for pattern, answer in ROUTES:
            if found := re.fullmatch(pattern, parts.path):
                try:
                    status, kind, body = answer(self.server.followed, *found.groups(), query=parse_qs(parts.query))
                except ArmliteError as e:
                    status, kind, body = 500, "text/plain; charset=utf-8", str(e).encode()
                return self._send(status, kind, body)
        return self._send(404, "text/plain", b"there is no such page\n")

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._send(405, "text/plain", b"this server is read-only\n")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse

    def _is_us(self) -> bool:
        host, _, port = (self.headers.get("Host") or "").partition(":")
        return host.lower() in HOSTS and port in ("", str(self.server.server_address[1]))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is for the address."""


Answer = tuple[int, str, bytes]
Query = dict[str, list[str]]
JSON, HTML, TEXT = "application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8"


def _page(followed: Followed, query: Query) -> Answer:
    return 200, HTML, "".join(shell(os.fspath(followed.root), "live")).encode()


def _index(followed: Followed, query: Query) -> Answer:
    """All columns; 204 where the asker has them already."""
    found = followed.look()
    known = query.get("generation", [""])[0], query.get("after", [""])[0]
    if known == (str(followed.generation), str(len(found))):
        return 204, JSON, b""
    start = {"where": "", "search": "", "beside": "", "generation": str(followed.generation)}
    return 200, JSON, json.dumps(columns(found) | start).encode()


def _article(followed: Followed, number: str, query: Query) -> Answer:
    entry = _entry(followed, number)
    return (404, TEXT, b"there is no such row") if entry is None else (200, HTML, article(entry, {}).encode())


def _search(followed: Followed, query: Query) -> Answer:
    text = query.get("text", [""])[0].lower()
    return 200, JSON, json.dumps([i for i, entry in enumerate(followed.entries) if text in entry.text]).encode()


def _image(followed: Followed, number: str, name: str, query: Query) -> Answer:
    entry = _entry(followed, number)
    infos = entry.row.trajectory.images if entry is not None else ()
    info = next((info for info in infos if info.file == unquote(name)), None)
    if entry is None or info is None:
        return 404, TEXT, b"there is no such picture"
    return 200, "image/png", as_png(from_disk(entry.row, info))


def _entry(followed: Followed, number: str) -> Entry | None:
    return followed.entries[int(number)] if int(number) < len(followed.entries) else None


ROUTES: tuple[tuple[str, Callable[..., Answer]], ...] = (
    (r"/", _page),
    (r"/favicon\.ico", lambda followed, query: (204, "image/x-icon", b"")),
    (r"/index\.json", _index),
    (r"/article/(\d{1,9})", _article),
    (r"/search", _search),
    (r"/image/(\d{1,9})/([^/]+)", _image),
)
