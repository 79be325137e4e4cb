"""What an endpoint gets of a picture, and the PNG files of records: which bytes, how many, and no pixel changed."""

import base64
import io
import os
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from armlite.images import open_image, shrink
from armlite.models.pictures import SMALL, data_url
from armlite.png import fast_png


def photo(size: tuple[int, int] = (640, 480)) -> Image.Image:
    coarse = (size[0] // 2 + 1, size[1] // 2 + 1)
    return Image.merge("RGB", [Image.effect_noise(coarse, spread).resize(size) for spread in (20, 30, 40)])


def page() -> Image.Image:
    image = Image.new("RGB", (640, 480), "white")
    for y in range(0, 480, 14):
        ImageDraw.Draw(image).text((5, y), "The pier is closed on Mondays. " * 3, fill="black")
    return image


def sent(image: Image.Image) -> tuple[str, bytes]:
    head, _, body = data_url(image).partition(";base64,")
    return head.removeprefix("data:image/"), base64.b64decode(body)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_task_s_own_file_travels_as_it_is(tmp_path: Path, suffix: str, mode: str) -> None:
    file = tmp_path / f"a.{suffix}"
    photo().convert(mode).save(file)
    kind, data = sent(shrink(open_image(file), 10**6))
    assert (kind, data) == ({"jpg": "jpeg"}.get(suffix, suffix), file.read_bytes())


def test_what_the_file_does_not_hold_travels_as_pixels(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    small = photo((200, 100))
    exif = Image.Exif()
    exif[0x112] = 6
    small.save(file, exif=exif)
    turned = open_image(file)
    assert sent(turned)[0] == "png"
    small.save(file)
    for image in (shrink(open_image(file), 5000), open_image(file).crop((0, 0, 50, 50))):
        kind, data = sent(image)
        assert kind == "png"
        assert Image.open(io.BytesIO(data)).tobytes() == image.tobytes()
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (40, 40), (1, 2, 3, 100)).save(clear)
    assert sent(open_image(clear))[1] != clear.read_bytes()
    small.save(tmp_path / "a.webp")
    assert sent(open_image(tmp_path / "a.webp"))[0] == "png", "not every server reads the others"


def test_a_file_that_has_changed_since_or_is_mostly_other_data_does_not_travel(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    page().save(file)
    image = open_image(file)
    shown = image.tobytes()
    photo((50, 50)).save(file)
    os.utime(file, (1, 1))
    assert Image.open(io.BytesIO(sent(image)[1])).tobytes() == shown
    Image.new("RGB", (30, 30)).save(file)
    file.write_bytes(file.read_bytes() + b"0" * 10**6)
    assert len(sent(open_image(file))[1]) < 10**4


def test_a_large_photo_travels_as_jpeg_and_a_page_without_loss() -> None:
    kind, data = sent(photo())
    assert kind == "jpeg"
    assert len(data) < len(fast_png(photo())) / 1.5
    for image in (page(), photo((200, 200))):
        kind, data = sent(image)
        assert kind == "png"
        assert Image.open(io.BytesIO(data)).tobytes() == image.tobytes()
    assert 640 * 480 > SMALL > 200 * 200


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 7), (28, 28), (333, 17)])
def test_a_png_of_ours_holds_the_very_pixels(size: tuple[int, int]) -> None:
    for image in (photo(size), page().resize(size)):
        with Image.open(io.BytesIO(fast_png(image))) as read:
            read.verify()
        assert Image.open(io.BytesIO(fast_png(image))).convert("RGB").tobytes() == image.tobytes()


def test_a_png_of_ours_is_about_as_small_as_pillow_s() -> None:
    for image in (photo(), page()):
        data = io.BytesIO()
        image.save(data, "PNG", compress_level=1)
        assert len(fast_png(image)) < 1.25 * len(data.getvalue())
