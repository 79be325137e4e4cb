"""An image file is decoded once and its pixels are hashed once, for all rollouts, and never when they have changed."""

import os
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, features
from PIL.PngImagePlugin import PngInfo
from tiny_qwen import noise

from armlite import images
from armlite.episode import Episode, EpisodeSettings
from armlite.errors import InputError
from armlite.images import check_image, image_key, is_as_stored, open_image, shrink, to_rgb
from armlite.kept import Kept
from armlite.memory import Limits
from armlite.tools.documents.pages import open_document
from armlite.types import Task


@pytest.fixture
def counted(monkeypatch):
    """How often a picture was decoded, and pixels were read to be hashed."""
    counts = {"decoded": 0, "hashed": 0}

    def counting(name, work):
        def counted(*args, **kwargs):
            counts[name] += 1
            return work(*args, **kwargs)

        return counted

    monkeypatch.setattr(images, "_OPENED", type(images._OPENED)())
    monkeypatch.setattr(Image, "open", counting("decoded", Image.open))
    monkeypatch.setattr(Image.Image, "tobytes", counting("hashed", Image.Image.tobytes))
    return counts


def test_eight_rollouts_decode_their_picture_once_and_hash_it_once(tmp_path, counted):
    noise(300, 400).save(tmp_path / "a.png")
    counted["hashed"] = 0
    task = Task(id="t", kind="pairwise", question="Which?", responses=("a", "b"), images=("a.png",))
    settings = EpisodeSettings(limits=Limits(image_max_pixels=28 * 28))
    episodes = [Episode.open(task, settings, tmp_path) for _ in range(8)]
    shown = [message.images[0] for episode in episodes for message in episode.conversation.messages]
    assert len({image_key(image) for image in shown}) == 1
    assert len({image_key(episode.memory.images["img_0"]) for episode in episodes}) == 1
    assert counted == {"decoded": 1, "hashed": 2}  # the picture and what the prompt shows of it


def test_a_file_that_has_changed_is_read_anew(tmp_path, counted):
    path = tmp_path / "a.png"
    noise(30, 40, 1).save(path)
    first = open_image(path)
    assert image_key(open_image(Path(os.path.relpath(path)))) == image_key(first)
    noise(30, 40, 2).save(path)
    os.utime(path, ns=(1, 1))
    assert image_key(open_image(path)) != image_key(first)
    assert counted["decoded"] == 2


def test_few_files_are_kept(tmp_path, counted, monkeypatch):
    monkeypatch.setattr(images, "CACHE_BYTES", 2 * 4 * 30 * 40)
    for n in (0, 1, 2):
        noise(30, 40, n).save(tmp_path / f"{n}.png")
    for n, decoded in ((0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):
        open_image(tmp_path / f"{n}.png")
        assert counted["decoded"] == decoded, n


@pytest.mark.parametrize("size", [(4000, 21), (21, 4000), (4000, 20), (12_000, 60), (199, 1), (3000, 2000)])
@pytest.mark.parametrize("pixels", [100, 784, 8400, 10**6])
def test_a_strip_that_may_be_shown_stays_one_that_may_be_shown(size, pixels):
    small = shrink(Image.new("RGB", size), pixels)
    assert small.width * small.height <= pixels
    assert max(small.size) <= 200 * min(small.size)


@pytest.mark.parametrize("pixels", [100, 10**6])
def test_a_strip_that_may_not_be_shown_is_refused_by_its_own_size(pixels):
    with pytest.raises(InputError, match="at 4001 x 20 it is more than 200 times longer than thick; cut it"):
        shrink(Image.new("RGB", (4001, 20)), pixels)


def change_drawing(image):
    ImageDraw.Draw(image).rectangle((0, 0, 9, 9), fill="red")


def change_paste(image):
    image.paste((1, 2, 3), (0, 0, 9, 9))


def change_thumbnail(image):
    image.thumbnail((9, 9))


@pytest.mark.parametrize("change", [change_drawing, change_paste, change_thumbnail])
def test_who_changes_an_image_changes_no_other_and_gets_another_key(tmp_path, change):
    noise(30, 40).save(tmp_path / "a.png")
    mine, other = open_image(tmp_path / "a.png"), open_image(tmp_path / "a.png")
    small, same = shrink(mine, 400), shrink(other, 400)
    key, small_key = image_key(mine), image_key(small)
    change(mine)
    change(small)
    assert image_key(mine) == image_key(mine.copy()) != key
    assert image_key(small) == image_key(small.copy()) != small_key
    for image in (other, open_image(tmp_path / "a.png")):
        assert image_key(image) == key == image_key(noise(30, 40))
    assert image_key(same) == image_key(shrink(other, 400)) == small_key


@pytest.mark.parametrize(
    ("mode", "orientation", "expected"),
    [("RGB", None, True), ("RGB", 1, True), ("RGB", 6, False), ("L", None, True), ("RGBA", None, False)],
)
def test_files_that_are_turned_or_flattened_are_told_apart(tmp_path, mode, orientation, expected):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    noise(30, 40).convert(mode).save(tmp_path / "a.png", exif=exif)
    assert is_as_stored(tmp_path / "a.png") is expected
    with Image.open(tmp_path / "a.png") as stored:
        same = image_key(stored.convert("RGB")) == image_key(open_image(tmp_path / "a.png"))
    assert same or not expected


RAMP = np.arange(256, dtype=np.float64).reshape(16, 16)


def profile(*primaries: tuple[float, float, float], gamma: float = 2.2) -> bytes:
    """A colour profile with these red, green and blue (XYZ at D50)."""

    def fixed(*numbers):
        return b"".join(struct.pack(">i", round(n * 65536)) for n in numbers)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)}
    for letter, primary in zip("rgb", primaries, strict=True):
        tags[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + fixed(*primary)
        tags[f"{letter}TRC".encode()] = curve
    place, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data
    whole = bytes(4) + bytes(4) + struct.pack(">I", 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    head = (whole + fixed(0.9642, 1, 0.8249)).ljust(128, b"\0")
    return struct.pack(">I", place + len(body)) + head[4:] + table + body


RED, GREEN, BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139)


def grey_levels(kind: str) -> Image.Image:
    """The ramp from black to white, as numbers that Pillow does not spell as 8-bit grey."""
    return {
        "16 bit": lambda: Image.fromarray((RAMP * 257).astype(np.uint16)),
        "0 to 1": lambda: Image.fromarray((RAMP / 255).astype(np.float32)),
        "metres": lambda: Image.fromarray((RAMP / 50 + 3).astype(np.float32)),
        "signed": lambda: Image.fromarray((RAMP * 12 - 1024).astype(np.int32)),
    }[kind]()


@pytest.mark.parametrize("kind", ["16 bit", "0 to 1", "metres", "signed"])
def test_numbers_run_from_black_to_white(tmp_path, kind):
    grey_levels(kind).save(tmp_path / "a.tif")
    shown = np.asarray(open_image(tmp_path / "a.tif"))
    assert np.abs(shown - RAMP[:, :, None]).max() <= 1
    assert not is_as_stored(tmp_path / "a.tif")
    assert np.array_equal(np.asarray(to_rgb(grey_levels(kind))), shown)


def test_half_of_white_in_16_bits_is_grey_and_a_hole_in_a_depth_map_is_black(tmp_path):
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png").getpixel((0, 0)) == (128, 128, 128)
    depth = np.full((8, 8), 4.0, np.float32)
    depth[0, 0], depth[0, 1] = np.nan, 2.0
    Image.fromarray(depth).save(tmp_path / "depth.tif")
    shown = open_image(tmp_path / "depth.tif")
    assert [shown.getpixel((x, 0))[0] for x in range(3)] == [0, 0, 255]
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "none.tif")
    with pytest.raises(InputError, match=r"none\.tif.*finite"):
        open_image(tmp_path / "none.tif")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_colour_profile_is_applied(tmp_path, kind):
    picture = Image.new("RGB", (16, 16), (200, 30, 40))
    picture.save(tmp_path / "a", kind, icc_profile=profile(BLUE, GREEN, RED))
    red, green, blue = open_image(tmp_path / "a").getpixel((5, 5))
    assert abs(red - 40) < 9 and abs(green - 30) < 9 and abs(blue - 200) < 9, "red and blue are exchanged"
    assert not is_as_stored(tmp_path / "a")


def test_a_profile_under_transparency_is_applied_and_one_that_changes_nothing_or_is_broken_is_passed_over(tmp_path):
    clear = Image.new("RGBA", (8, 8), (200, 30, 40, 255))
    clear.putpixel((0, 0), (0, 0, 0, 0))
    clear.save(tmp_path / "clear.png", icc_profile=profile(BLUE, GREEN, RED))
    shown = open_image(tmp_path / "clear.png")
    assert shown.getpixel((0, 0)) == (255, 255, 255) and shown.getpixel((5, 5))[2] > 190
    for name, data in (
        ("same", images.ImageCms.ImageCmsProfile(images.ImageCms.createProfile("sRGB")).tobytes()),
        ("broken", b"no profile"),
    ):
        noise(30, 40).save(tmp_path / f"{name}.png", icc_profile=data)
        assert image_key(open_image(tmp_path / f"{name}.png")) == image_key(noise(30, 40)), name
        assert is_as_stored(tmp_path / f"{name}.png")


def test_the_gamma_that_a_png_declares_is_applied(tmp_path):
    picture = Image.new("L", (8, 8), 64)
    for gamma, level in ((0.45455, 64), (1.0, 136)):
        extra = PngInfo()
        extra.add(b"gAMA", struct.pack(">I", round(gamma * 100000)))
        picture.save(tmp_path / "a.png", pnginfo=extra)
        assert open_image(tmp_path / "a.png").getpixel((0, 0)) == (level,) * 3
        assert is_as_stored(tmp_path / "a.png") is (level == 64)


@pytest.mark.parametrize("kind", ["AVIF", "JPEG", "PNG", "WEBP"])
def test_xmp_data_do_not_turn_a_picture_and_damaged_exif_data_do_no_harm(tmp_path, kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    path, xmp = tmp_path / f"a.{kind.lower()}", b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    more = {} if kind == "PNG" else {"xmp": xmp}
    if kind == "PNG":
        more["pnginfo"] = PngInfo()
        more["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    noise(30, 40).save(path, kind, **more)
    assert open_image(path).size == noise(30, 40).size
    if kind in ("JPEG", "WEBP"):
        noise(30, 40).save(path, kind, exif=b"Exif\0\0 no exif data at all")
        assert open_image(path).size == noise(30, 40).size


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7\n", "is a PDF"),
        (b"<!DOCTYPE html><HTML>404</HTML>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"DDS " + struct.pack("<31I", 124, 7, 4, 4, *[0] * 14, 32, 4, 0x30305858, *[0] * 10), "complete picture file"),
        (b"\x89PNG\r\n\x1a\n but no more", "complete picture file"),
    ],
)
def test_what_is_no_picture_is_named_with_the_way_out(tmp_path, data, why):
    (tmp_path / "a.png").write_bytes(data)
    for read in (open_image, check_image):
        with pytest.raises(InputError, match=f"a.png cannot be read.*{why}"):
            read(tmp_path / "a.png")


def test_a_heic_picture_is_read_with_the_extra(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (64, 48), (200, 30, 40))).save(tmp_path / "a.heic")
    assert open_image(tmp_path / "a.heic").size == (64, 48)
    assert not is_as_stored(tmp_path / "a.heic")


@pytest.mark.parametrize("size", [(1, 201), (2100, 10)])
def test_a_picture_too_thin_for_any_model_is_refused_by_name(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "a.png")
    for read in (open_image, check_image):
        with pytest.raises(InputError, match=r"a\.png.*200 times longer"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("path", ["a" * 300 + ".png", "a\0b.png", "there.png/a.png", "gone.png", "folder", "/dev/null"])
@pytest.mark.parametrize("opens", [open_image, check_image, open_document])
def test_what_is_no_path_or_no_file_is_one_line(opens, path, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "there.png")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"does not exist|cannot be read|is not a file|holds no"):
        opens(tmp_path / path)


def test_of_threads_that_ask_for_the_same_thing_one_makes_it_and_a_failure_is_not_kept():
    kept, made = Kept(), []

    def make():
        time.sleep(0.05)
        made.append(1)
        if len(made) == 1:
            raise InputError("not yet")
        return object()

    def take(_):
        try:
            return kept.take("key", make, 4)
        except InputError:
            return None

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(take, range(8)))
    assert len(made) == 2 and found.count(None) == 1 and len({id(thing) for thing in found if thing}) == 1
    assert kept.take("key", make, 4) in found
