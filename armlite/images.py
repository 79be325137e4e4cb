"""Opening, shrinking and naming pictures: the one place where an image file becomes pixels.

A file is decoded once for all who open it, and an image is hashed once however many ask: rollouts of a task show the
same picture many times. Nobody sees what another draws on it, since Pillow copies pixels that are marked read-only
before it changes them.
"""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from PIL import ExifTags, Image, ImageOps

from armlite.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Endings of the files that are taken for pictures."""
MAX_PIXELS = 120_000_000
"""Larger pictures are refused before decoding: their pixels alone would take more than 0.34 GiB."""
MAX_RATIO = 200
"""Side ratio above which Qwen2.5-VL's image processor refuses an image."""
CACHE_BYTES = 256 << 20
"""Decoded files that are kept, the last opened ones; Pillow holds an RGB pixel in 4 bytes."""
_NOTES = "_armlite_notes"
Key = TypeVar("Key")
Thing = TypeVar("Thing")


class Kept(OrderedDict[Key, Thing]):
    """The things asked for last, by their keys; safe for threads, which may make one twice."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def take(
        self, key: Key, make: Callable[[], Thing], most: float, size: Callable[[Thing], float] = lambda thing: 1
    ) -> Thing:
        """The thing of a key, made if it is not here; of all only as many are kept as have no more size than `most`."""
        with self._lock:
            if key in self:
                self.move_to_end(key)
                return self[key]
        made = make()
        with self._lock:
            self[key] = made
            while sum(map(size, self.values())) > most:
                self.popitem(last=False)
        return made


_OPENED: Kept[tuple[str, int, int], tuple[Image.Image, bool]] = Kept()


def open_image(path: Path | str) -> Image.Image:
    """An image file as RGB, turned as its EXIF data says, transparency on white.

    Raises:
        InputError: missing, not an image, damaged, or more than `MAX_PIXELS` pixels.
    """
    return shared_view(_opened(Path(path))[0])


def is_as_stored(path: Path | str) -> bool:
    """Whether `open_image` gives the pixels that any reader finds in the file: it is neither turned nor flattened.

    Raises:
        InputError: as `open_image`.
    """
    return _opened(Path(path))[1]


def as_png(image: Image.Image, **options: Any) -> bytes:
    """The image as a PNG file; options are Pillow's."""
    data = io.BytesIO()
    image.save(data, "PNG", **options)
    return data.getvalue()


def image_key(image: Image.Image) -> str:
    """Hash of an RGB image's size and pixels, 32 hexadecimal digits; computed once as long as they do not change."""
    notes = _notes(image)
    if "key" not in notes:
        digest = hashlib.sha256(f"{image.size}".encode())
        digest.update(image.tobytes())
        notes["key"] = digest.hexdigest()[:32]
    return notes["key"]


def _opened(path: Path) -> tuple[Image.Image, bool]:
    """A file's image and whether it is as stored: from the cache unless the file is another by now."""
    try:
        key = state_of(path)
    except OSError:  # `_reading` says what is wrong
        return _decode(path)
    return _OPENED.take(key, lambda: _decode(path), CACHE_BYTES, lambda kept: 4 * kept[0].width * kept[0].height)


def state_of(path: Path) -> tuple[str, int, int]:
    """A file's place, time and size: another one once it has changed."""
    status = path.stat()
    return str(path.resolve()), status.st_mtime_ns, status.st_size


def check_head(path: Path) -> None:
    """Look at a file's head only, since decoding every page of a long document would take minutes.

    Raises:
        InputError: as `open_image`, where the head tells.
    """
    with _reading(path):
        pass


def check_image(path: Path | str) -> None:
    """Read a file to its end, at an eighth of its size where its format allows; keeps nothing.

    Raises:
        InputError: as `open_image`.
    """
    with _reading(Path(path)) as image:
        image.draft("RGB", (image.width // 8, image.height // 8))
        image.load()


def _decode(path: Path) -> tuple[Image.Image, bool]:
    with _reading(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return to_rgb(ImageOps.exif_transpose(image)), not turned and not _has_transparency(image)


@contextmanager
def _reading(path: Path) -> Iterator[Image.Image]:
    """A file's image, its pixels not read yet; what is wrong with the file as an InputError."""
    if not path.is_file():
        raise InputError(f"image {path} does not exist" if not path.exists() else f"image {path} is not a file")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"image {path} has {image.width * image.height / 1e6:.0f} megapixels; the most is "
                    f"{MAX_PIXELS / 1e6:.0f}: make it smaller first"
                )
            yield image
    except Image.DecompressionBombError as error:
        raise InputError(f"image {path} is too large: the most is {MAX_PIXELS / 1e6:.0f} megapixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"image {path} cannot be read ({error}): is it a complete picture file?") from error


def _notes(image: Image.Image) -> dict[Any, Any]:
    """What is known of an image's pixels. It lives with the image, and is forgotten when the pixels change."""
    image.load()
    notes = vars(image).get(_NOTES)
    if notes is None or notes["pixels"] is not image.im:
        notes = vars(image)[_NOTES] = {"pixels": image.im}
        image.readonly = 1  # whoever changes this image from now on gets other `pixels`: Pillow copies them first
    return notes


def shared_view(image: Image.Image) -> Image.Image:
    """Another image with the same pixels, not copied: whoever changes one of them leaves the other as it is."""
    notes = _notes(image)
    view = image._new(image.im)
    view.readonly, vars(view)[_NOTES] = 1, notes
    return view


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB copy with transparency on white."""
    if _has_transparency(image):
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def _has_transparency(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def shrink(image: Image.Image, max_pixels: int) -> Image.Image:
    """The image with its proportions and at most `max_pixels` pixels; never enlarged, and shrunk to a size once.

    Raises:
        InputError: it is more than `MAX_RATIO` times as long as wide.
    """
    if max(image.size) > MAX_RATIO * min(image.size):
        raise InputError(
            f"an image of {image.width} x {image.height} pixels cannot be shown: it is more than {MAX_RATIO} times as "
            "long as wide; cut it into parts"
        )
    area = image.width * image.height
    if area <= max_pixels:
        return image
    notes, key = _notes(image), ("shrunk to", max_pixels)
    if key not in notes:
        scale = (max_pixels / area) ** 0.5
        width, height = (max(1, int(side * scale)) for side in image.size)
        # A side of 0.3 pixels is one of 1: a thin strip gets shorter, or it would be too long and too large.
        most = min(MAX_RATIO, max_pixels)
        size = (min(width, most * height), min(height, most * width))
        notes[key] = image.resize(size, Image.Resampling.BICUBIC)
    return shared_view(notes[key])
