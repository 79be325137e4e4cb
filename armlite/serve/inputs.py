"""Pictures and documents of a request: brought along as data, or named relative to the folder of `--files`.

No other path that a client names is opened, and no address is fetched.
"""

import base64
import binascii
import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from PIL import Image, UnidentifiedImageError

from armlite.errors import InputError
from armlite.images import SUFFIXES, decode_image, is_data_url
from armlite.serve.settings import Refusal, ServeSettings
from armlite.tools.documents.pages import open_document

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF")
"""Of pictures. Pillow knows more, one of which (EPS) starts another program."""
LONG = 10
"""Pages from which on a document is read before its judgment begins."""
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):")


class Inputs:
    """What one request has brought along; a context manager, whose end takes documents off the disk again.

    Args:
        settings: the server's limits.
    """

    def __init__(self, settings: ServeSettings):
        self._settings = settings
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._pixels, self._documents = 0, 0

    def __enter__(self) -> "Inputs":
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def images(self, values: Any, field: str = "images") -> list[Image.Image]:
        """Pictures, decoded.

        Args:
            values: one or a list, each a data URL, base64, a relative name, or a mapping that holds one of these.
            field: what a refusal calls it.

        Raises:
            Refusal: one is nothing of that, cannot be read, or is too large.
        """
        several = values if isinstance(values, list | tuple) else [] if values is None else [values]
        return [self.image(value, f"{field}[{n}]") for n, value in enumerate(several)]

    def image(self, value: Any, field: str) -> Image.Image:
        """One picture; see `images`."""
        content = self._content(_inner(value, field), field, SUFFIXES)
        try:
            with Image.open(io.BytesIO(content), formats=_known()) as head:
                self._pixels += head.width * head.height
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise Refusal(f"{field}: its {len(content)} bytes are no picture of a form taken here: PNG, JPEG, WebP, "
                          "GIF, BMP or TIFF") from error  # fmt: skip
        if self._pixels > self._settings.megapixels * 1e6:
            most = f"{self._settings.megapixels:g}"
            raise Refusal(
                f"{field}: the pictures of a request may have {most} megapixels together; make them smaller", 413
            )
        try:
            return decode_image(content, field)
        except InputError as error:
            raise Refusal(str(error)) from error

    def document(self, value: Any, field: str = "document") -> Path | None:
        """A document as a file or folder that may be opened; its name is what the judge calls it.

        Args:
            value: a data URL or base64 of a PDF, a relative name, or a mapping with one of these and perhaps a `name`.
            field: what a refusal calls it.

        Raises:
            Refusal: as `images`.
        """
        if value is None:
            return None
        text = _inner(value, field)
        name = value.get("name", "document") if isinstance(value, dict) else "document"
        if not isinstance(name, str):
            raise Refusal(f"{field}.name must be a text, not {type(name).__name__}")
        named = None if is_data_url(text) or not text.lower().endswith(".pdf") else self._named(text, field)
        if named is None and self._settings.files is not None and not is_data_url(text):
            named = self._folder_named(text, field)
        path = named or self._written(self._content(text, field, ()), name)
        try:
            document = open_document(path)
            if (count := len(document)) <= self._settings.pages and count >= LONG:
                _ = document.index  # read in this thread, since a tool that reads it keeps the whole batch waiting
        except InputError as error:
            raise Refusal(f"{field}: {str(error).replace(str(path), name)}") from error
        if count > self._settings.pages:
            raise Refusal(
                f"{field} has {count} pages; the most is {self._settings.pages}: send the part that matters", 413
            )
        return path

    def _folder_named(self, text: str, field: str) -> Path | None:
        """A folder of page images below `--files`, where the text names one."""
        assert self._settings.files is not None
        if len(text) > 255 or _SCHEME.match(text) or "\0" in text:
            return None
        root = self._settings.files.resolve()
        path = (root / text).resolve()
        return path if path.is_relative_to(root) and path != root and path.is_dir() else None

    def _written(self, content: bytes, name: str) -> Path:
        """A document as a file of the name that its client calls it, in a folder of our own."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="armlite-serve-")
        plain = re.sub(r"[^\w .()+-]+", "_", name).strip(" .").removesuffix(".pdf")[:100] or "document"
        self._documents += 1
        path = Path(self._folder.name) / str(self._documents) / f"{plain}.pdf"
        path.parent.mkdir()
        path.write_bytes(content)
        return path

    def _content(self, text: str, field: str, suffixes: Sequence[str]) -> bytes:
        """The bytes that a text stands for.

        Raises:
            Refusal: it stands for none, or for a place that may not be looked at.
        """
        if is_data_url(text):
            head, comma, body = text.partition(",")
            if not comma:
                raise Refusal(f"{field}: the data URL has no comma, so no data; write data:TYPE;base64,DATA")
            return _decoded(body, field) if head.lower().endswith(";base64") else unquote_to_bytes(body)
        if text.lower().endswith(tuple(suffixes) or "\0"):
            named = self._named(text, field)
            try:
                return named.read_bytes()
            except OSError as error:
                raise Refusal(f"{field}: {_cut(text)} cannot be read") from error
        if scheme := _SCHEME.match(text):
            raise Refusal(f"{field}: no address ({scheme[1]}:) is fetched here; send the data itself, as a data URL")
        return _decoded(text, field)

    def _named(self, text: str, field: str) -> Path:
        """A file below the folder of `--files`.

        Raises:
            Refusal: there is no such folder or file, or the name leads out of the folder.
        """
        if scheme := _SCHEME.match(text):
            raise Refusal(f"{field}: no address ({scheme[1]}:) is fetched here; send the data itself, as a data URL")
        if self._settings.files is None:
            way = "send the data itself, as a data URL, or ask whoever runs the server for --files"
            raise Refusal(f"{field}: {_cut(text)} names a file; {way}")
        if "\0" in text or "\\" in text or len(text) > 1024 or Path(text).is_absolute():
            raise Refusal(f"{field}: {_cut(text)} is no relative name")
        root = self._settings.files.resolve()
        try:
            path = (root / text).resolve()
            inside = path.is_relative_to(root) and path.is_file()
        except (OSError, RuntimeError) as error:  # a name that is too long, links that go in a circle
            raise Refusal(f"{field}: there is no file {_cut(text)}") from error
        if not inside:
            raise Refusal(f"{field}: there is no file {_cut(text)}")
        return path


def _inner(value: Any, field: str) -> str:
    """The text within a value: itself, or what a mapping holds under one of the usual names."""
    while isinstance(value, dict):
        value = next(
            (value[key] for key in ("url", "image_url", "data", "bytes", "data_base64") if value.get(key)), None
        )
    if not isinstance(value, str) or not value.strip():
        raise Refusal(f"{field} must be a data URL or base64, not {'empty' if value == '' else type(value).__name__}")
    return value


def _decoded(text: str, field: str) -> bytes:
    packed = "".join(text.split())
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(f"{field}: {_cut(text)} is neither a data URL nor base64") from error


def _known() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _cut(text: str) -> str:
    shown = text if len(text) <= 40 else text[:37] + "..."
    return repr(shown)
