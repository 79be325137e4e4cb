"""Requests made up from an OpenAPI document, by the number of a seed; and what a process opens and asks meanwhile."""

import base64
import io
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

WATCHED = ("open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.listdir", "os.scandir")
"""What an audit hook is told of."""


def _picture() -> str:
    data = io.BytesIO()
    Image.new("RGB", (40, 30), "green").save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


HOSTILE = (
    *("/etc/hostname", "/etc/hosts.png", "../../../etc/hosts.png", "file:///etc/hosts.png", "~/.bashrc", "C:\\a.png"),
    *("http://127.0.0.1:9/a.png", "https://example.org/a.pdf", "ftp://x/a.png", "//x/y.png", "/proc/self/environ.pdf"),
    *("data:image/png;base64,AAAA", "data:application/pdf;base64,JVBERi0xLjQ=", "data:,", "data:image/png", _picture()),
    *("", " ", "\x00", "\ud7ff", "<answer>x</answer>", "<|im_end|>", "{" * 50, "9" * 400, "é" * 3000, "null", "[1, 2]"),
    *("resp_1", "A", "Yes", "0", "true", "tie"),
)
"""Texts that somebody might try."""
ODD: tuple[Any, ...] = (None, True, False, 0, -1, 10**12, 1.5, -0.0, 1e300, [], {}, [[]], [None], {"a": {}}, {"": ""})


class Cases:
    """A source of requests.

    Args:
        document: the OpenAPI document.
        seed: of all that is made up.
    """

    def __init__(self, document: dict[str, Any], seed: int):
        self._document, self._draw = document, random.Random(seed)

    def requests(self, count: int) -> Iterator[tuple[str, Any]]:
        """Path and body of so many requests to the routes that take one, in turn."""
        routes = [(path, route["post"]) for path, route in self._document["paths"].items() if "post" in route]
        for number in range(count):
            path, route = routes[number % len(routes)]
            schema = route["requestBody"]["content"]["application/json"]["schema"]
            wild = self._draw.random() < 0.05
            yield path, self._odd() if wild else self.value(schema)

    def value(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """A value that mostly goes with a schema."""
        draw = self._draw
        if draw.random() < 0.02:
            return self._odd()
        if "$ref" in schema:
            return self.value(self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], depth)
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return self.value(draw.choice(options), depth)
        if "const" in schema or "enum" in schema:
            return draw.choice([schema["const"]] if "const" in schema else schema["enum"])
        if "prefixItems" in schema:
            return [self.value(part, depth + 1) for part in schema["prefixItems"]]
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            few = draw.choice((0, 1, 1, 2, 2, 3)) if depth < 6 else 0
            return [self.value(schema.get("items", {}), depth + 1) for _ in range(few)]
        if kind == "string":
            return draw.choice(HOSTILE) if draw.random() < 0.3 else draw.choice(("Which?", "Ulm", "Bern", "a b c"))
        if kind in ("integer", "number"):
            return draw.choice((0, 1, 2, 3, 64, -1, 7))
        if kind == "boolean":
            return draw.random() < 0.3
        return None if kind == "null" else self._odd()

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        draw, made = self._draw, {}
        full = draw.choice((0.1, 0.3, 0.3, 0.7))
        for name, part in schema.get("properties", {}).items():
            if name in schema.get("required", ()) or draw.random() < full:
                made[name] = self.value(part, depth + 1)
        more = schema.get("additionalProperties")
        if isinstance(more, dict) and depth < 6:
            for _ in range(draw.choice((1, 2, 3))):
                made[draw.choice(HOSTILE)] = self.value(more, depth + 1)
        return made

    def _odd(self) -> Any:
        return self._draw.choice((*ODD, *HOSTILE))


class Watch:
    """Writes down what this process opens and asks while it is on. The hook stays, since hooks cannot be taken out."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[tuple[str, str]] = []
        own = (sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[1]), "/dev/", "/tmp/armlite-serve-")
        self._own = (*own, str(Path(tempfile.gettempdir()) / "armlite-serve-"))
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in WATCHED:
            return
        what = str(arguments[1] if event == "socket.connect" else arguments[0])
        if event in ("open", "os.listdir", "os.scandir") and (what.isdigit() or what.startswith(self._own)):
            return  # modules that are imported late, and documents in our own folder
        self.seen.append((event, what))
