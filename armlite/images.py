"""Opening, shrinking and naming pictures: the one place where an image file becomes pixels.

A file is decoded once for all who open it, and an image is hashed once however many ask: rollouts of a task show the
same picture many times. Nobody sees what another draws on it, since Pillow copies pixels that are marked read-only
before it changes them.
"""

import base64
import hashlib
import importlib.util
import io
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from PIL import ExifTags, Image, ImageChops, ImageCms

from armlite.errors import InputError, cut
from armlite.kept import Kept

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Endings of the files that are taken for pictures."""
MAX_PIXELS = 120_000_000
"""Larger pictures are refused before decoding: their pixels alone would take more than 0.34 GiB."""
MAX_ASPECT = 200
"""Pictures longer than so many times their width are refused here, since image processors do so without a name."""
CACHE_BYTES = 256 << 20
"""Decoded files that are kept, the last opened ones; Pillow holds an RGB pixel in 4 bytes."""
_NOTES = "_armlite_notes"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what shows the picture upright."""
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_COMMON = ("JPEG", "PNG")
"""What every server reads."""
_FOREIGN = (
    (b"<svg", "it is an SVG drawing; export it as PNG first"),
    (b"%PDF-", "it is a PDF; give it as the document, or save the page as PNG"),
    (b"JXL ", "it is a JPEG XL picture; save it as PNG or JPEG first"),
    (b"<html", "it is a web page, not the picture on it"),
    (b"git-lfs", "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"),
)
"""What a file that is no picture may begin with, and the way out."""
Thing = TypeVar("Thing")
_OPENED: Kept[tuple[str, int, int], tuple[Image.Image, bool]] = Kept()


def open_image(path: Path | str) -> Image.Image:
    """An image file or `data:` URL as RGB, as a colour-managed viewer shows it: see `to_rgb`; turned as EXIF data say.

    Raises:
        InputError: missing, not an image, damaged, more than `MAX_PIXELS` pixels, longer than `MAX_ASPECT` allows.
    """
    return shared_view(_opened(_source(path))[0])


def decode_image(data: bytes, name: str) -> Image.Image:
    """The content of an image file, as `open_image`.

    Args:
        name: what an error calls it.
    """
    return _shown_upright(_pixels(data, name), name)[0]


def is_data_url(path: Path | str) -> bool:
    """Whether an image is given by its content instead of a path."""
    return isinstance(path, str) and path[:5].lower() == "data:"


def image_source(root: Path | str, path: str) -> Path | str:
    """Where an image of a task is: a path below `root`, or the `data:` URL that it is."""
    return path if is_data_url(path) else Path(root) / path


def is_as_stored(path: Path | str) -> bool:
    """Whether `open_image` gives the pixels that any reader finds in the file: not turned, flattened or converted.

    Raises:
        InputError: as `open_image`.
    """
    return _opened(_source(path))[1]


def as_png(image: Image.Image, **options: Any) -> bytes:
    """The image as a PNG file; options are Pillow's."""
    data = io.BytesIO()
    image.save(data, "PNG", **options)
    return data.getvalue()


def image_key(image: Image.Image) -> str:
    """Hash of an RGB image's size and pixels, 32 hexadecimal digits; computed once as long as they do not change."""

    def key() -> str:
        digest = hashlib.sha256(f"{image.size}".encode())
        digest.update(image.tobytes())
        return digest.hexdigest()[:32]

    return remembered(image, "key", key)


def _source(path: Path | str) -> Path | str:
    return path if is_data_url(path) else Path(path)


def _opened(path: Path | str) -> tuple[Image.Image, bool]:
    """A file's image and whether it is as stored: from the cache unless the file is another by now."""
    try:
        key = state_of(path)
    except (OSError, ValueError):  # `_read` says what is wrong
        return _decode(path)
    return _OPENED.take(key, lambda: _decode(path, key), CACHE_BYTES, lambda kept: 4 * kept[0].width * kept[0].height)


def check_file(path: Path, name: str, folders: bool = False) -> None:
    """See that there is a file (or a folder), and that this may be known.

    Raises:
        InputError: so it is not.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{cut(name, 300)} does not exist") from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{cut(name, 300)} cannot be read ({why})") from error
    if not (stat.S_ISREG(mode) or (folders and stat.S_ISDIR(mode))):
        raise InputError(f"{cut(name, 300)} is not a file")


def state_of(path: Path | str) -> tuple[str, int, int]:
    """A file's place, time and size: another one once it has changed. Of a `data:` URL itself."""
    if isinstance(path, str):
        return path, 0, 0
    status = path.stat()
    return str(path.resolve()), status.st_mtime_ns, status.st_size


def check_image(path: Path | str) -> None:
    """Read a file to its end, at an eighth of its size where its format allows; keeps nothing.

    Raises:
        InputError: as `open_image`.
    """
    _read(_source(path), eighth=True)


def check_head(path: Path | str) -> None:
    """Look at a file's head only: decoding every page of a long document would take minutes.

    Raises:
        InputError: as `open_image`, where the head shows it.
    """
    _read(_source(path), pixels=False)


def _decode(path: Path | str, state: tuple[str, int, int] | None = None) -> tuple[Image.Image, bool]:
    image = _read(path)
    rgb, changed = _shown_upright(image, _name(path))
    as_stored = not changed and isinstance(path, Path)
    if as_stored and state and image.format in _COMMON and image.mode in ("RGB", "L", "P", "1"):
        _notes(rgb)["file"] = path, state, image.format.lower()
    return rgb, as_stored


def own_file(image: Image.Image) -> tuple[str, bytes] | None:
    """Kind (`jpeg`, `png`) and content of the file that an opened image is the very pixels of, as any reader finds
    them; None where there is none (shrunk, turned, cropped), or the file has changed since, or is mostly other data.
    """
    path, state, kind = _notes(image).get("file", (None, None, ""))
    try:
        if path is None or state_of(path) != state or state[2] > 4 * image.width * image.height + 65536:
            return None
        return kind, path.read_bytes()
    except OSError:
        return None


def remembered(image: Image.Image, what: str, make: Callable[[], Thing]) -> Thing:
    """What is made of an image's pixels, made once as long as they do not change."""
    notes = _notes(image)
    if what not in notes:
        notes[what] = make()
    return notes[what]


def _shown_upright(image: Image.Image, name: str) -> tuple[Image.Image, bool]:
    """The image as `open_image` gives it, and whether that is another than any reader finds in the file."""
    rgb, converted = _shown(image, name)
    turn = _TURNS.get(image.info["orientation"])
    return rgb if turn is None else rgb.transpose(turn), converted or turn is not None or image.format == "HEIF"


def _name(path: Path | str) -> str:
    return f"image {path}" if isinstance(path, Path) else f"image {path[:40]}..."


def _read(path: Path | str, eighth: bool = False, pixels: bool = True) -> Image.Image:
    """A file's image, or that of a `data:` URL, as `_pixels` gives it."""
    if not isinstance(path, Path):
        head, _, body = path.partition(",")
        try:
            data = base64.b64decode(body, validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
        except ValueError as error:
            raise InputError(f"{_name(path)} cannot be read ({error}): is it all of the base64 text?") from error
        return _pixels(data, _name(path), eighth, pixels)
    check_file(path, _name(path))
    return _pixels(path, _name(path), eighth, pixels)


def _pixels(source: Path | bytes, name: str, eighth: bool = False, pixels: bool = True) -> Image.Image:
    """A file's image, its EXIF orientation in `info`; what is wrong with the file as an InputError."""
    advice = "is it a complete picture file?"
    try:
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
            head = file.read(1024)
        advice = next((way for mark, way in _FOREIGN if mark.lower() in head.lower()), advice)
        if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
            advice = _read_heic()
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
            check_shape(image.size, name)
            area = image.width * image.height
            if area > MAX_PIXELS:
                most = f"{area / 1e6:.0f} megapixels; the most is {MAX_PIXELS / 1e6:.0f}"
                raise InputError(f"{name} has {most}: make it smaller first")
            if eighth:
                image.draft("RGB", (image.width // 8, image.height // 8))
            if pixels:
                image.load()
                image.info["orientation"] = _orientation(image)
            return image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{name} is too large: the most is {MAX_PIXELS / 1e6:.0f} megapixels") from error
    except Exception as error:  # only Pillow is at work here; its decoders raise all sorts at what they do not know
        raise InputError(f"{name} cannot be read ({error}): {advice}") from error


def _read_heic() -> str:
    """Let Pillow read HEIC, the iPhone's format, where the `heic` extra is installed; what to do if that fails."""
    if importlib.util.find_spec("pillow_heif") is None:
        return "it is a HEIC picture; `pip install pillow-heif` (the extra `heic`), or save it as JPEG first"
    import pillow_heif

    pillow_heif.register_heif_opener()
    return "is it a complete HEIC file?"


def _orientation(image: Image.Image) -> int:
    """How EXIF data say that the picture is turned: 1 (upright) to 8."""
    # Pillow's own answer looks at XMP data as well, which no viewer does: so it is asked without these.
    bare = Image.Image()
    bare.info = {key: value for key, value in image.info.items() if "exif" in key}
    try:
        declared = bare.getexif()
        return int(declared.get(ExifTags.Base.Orientation) or getattr(image, "tag_v2", declared).get(0x112, 1))
    except Exception:  # damaged EXIF data do not make the picture unreadable
        return 1


def check_shape(size: tuple[float, float], name: str) -> None:
    """Refuse what no model can be shown.

    Raises:
        InputError: without area, or too thin.
    """
    if not min(size) > 0:
        raise InputError(f"{name} cannot be read: it has no area ({size[0]:g} x {size[1]:g})")
    if max(size) > MAX_ASPECT * min(size):
        raise InputError(
            f"{name} cannot be read: at {size[0]:g} x {size[1]:g} it is more than {MAX_ASPECT} times longer than "
            "thick; cut it into pieces or pad it"
        )


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


def to_rgb(image: Image.Image, name: str = "the image") -> Image.Image:
    """RGB copy as a colour-managed viewer shows it.

    Its colour profile or gamma is applied, transparency is on white, and 16-bit grey is scaled. Numbers (floats, 32-bit
    integers) from 0 to 1 run from black to white, others from the least to the greatest; infinite ones are black.

    Args:
        name: what an error calls it.

    Raises:
        InputError: as `check_shape`; no number is finite.
    """
    return _shown(image, name)[0]


def _shown(image: Image.Image, name: str) -> tuple[Image.Image, bool]:
    """The image as `to_rgb` says, and whether more was done than to spell its pixels as RGB."""
    check_shape(image.size, name)
    numeric = image.mode[0] in "IF"
    if numeric:
        image = _grey(image, name)
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    managed = _managed(image)
    rgb = managed or _solid(image).convert("RGB")
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    return rgb, numeric or managed is not None or alpha is not None


def _solid(image: Image.Image) -> Image.Image:
    """The image without its alpha channel and without a palette."""
    if image.mode == "LA":
        return image.getchannel("L")
    return image.convert("RGB") if image.mode in ("P", "PA", "RGBA", "1") else image


def _grey(image: Image.Image, name: str) -> Image.Image:
    """Numbers as 8-bit grey. Pillow would cut them off at 255."""
    import numpy as np

    values = np.asarray(image.convert("F"))
    finite = np.isfinite(values)
    if not finite.any():
        raise InputError(f"{name} cannot be read: none of its numbers is finite; save it as 8- or 16-bit grey")
    low, high = float(values[finite].min()), float(values[finite].max())
    if image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):
        low, high = 0, 65535
    elif low >= 0 and high <= 1 and image.mode == "F":
        low, high = 0, 1
    scale = 255 / ((high - low) or 1)
    grey = Image.fromarray(np.where(finite, (values - low) * scale + 0.5, 0).astype(np.uint8))
    grey.info = {key: value for key, value in image.info.items() if key in ("icc_profile", "gamma", "srgb")}
    if isinstance(clear := image.info.get("transparency"), int):
        grey.info["transparency"] = round(clear * scale)
    return grey


def _managed(image: Image.Image) -> Image.Image | None:
    """The image, without transparency, in sRGB; None if it is already, as far as it says."""
    solid = _solid(image)
    profile = image.info.get("icc_profile") or b""
    if (profile or image.mode == "LAB") and (transform := _transform(profile, solid.mode)):
        return ImageCms.applyTransform(solid, transform)
    gamma = image.info.get("gamma")
    if profile or not gamma or "srgb" in image.info or abs(gamma * 2.2 - 1) < 0.05:
        return None
    curve = [round(255 * (v / 255) ** (1 / (gamma * 2.2))) for v in range(256)]
    return solid.convert("RGB").point(curve * 3)


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a colour profile to sRGB; None if that changes nothing, or if the profile is broken or for other pictures.

    As viewers do, a picture with such a profile is shown as if it had none.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    if mode not in ("L", "RGB"):
        return transform
    # Colours all over the cube: a profile that leaves them as they are is sRGB by another name.
    colours = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn) for turn in (0, 90, 45)]).convert(mode)
    seen = ImageCms.applyTransform(colours, transform) or colours
    return transform if max(ImageChops.difference(seen, colours.convert("RGB")).tobytes()) > 2 else None


def shrink(image: Image.Image, max_pixels: int) -> Image.Image:
    """The image with its proportions and at most `max_pixels` pixels; never enlarged, and shrunk to a size once.

    Raises:
        InputError: as `check_shape`.
    """
    check_shape(image.size, "the image")
    area = image.width * image.height
    if area <= max_pixels:
        return image
    notes, key = _notes(image), ("shrunk to", max_pixels)
    if key not in notes:
        scale = (max_pixels / area) ** 0.5
        width, height = (max(1, int(side * scale)) for side in image.size)
        # A side of 0.3 pixels is one of 1: a thin strip gets shorter, or it would be too long and too large.
        most = min(MAX_ASPECT, max_pixels)
        size = (min(width, most * height), min(height, most * width))
        notes[key] = image.resize(size, Image.Resampling.BICUBIC)
    return shared_view(notes[key])
