"""A small Hugging Face hub on this machine: what its unmodified clients ask for, answered from folders.

Models and data sets are read into memory as commits; pushes make new ones. Info, tree, paths, resolve (ETag, commit,
linked size, a redirect for large files, ranges), who one is, and the way of a push (create, preupload, LFS, commit).
It can fail as the real one does: gated and missing repositories, 429 with Retry-After, 500, bodies that are cut, ETags
that change. Xet, pull requests, branches and search are not there.
"""

import base64
import hashlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 10_000
"""Bytes from which on a file is kept apart (LFS): resolving it leads to another address."""
LFS = (".safetensors", ".parquet", ".zip", ".bin", ".gguf")
TOKEN = "hf_local"
"""Who sends it is let into gated repositories and may push."""
FAULTS = ("429", "500", "cut", "etag")


@dataclass
class Repository:
    """What is at one id: each commit is a mapping of paths to digests of contents."""

    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    head: str = ""
    private: bool = False
    gated: bool = False


@dataclass
class Hub:
    """Repositories by kind and id (`models/owner/name`), their contents, and how it fails."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """`METHOD path` of each request."""
    failed: list[str] = field(default_factory=list)
    """`kind METHOD path` of each request that was made to fail."""
    once: dict[str, str] = field(default_factory=dict)
    """`METHOD path` -> how the next such request is to fail."""
    url: str = ""
    apart: str = ""
    """The same under another name, as contents are on another machine: clients follow some redirects, not all."""
    _share: float = 0.0
    _kinds: Sequence[str] = ()
    _seed: int = 0
    _times: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self, place: str, folder: Path, gated: bool = False, private: bool = False, commit: str | None = None
    ) -> Repository:
        """Put what is in a folder at `models/OWNER/NAME` or `datasets/OWNER/NAME`, as a new commit of a given id."""
        repository = self.repositories.setdefault(place, Repository())
        repository.gated, repository.private = gated, private
        files = (file for file in sorted(folder.rglob("*")) if file.is_file())
        contents = {str(file.relative_to(folder)): self.keep(file.read_bytes()) for file in files}
        self.commit(repository, contents, commit)
        return repository

    def keep(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.contents[digest] = data
        return digest

    def commit(self, repository: Repository, files: dict[str, str], commit: str | None = None) -> None:
        text = json.dumps([len(repository.commits), sorted(files.items())])
        repository.head = commit or hashlib.sha1(text.encode()).hexdigest()
        repository.commits[repository.head] = files

    def fail(self, share: float, kinds: Sequence[str] = FAULTS, seed: int = 0) -> None:
        """Let so large a share of the requests fail from now on: always the same, in whatever order they come."""
        self._share, self._kinds, self._seed = share, kinds, seed
        self._times.clear()
        self.failed.clear()

    def fault(self, method: str, path: str) -> str:
        """How this request is to fail; empty: not at all."""
        with self._lock:
            asked = f"{method} {path}"
            self.asked.append(asked)
            self._times[asked] += 1
            if planned := self.once.pop(asked, ""):
                self.failed.append(f"{planned} {asked}")
                return planned
            chance = random.Random(f"{self._seed} {asked} {self._times[asked]}")
            if path == "/" or chance.random() >= self._share:
                return ""
            kind = chance.choice(self._kinds)
            self.failed.append(f"{kind} {asked}")
            return kind

    def files(self, place: str) -> dict[str, bytes]:
        """Contents at the newest commit."""
        repository = self.repositories[place]
        return {path: self.contents[digest] for path, digest in repository.commits[repository.head].items()}


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, why: str, **headers: str):
        super().__init__(why)
        self.status, self.headers = status, headers


class Handler(BaseHTTPRequestHandler):
    """One connection; `hub` is set by `serve_hub`."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """stderr is for progress."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        path = unquote(urlsplit(self.path).path)
        self._kind = self.hub.fault(self.command, path)
        try:
            if self._kind == "429":
                raise Refusal(429, "too many requests", **{"Retry-After": "0"})
            if self._kind == "500":
                raise Refusal(500, "internal error")
            for method, pattern, answer in ROUTES:
                if method in (self.command, "ANY") and (found := re.fullmatch(pattern, path)):
                    answer(self, body, **found.groupdict())
                    return
            raise Refusal(404, f"nothing at {path}")
        except Refusal as refusal:
            self._send(refusal.status, json.dumps({"error": str(refusal)}).encode(), refusal.headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self._kind == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
        else:
            self.wfile.write(data)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _repository(self, kind: str, name: str, inside: bool) -> Repository:
        """What is there for who asks; `inside`: its files are wanted, which a gated one shows to few."""
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        found = self.hub.repositories.get(f"{kind}/{name}")
        if found is None or (found.private and not known):
            raise Refusal(401 if not known else 404, "Repository not found", **{"X-Error-Code": "RepoNotFound"})
        if inside and found.gated and not known:
            raise Refusal(401, f"Access to {name} is restricted", **{"X-Error-Code": "GatedRepo"})
        return found

    def _commit(self, repository: Repository, revision: str | None) -> str:
        commit = repository.head if revision in (None, "main") else str(revision)
        if commit not in repository.commits:
            raise Refusal(404, f"no revision {revision}", **{"X-Error-Code": "RevisionNotFound"})
        return commit

    def _entry(self, path: str, digest: str) -> dict[str, Any]:
        data = self.hub.contents[digest]
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        large = {"lfs": {"oid": digest, "size": len(data), "pointerSize": 130}} if is_large(path, data) else {}
        return {"type": "file", "path": path, "oid": oid, "size": len(data), **large}

    def info(self, _: bytes, kind: str, name: str, revision: str | None = None) -> None:
        repository = self._repository(kind, name, inside=False)
        commit = self._commit(repository, revision)
        siblings = [{"rfilename": path} for path in repository.commits[commit]]
        about = {"_id": name, "id": name, "modelId": name, "sha": commit, "private": repository.private}
        about |= {"gated": "manual" if repository.gated else False, "disabled": False, "downloads": 0, "likes": 0}
        self._json({**about, "tags": [], "siblings": siblings, "cardData": {}, "lastModified": WHEN, "createdAt": WHEN})

    def tree(self, _: bytes, kind: str, name: str, revision: str, under: str | None = None) -> None:
        repository = self._repository(kind, name, inside=True)
        files = repository.commits[self._commit(repository, revision)]
        start = f"{under}/" if under else ""
        below = {path: digest for path, digest in files.items() if path.startswith(start)}
        if under and not below:
            raise Refusal(404, f"nothing at {under}", **{"X-Error-Code": "EntryNotFound"})
        deep = "true" in parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower()
        folders = {str(folder) for path in below for folder in Path(path).parents if str(folder) not in (".", under)}
        entries = [{"type": "directory", "path": f, "oid": "0" * 40, "size": 0} for f in sorted(folders)]
        entries += [self._entry(path, digest) for path, digest in below.items()]
        self._json([entry for entry in entries if deep or "/" not in entry["path"][len(start) :]])

    def paths_info(self, body: bytes, kind: str, name: str, revision: str) -> None:
        repository = self._repository(kind, name, inside=True)
        files = repository.commits[self._commit(repository, revision)]
        is_json = "json" in (self.headers.get("Content-Type") or "")
        paths = json.loads(body)["paths"] if is_json else parse_qs(body.decode()).get("paths", [])
        found = [self._entry(path, files[path]) for path in paths if path in files]
        folders = [p for p in paths if p not in files and any(file.startswith(f"{p}/") for file in files)]
        self._json(found + [{"type": "directory", "path": path, "oid": "0" * 40} for path in folders])

    def refs(self, _: bytes, kind: str, name: str) -> None:
        head = self._repository(kind, name, inside=False).head
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": head}
        self._json({"branches": [branch], "converts": [], "tags": [], "pullRequests": []})

    def resolve(self, _: bytes, name: str, revision: str, path: str, prefix: str | None = None) -> None:
        repository = self._repository((prefix or "models/").rstrip("/"), name, inside=True)
        commit = self._commit(repository, revision)
        about = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        digest = repository.commits[commit].get(path)
        if digest is None:
            raise Refusal(404, f"no file {path}", **{"X-Error-Code": "EntryNotFound", **about})
        data = self.hub.contents[digest]
        entry = self._entry(path, digest)
        tag = "changed-" * (self._kind == "etag") + (digest if "lfs" in entry else entry["oid"])
        if "lfs" in entry:
            about |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{tag}"'}
            self._send(302, b"", {**about, "Location": f"{self.hub.apart}/contents/{digest}"})
        else:
            self._part(data, {**about, "ETag": f'"{tag}"'})

    def content(self, _: bytes, digest: str) -> None:
        self._part(self.hub.contents[digest], {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"})

    def _part(self, data: bytes, headers: dict[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted:
            self._send(200, data, headers)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if start >= len(data):
            raise Refusal(416, "beyond the end", **{"Content-Range": f"bytes */{len(data)}"})
        self._send(206, data[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"})

    def home(self, _: bytes) -> None:
        self._send(200, b"a hub")

    def whoami(self, _: bytes) -> None:
        self._may_write()
        self._json({"type": "user", "id": "1", "name": "tester", "fullname": "A Tester", "orgs": [], "auth": {}})

    def _may_write(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, "Invalid username or password.")

    def create(self, body: bytes) -> None:
        self._may_write()
        wanted = json.loads(body)
        name = f"{wanted.get('organization') or 'tester'}/{wanted['name']}"
        place = f"{wanted.get('type', 'model')}s/{name}"
        if place in self.hub.repositories:
            known = {"error": "You already created this repo", "url": f"{self.hub.url}/{name}"}
            self._send(409, json.dumps(known).encode())
            return
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.repositories[place] = Repository(private=private)
        self.hub.commit(self.hub.repositories[place], {})
        self._json({"url": f"{self.hub.url}/{name}", "name": name, "id": name})

    def valid_yaml(self, _: bytes) -> None:
        self._json({"errors": [], "warnings": []})

    def preupload(self, body: bytes, kind: str, name: str, revision: str) -> None:
        self._may_write()
        files = []
        for file in json.loads(body)["files"]:
            large = file["size"] >= LARGE or file["path"].endswith(LFS)
            files += [{"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}]
        self._json({"files": files})

    def lfs(self, body: bytes, name: str, prefix: str | None = None) -> None:
        self._may_write()
        objects = []
        for wanted in json.loads(body)["objects"]:
            there = wanted["oid"] in self.hub.contents
            upload = {"actions": {"upload": {"href": f"{self.hub.url}/uploads/{wanted['oid']}"}}}
            objects += [{**wanted, **({} if there else upload)}]
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, digest: str) -> None:
        if hashlib.sha256(body).hexdigest() != digest:
            raise Refusal(400, "that is another file")
        self.hub.keep(body)
        self._send(200, b"")

    def push(self, body: bytes, kind: str, name: str, revision: str) -> None:
        self._may_write()
        repository = self._repository(kind, name, inside=True)
        files = dict(repository.commits[repository.head])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = self.hub.keep(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.contents:
                    raise Refusal(400, f"{value['path']} was not uploaded")
                files[value["path"]] = value["oid"]
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        self.hub.commit(repository, files)
        url = f"{self.hub.url}/{name}/commit/{repository.head}"
        self._json({"success": True, "commitOid": repository.head, "commitUrl": url, "hookOutput": ""})


def is_large(path: str, data: bytes) -> bool:
    return len(data) >= LARGE or path.endswith(LFS)


WHEN = "2026-01-01T00:00:00.000Z"
NAMED = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
GIT = r"/(?P<prefix>datasets/)?(?P<name>[^/]+/[^/]+)"
ROUTES: list[tuple[str, str, Any]] = [
    ("ANY", "/", Handler.home),
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.valid_yaml),
    ("GET", NAMED + r"(/revision/(?P<revision>[^/]+))?", Handler.info),
    ("GET", NAMED + r"/tree/(?P<revision>[^/]+)(/(?P<under>.+))?", Handler.tree),
    ("POST", NAMED + r"/paths-info/(?P<revision>[^/]+)", Handler.paths_info),
    ("GET", NAMED + "/refs", Handler.refs),
    ("POST", NAMED + r"/preupload/(?P<revision>[^/]+)", Handler.preupload),
    ("POST", NAMED + r"/commit/(?P<revision>[^/]+)", Handler.push),
    ("POST", GIT + r"\.git/info/lfs/objects/batch", Handler.lfs),
    ("PUT", r"/uploads/(?P<digest>\w+)", Handler.upload),
    ("GET", r"/contents/(?P<digest>\w+)", Handler.content),
    ("HEAD", r"/contents/(?P<digest>\w+)", Handler.content),
    ("GET", GIT + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
    ("HEAD", GIT + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
]


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A hub at `hub.url` as long as the block lasts."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url, hub.apart = (f"http://{host}:{server.server_address[1]}" for host in ("127.0.0.1", "localhost"))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(hub: Hub, home: Path, token: str = "") -> dict[str, str]:
    """What makes the clients of a new process ask this hub, and keep what they get in a folder of their own."""
    told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {**told, "HF_TOKEN": token, "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
