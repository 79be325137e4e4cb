"""Opening and shrinking pictures: the one place where an image file becomes pixels."""

from pathlib import Path

from PIL import Image, ImageOps

from armlite.errors import InputError

MAX_PIXELS = 120_000_000
"""Larger pictures are refused before decoding: their pixels alone would take more than 0.34 GiB."""


def open_image(path: Path | str) -> Image.Image:
    """Read an image file as RGB, turned as its EXIF data says, transparency on white.

    Raises:
        InputError: missing, not an image, damaged, or more than `MAX_PIXELS` pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"image {path} does not exist" if not path.exists() else f"image {path} is not a file")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"image {path} has {image.width * image.height / 1e6:.0f} megapixels; the most is "
                    f"{MAX_PIXELS / 1e6:.0f}: make it smaller first"
                )
            return to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise InputError(f"image {path} is too large: the most is {MAX_PIXELS / 1e6:.0f} megapixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"image {path} cannot be read ({error}): is it a complete picture file?") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB copy with transparency on white."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("RGB")


def shrink(image: Image.Image, max_pixels: int) -> Image.Image:
    """The image with its proportions and at most `max_pixels` pixels; never enlarged."""
    area = image.width * image.height
    if area <= max_pixels:
        return image
    scale = (max_pixels / area) ** 0.5
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)
