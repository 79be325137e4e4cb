"""Archives of images: unpacked or read in place, and what reaches outside its folder is refused whole."""

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from toy_set import TOY, command, one_line, png, write

from armlite.data.archives import unpack
from armlite.data.check import check
from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError


def zipped(file, members):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members:
            packed.writestr(name, data)


def tarred(members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as packed:
        for info, content in members:
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return data.getvalue()


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


BAD_ZIPS = {
    "up": [("images/a.png", b"a"), ("../evil.png", b"x")],
    "up inside": [("images/../../evil.png", b"x")],
    "backslash": [("..\\evil.png", b"x")],
    "absolute": [("/tmp/evil.png", b"x")],
    "drive": [("C:/evil.png", b"x")],
    "link": [(zip_link("link"), b"/etc")],
}
BAD_TARS = {
    "tar up": [(member("../evil.png"), b"x")],
    "tar absolute": [(member("/tmp/evil.png"), b"x")],
    "tar symlink": [(member("images", tarfile.SYMTYPE, "/tmp"), b""), (member("images/evil.png"), b"x")],
    "tar hard link": [(member("a", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    "tar device": [(member("a", tarfile.FIFOTYPE), b"")],
}


@pytest.mark.parametrize("case", [*BAD_ZIPS, *BAD_TARS])
def test_an_archive_that_reaches_outside_its_folder_is_refused_whole(case, tmp_path, capsys):
    archive = tmp_path / ("a.zip" if case in BAD_ZIPS else "a.tar.gz")
    if case in BAD_ZIPS:
        zipped(archive, BAD_ZIPS[case])
    else:
        archive.write_bytes(tarred(BAD_TARS[case]))
    before = sorted(tmp_path.iterdir())
    status, out, err = command(capsys, "data", "unpack", archive, "--out", tmp_path / "out")
    assert (status, out) == (2, "")
    one_line(err, "nothing was unpacked")
    assert sorted(tmp_path.iterdir()) == before
    assert not Path("/tmp/evil.png").exists()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.zip", b"PK no zip", "is damaged"),
        ("a.tar.gz", b"no tar", "is damaged"),
        ("a.tar.gz", tarred([(member("a.png"), os.urandom(5000))])[:3000], "is damaged"),
        ("a.rar", b"", "is none of .zip"),
        ("b.tar.gz.part_ab", b"x", "1 of its parts before"),
    ],
)
def test_a_damaged_archive_is_one_line(name, content, why, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    status, _, err = command(capsys, "data", "unpack", tmp_path / name, "--out", tmp_path / "out")
    assert status == 2
    one_line(err, why)
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused_unless_it_is_wanted(tmp_path):
    zipped(tmp_path / "a.zip", [("zeros.bin", bytes(70 << 20))])
    with pytest.raises(ArmliteError, match="unpacks to more than 64 MiB; if it should, raise --max-gib or --max-ratio"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(ArmliteError, match="more than 10 MiB"):
        unpack(tmp_path / "a.zip", tmp_path / "out", max_gib=10 / 1024, max_ratio=1e9)
    assert not (tmp_path / "out").exists()
    assert unpack(tmp_path / "a.zip", tmp_path / "out", max_ratio=2000) == 1
    assert (tmp_path / "out" / "zeros.bin").stat().st_size == 70 << 20


def test_a_split_tar_is_joined_from_any_of_its_parts(tmp_path, capsys):
    data = tarred([(member("images", tarfile.DIRTYPE), b""), *((member(f"images/{i}.png"), png()) for i in range(9))])
    for number, name in enumerate(("aa", "ab", "ac")):
        cut = len(data) // 3 + 1
        (tmp_path / f"set.tar.gz.part_{name}").write_bytes(data[number * cut : (number + 1) * cut])
    for part in ("aa", "ac"):
        out = tmp_path / part
        status, said, _ = command(
            capsys, "data", "unpack", tmp_path / f"set.tar.gz.part_{part}", "--out", out, "--json"
        )
        assert (status, json.loads(said)) == (0, {"files": 9, "out": str(out)})
        assert (out / "images" / "8.png").read_bytes() == png()
    (tmp_path / "set.tar.gz.part_ab").unlink()
    with pytest.raises(ArmliteError, match="1 of its parts before set.tar.gz.part_ac are not there"):
        unpack(tmp_path / "set.tar.gz.part_aa", tmp_path / "out")


def test_unpacking_into_a_folder_replaces_no_other_file(tmp_path):
    zipped(tmp_path / "a.zip", [("images/a.png", b"new"), ("images/b.png", b"b")])
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"old")
    with pytest.raises(ArmliteError, match="a.png is in the way"):
        unpack(tmp_path / "a.zip", tmp_path)
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["a.png"]
    (tmp_path / "images" / "a.png").write_bytes(b"new")
    assert unpack(tmp_path / "a.zip", tmp_path) == 2
    assert (tmp_path / "images" / "b.png").read_bytes() == b"b"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.zip", "images"]


def test_an_archive_or_a_folder_of_them_in_place_of_rows_says_how_to_unpack(tmp_path):
    zipped(tmp_path / "set.zip", [("toy.json", b"[]")])
    for path in (tmp_path, tmp_path / "set.zip"):
        with pytest.raises(ArmliteError, match=f"armlite data unpack {tmp_path}/set.zip --out {tmp_path}$"):
            check(TOY, path)


def test_images_in_zips_are_read_without_unpacking(tmp_path):
    names = ("images/a.png", "images/b.png", "c.png", "images/sub/d.png")
    write(tmp_path / "set", "json list", [{"id": name, "question": "q", "image": name} for name in names])
    zipped(tmp_path / "set" / "top.zip", [("testmini/images/a.png", png("blue")), ("images/", b"")])
    (tmp_path / "set" / "images").mkdir()
    zipped(tmp_path / "set" / "images" / "b.zip", [("b.png", png("lime"))])
    zipped(tmp_path / "set" / "c.zip", [("deep/c.png", png("white"))])
    zipped(tmp_path / "set" / "d.zip", [("d.png", png("black"))])
    out = tmp_path / "out" / "tasks.jsonl"
    assert check(TOY, tmp_path / "set").missing_images == 0
    assert convert(TOY, tmp_path / "set", out).tasks == 4
    colours = [Image.open(out.parent / task.images[0]).getpixel((0, 0)) for task in read_tasks(out)]
    assert colours == [(0, 0, 255), (0, 255, 0), (255, 255, 255), (0, 0, 0)]


def test_a_zip_that_names_two_candidates_or_no_picture_is_told_by_row(tmp_path):
    rows = [{"id": str(i), "question": "q", "image": name} for i, name in enumerate(("a.png", "b.png", "c.png"))]
    write(tmp_path, "json list", rows)
    zipped(tmp_path / "x.zip", [("one/a.png", png()), ("two/a.png", png("blue")), ("b.png", b"text")])
    report = check(TOY, tmp_path)
    assert (report.bad, report.missing_images) == (2, 1)
    assert "could be one/a.png or two/a.png" in report.problems[0]["why"]
    assert "4 bytes that are no image" in report.problems[1]["why"]


@pytest.mark.parametrize("case", ["up", "absolute", "link", "damaged"])
def test_a_zip_beside_the_rows_that_reaches_outside_is_refused(case, tmp_path):
    write(tmp_path, "json list", [{"id": "a", "question": "q", "image": "images/a.png"}])
    if case == "damaged":
        (tmp_path / "x.zip").write_bytes(b"PK no zip")
    else:
        zipped(tmp_path / "x.zip", BAD_ZIPS[case])
    with pytest.raises(ArmliteError, match=r"x\.zip"):
        convert(TOY, tmp_path, tmp_path / "out" / "tasks.jsonl")
    assert not list((tmp_path / "out").glob("*"))


def test_when_every_image_is_missing_the_error_names_five_and_how_to_unpack(tmp_path, capsys):
    write(tmp_path, "json list", [{"id": str(i), "question": "q", "image": f"images/{i}.png"} for i in range(9)])
    (tmp_path / "images.tar.gz").write_bytes(tarred([(member(f"images/{i}.png"), png()) for i in range(9)]))
    with pytest.raises(ArmliteError) as error:
        convert(TOY, tmp_path, tmp_path / "out" / "tasks.jsonl")
    assert str(error.value).count(".png") == 5
    assert f"and 4 more. Unpack first: armlite data unpack {tmp_path / 'images.tar.gz'} --out {tmp_path}" in str(
        error.value
    )
    words = str(error.value).partition("armlite ")[2].split()
    assert command(capsys, *words)[:2] == (0, f"9 files in {tmp_path}\n")
    assert convert(TOY, tmp_path, tmp_path / "out" / "tasks.jsonl").tasks == 9
