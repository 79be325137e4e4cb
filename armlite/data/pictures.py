"""Images of published rows, whatever form they come in, as paths that a Task can hold.

Embedded ones (bytes, base64, PIL) are written to `images/` under their content's hash; those that are files already
are only named. Nothing is decoded beyond its header, so that a large set costs little.
"""

import base64
import binascii
import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any

from PIL import Image

from armlite.store import write_atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_DATA_URL = re.compile(r"data:image/[a-z+.-]+;base64,")


class Pictures:
    """Where the images of one set go.

    Args:
        out: folder of the task file; None: nothing is written, images are only looked at.
    """

    def __init__(self, out: Path | None = None):
        self.out = out
        self.missing: list[Path] = []
        """Image files that rows name and that are not there."""

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
            png = io.BytesIO()
            value.save(png, "PNG")
            return self._write(png.getvalue())
        if isinstance(value, bytes | bytearray | memoryview):
            return self._write(bytes(value))
        if not isinstance(value, str) or not value:
            raise ValueError(f"is no image but {type(value).__name__}")
        if len(value) > 1024 or _DATA_URL.match(value) or not value.lower().endswith(SUFFIXES):
            return self._write(_decoded(value))
        return self._named(value, root)

    def _named(self, path: str, root: Path) -> str:
        file = Path(os.path.abspath(root / path))
        if not file.is_relative_to(os.path.abspath(root)):
            raise ValueError(f"names {path!r}, outside the set's folder")
        if not file.is_file():
            self.missing.append(file)
        return os.path.relpath(file, self.out or root)

    def _write(self, data: bytes) -> str:
        try:
            with Image.open(io.BytesIO(data)) as image:
                suffix = (image.format or "png").lower()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"holds {len(data)} bytes that are no image") from error
        name = f"images/{hashlib.sha256(data).hexdigest()[:32]}.{'jpg' if suffix == 'jpeg' else suffix}"
        if self.out is not None and not (self.out / name).exists():
            write_atomic(self.out / name, data)
        return name


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(_DATA_URL.sub("", text, count=1), validate=False)
    except (binascii.Error, ValueError) as error:
        raise ValueError("is neither the path of an image nor base64") from error
