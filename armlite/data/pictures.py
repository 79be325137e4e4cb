"""Images and documents of published rows, whatever form they come in, as paths that a Task can hold.

Embedded ones (bytes, base64, PIL) are written to `images/` under their content's hash; those that are the user's files
already are only named, and files in the hub's cache, which may be cleared, are linked. Of an image only the header is
decoded, so that a large set takes little time.
"""

import base64
import binascii
import hashlib
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from armlite.data.archives import Zips
from armlite.errors import InputError
from armlite.images import SUFFIXES, as_png, to_rgb
from armlite.store import file_digest, relative, write_atomic

_PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
_DATA_URL = re.compile(r"data:image/[a-z+.-]+;base64,")


class Pictures:
    """Where the images of one set go.

    Args:
        out: folder of the task file; None: nothing is written, images are only looked at.
        links: link files that rows name into `out`, too.
    """

    def __init__(self, out: Path | None = None, links: bool = False):
        self.out, self._links = out, links
        self.missing: list[Path] = []
        """Files that rows name and that are not there."""
        self._zips: dict[Path, Zips] = {}

    def keep(self, value: Any, root: Path) -> str:
        """Path of an image, relative to `out`.

        Args:
            value: a PIL image, `{"bytes": ..., "path": ...}`, bytes, a base64 string (a data URL too) or a path.
            root: folder that a path is relative to.

        Raises:
            ValueError: it is none of these, or no image.
        """
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, Image.Image):
            try:
                png = as_png(value if value.mode in _PNG_MODES else to_rgb(value))
            except InputError as error:
                raise ValueError(str(error)) from error
            return self._write(png)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._write(bytes(value))
        if not isinstance(value, str) or not value:
            raise ValueError(f"is no image but {type(value).__name__}")
        if len(value) > 1024 or _DATA_URL.match(value) or not value.lower().endswith(SUFFIXES):
            return self._write(_decoded(value))
        packed = None if os.path.isfile(root / value) else self._packed(value, root)
        return self.named(value, root) if packed is None else self._write(packed)

    def _packed(self, path: str, root: Path) -> bytes | None:
        """A file that lies in a zip below the folder, its zips being looked through when first asked for."""
        if root not in self._zips:
            self._zips[root] = Zips(root)
        return self._zips[root].read(path)

    def named(self, path: str, root: Path) -> str:
        """Path of a file that a row names (an image, a PDF), or of a folder of pages, relative to `out`.

        One that is not there is added to `missing`.

        Args:
            root: folder that the path is relative to.

        Raises:
            ValueError: it is outside that folder, or no path.
        """
        file = Path(os.path.abspath(root / path))
        if not file.is_relative_to(os.path.abspath(root)):
            raise ValueError(f"names {path!r}, outside the set's folder")
        try:
            there = file.exists()
        except OSError as error:
            raise ValueError(f"is no path: {path[:40]!r} ({error.strerror})") from error
        if not there:
            self.missing.append(file)
        elif self._links and self.out is not None:
            return self._linked(file, self.out)
        return relative(file, self.out or root)

    def _linked(self, file: Path, out: Path) -> str:
        """A file under its content's hash; a document keeps its name, which judges read, as a folder of pages does."""
        if file.is_dir():
            pages = sorted(page for page in file.iterdir() if page.is_file())
            digest = hashlib.sha256("\n".join(map(file_digest, pages)).encode()).hexdigest()
            name = f"documents/{digest[:12]}/{file.name}"
            for page in pages:
                _link(page.resolve(), out / name / page.name)
            return name
        digest, suffix = file_digest(file), file.suffix.lower()
        name = f"images/{digest}{suffix}" if suffix in SUFFIXES else f"documents/{digest[:12]}/{file.name}"
        _link(file.resolve(), out / name)  # the cache's own files are links, which a cleared one takes along
        return name

    def pages(self, paths: Sequence[str], name: str) -> str:
        """Folder of a document, relative to `out`, with its pages as `p_001.jpg` ... in the order given.

        A page is linked, and copied only where the disk cannot link, so that documents that share pages cost little.
        The folder's name ends in a digest of its pages, since questions may show different parts of one document.

        Args:
            paths: the pages, as `keep` returned them.
            name: the document's.
        """
        digest = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:12]
        folder = f"documents/{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[:80]}-{digest}"
        if self.out is not None:
            for number, path in enumerate(paths, 1):
                page = Path(os.path.normpath(self.out / path))  # `out/../` needs no folder `out` yet
                _link(page, self.out / folder / f"p_{number:03d}{Path(path).suffix.lower()}")
        return folder

    def _write(self, data: bytes) -> str:
        try:
            with Image.open(io.BytesIO(data)) as image:
                suffix = (image.format or "png").lower()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"holds {len(data)} bytes that are no image") from error
        suffix = "jpg" if suffix in ("jpeg", "mpo") else suffix  # MPO: a JPEG with further pictures behind it
        name = f"images/{hashlib.sha256(data).hexdigest()[:32]}.{suffix}"
        if self.out is not None and not (self.out / name).exists():
            write_atomic(self.out / name, data)
        return name


def _link(source: Path, target: Path) -> None:
    if target.exists() or not source.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        write_atomic(target, source.read_bytes())


def _decoded(text: str) -> bytes:
    """The bytes that base64 spells; lines may be broken. A path with an unknown ending gets here too."""
    try:
        return base64.b64decode("".join(_DATA_URL.sub("", text, count=1).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is neither the path of an image nor base64: {text[:60]!r}") from error
