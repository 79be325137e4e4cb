"""Pictures as an endpoint gets them: the task's own file where it holds the very pixels, else PNG or JPEG by size.

A photo of 70 KB would be 670 KB as PNG, and making that takes longer than the request.
"""

import base64
import io

from PIL import Image

from armlite.images import own_file, remembered
from armlite.png import fast_png, kept_png

SMALL = 256 * 256
"""Pixels of a picture that always goes as PNG, without loss."""
BYTES_A_PIXEL = 0.75
"""A PNG that would need more is that of a photo, which goes as JPEG of high quality."""


def data_url(image: Image.Image) -> str:
    """A `data:` URL of a picture as the model may see it; made once for all who show the same pixels."""
    return remembered(image, "data url", lambda: _data_url(image))


def _data_url(image: Image.Image) -> str:
    found = own_file(image)
    kind, data = found if found else _encoded(image)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _encoded(image: Image.Image) -> tuple[str, bytes]:
    if image.width * image.height > SMALL and _looks_like_a_photo(image):
        data = io.BytesIO()
        image.save(data, "JPEG", quality=95, subsampling=0)
        return "jpeg", data.getvalue()
    return "png", kept_png(image)


def _looks_like_a_photo(image: Image.Image) -> bool:
    """Whether a PNG of it would be large, by a strip across the middle."""
    height = max(8, image.height // 16)
    top = (image.height - height) // 2
    strip = image.crop((0, top, image.width, top + height))
    return len(fast_png(strip)) > BYTES_A_PIXEL * strip.width * strip.height
