"""An image file is decoded once and its pixels are hashed once, for all rollouts, and never when they have changed."""

import os
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from tiny_qwen import noise

from armlite import images
from armlite.episode import Episode, EpisodeSettings
from armlite.errors import InputError
from armlite.images import image_key, is_as_stored, open_image, shrink
from armlite.memory import Limits
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
    with pytest.raises(InputError, match="image of 4001 x 20 pixels .* more than 200 times as long as wide; cut it"):
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
