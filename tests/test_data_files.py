"""Reading published rows and pictures in every form; what is damaged is told in a sentence."""

import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy_set import TOY, one_line, png, toy_tasks, write

from armlite.data.check import check
from armlite.data.convert import convert
from armlite.data.dataset import DataSet
from armlite.data.files import Unreadable, read
from armlite.data.pictures import Pictures
from armlite.data.tasks import read_tasks, write_tasks
from armlite.errors import ArmliteError, DataError
from armlite.types import Task


def rows_of(path, dataset=TOY):
    rows = list(read(dataset, path, Pictures()))
    for row in rows:
        if isinstance(row, Unreadable):
            raise row.error
    return rows


def forms(folder):
    """Every form of one red picture, and the file that its path names."""
    data = png()
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "red.png").write_bytes(data)
    text = base64.b64encode(data).decode()
    return {
        "PIL": Image.open(io.BytesIO(data)),
        "dict with bytes": {"bytes": data, "path": None},
        "dict with bytes and a path": {"bytes": data, "path": "elsewhere.png"},
        "dict with a path": {"bytes": None, "path": "sub/red.png"},
        "bytes": data,
        "base64": text,
        "base64 in lines": "\n".join(text[i : i + 40] for i in range(0, len(text), 40)),
        "data URL": f"data:image/png;base64,{text}",
        "path": "sub/red.png",
    }


def test_a_picture_in_any_published_form_opens_from_the_task_file(tmp_path):
    (tmp_path / "out").mkdir()
    for form, value in forms(tmp_path / "set").items():
        kept = Pictures(tmp_path / "out").keep(value, tmp_path / "set")
        with Image.open(tmp_path / "out" / kept) as image:
            assert (image.size, image.convert("RGB").getpixel((0, 0))) == ((8, 6), (255, 0, 0)), form


def test_a_picture_of_any_mode_can_be_written(tmp_path):
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "F", "HSV", "LAB", "I;16"):
        kept = Pictures(tmp_path).keep(Image.new(mode, (3, 2)), tmp_path)
        with Image.open(tmp_path / kept) as image:
            assert image.size == (3, 2), mode


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"no picture at all", "17 bytes that are no image"),
        ({"bytes": None, "path": None}, "is no image but NoneType"),
        (["red.png"], "is no image but list"),
        ("", "is no image but str"),
        (7, "is no image but int"),
        ("a cat on a mat", "neither the path of an image nor base64"),
        ("notes.txt", "neither the path of an image nor base64: 'notes.txt'"),
        (base64.b64encode(b"text" * 500).decode(), "2000 bytes that are no image"),
        ("../red.png", "outside the set's folder"),
        ("/etc/red.png", "outside the set's folder"),
        ("x" * 300 + ".png", "is no path"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(value, why, tmp_path):
    with pytest.raises(ValueError, match=why.replace("(", r"\(")):
        Pictures(tmp_path / "out").keep(value, tmp_path)


def test_a_missing_file_is_put_down_not_refused(tmp_path):
    pictures = Pictures(tmp_path / "out")
    assert pictures.keep("sub/none.png", tmp_path) == "../sub/none.png"
    assert pictures.missing == [tmp_path / "sub/none.png"]


@pytest.mark.parametrize("form", ["parquet", "tsv", "jsonl", "json list", "json mapping", "json data"])
def test_rows_arrive_the_same_from_every_kind_of_file(form, tmp_path):
    write(
        tmp_path, form, [{"id": "a", "question": "one\ntwo", "hint": None}, {"id": "b", "question": "né", "hint": "x"}]
    )
    rows = rows_of(tmp_path)
    assert [row.values for row in rows] == [
        {"id": "a", "question": "one\ntwo", "hint": None},
        {"id": "b", "question": "né", "hint": "x"},
    ]
    assert [row.number for row in rows] == ([1, 3] if form == "jsonl" else [1, 2])  # lines count blank ones too
    assert [row.key for row in rows] == (["k0", "k1"] if form == "json mapping" else [None, None])
    assert {row.folder for row in rows} == {tmp_path}


def test_parquet_holds_pictures_and_lists_as_plain_values(tmp_path):
    (tmp_path / "data").mkdir()
    table = pa.Table.from_pylist(
        [{"image": {"bytes": png(), "path": None}, "n": [1, 2], "s": [{"bytes": b"", "path": "x"}]}]
    )
    pq.write_table(table, tmp_path / "data" / "a.parquet")
    (row,) = rows_of(tmp_path)
    assert row.values == {"image": {"bytes": png(), "path": None}, "n": [1, 2], "s": [{"bytes": b"", "path": "x"}]}


def test_the_first_pattern_that_matches_decides_and_a_file_may_be_named(tmp_path):
    write(tmp_path, "jsonl", [{"id": "jsonl"}])
    write(tmp_path, "json list", [{"id": "json"}])
    assert [row.values["id"] for row in rows_of(tmp_path)] == ["json", "jsonl"]
    assert [row.values["id"] for row in rows_of(tmp_path / "toy.jsonl")] == ["jsonl"]
    write(tmp_path, "parquet", [{"id": "parquet"}])
    assert [row.values["id"] for row in rows_of(tmp_path)] == ["parquet"]


@pytest.mark.parametrize(
    ("name", "content", "row", "why"),
    [
        ("a.jsonl", b'{"id": "x", "question": "q"}\n{"id": \n', 2, "this is not JSON"),
        ("a.jsonl", b'{"id": "x", "question": "q"}\n{"id": "y", "ques', 2, "the line is cut off"),
        ("a.jsonl", b'{"id": "x", "question": "q"}\n[1]\n', 2, "must be a mapping, not list"),
        ("a.jsonl", b'{"id": "x", "question": "q"}\n' + b"[" * 100_000 + b"\n", 2, "this is not JSON"),
        ("a.jsonl", b'{"id": "x", "question": "q"}\n\xff\xfe\n', 2, "this is not JSON"),
        ("a.json", b'[{"id": "x", "question": "q"}, "row"]', 2, "must be a mapping, not str"),
        ("a.json", b'{"k": {"id": "x", "question": "q"}, "l": null}', 2, "must be a mapping, not NoneType"),
        ("a.tsv", b"id\tquestion\nx\tq\ny\n", 2, "has 1 columns, the header 2"),
        ("a.tsv", b"id\tquestion\nx\tq\ny\tq\tz\n", 2, "has 3 columns, the header 2"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_the_others_are_kept(name, content, row, why, tmp_path):
    (tmp_path / name).write_bytes(content)
    report = check(TOY, tmp_path)
    assert (report.rows, report.bad, report.tasks) == (2, 1, 1)
    problem = report.problems[0]
    assert (problem["file"], problem["row"], problem["field"]) == (name, row, "(row)")
    assert why in problem["why"]
    with pytest.raises(DataError, match=f"toy \\({name}\\), row {row}"):
        rows_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", b"[1, 2", "is not JSON"),
        ("a.json", b"[" * 100_000, "is not JSON"),
        ("a.json", b'"text"', "must hold a list or a mapping of rows, not str"),
        ("a.tsv", b"id\tquestion\nx\t\xff\n", "line 2 is not UTF-8"),
        ("data/a.parquet", b"PAR1 and nothing else", "is no parquet file, or a damaged one"),
        ("a.json", b"[]", "has no rows"),
        ("a.tsv", b"", "has no rows"),
    ],
)
def test_a_damaged_file_is_one_sentence_and_leaves_nothing(name, content, why, tmp_path):
    file = tmp_path / "set" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(ArmliteError, match=why):
        check(TOY, tmp_path / "set")
    with pytest.raises(ArmliteError, match=why):
        convert(TOY, tmp_path / "set", tmp_path / "out" / "tasks.jsonl")
    assert not list((tmp_path / "out").glob("*"))


def test_a_parquet_file_that_breaks_in_the_middle_leaves_no_task_file(tmp_path):
    write(tmp_path, "parquet", [{"id": str(i), "question": "q" * 5000 + str(i)} for i in range(2000)])
    file = next(tmp_path.rglob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 3 : len(data) // 2] = b"\xff" * (len(data) // 2 - len(data) // 3)
    file.write_bytes(data)
    with pytest.raises(ArmliteError, match=r"test-00000.parquet.*orrupt"):
        convert(TOY, tmp_path, tmp_path / "out" / "tasks.jsonl")
    assert not list((tmp_path / "out").glob("*"))


def test_a_wrong_folder_says_what_was_looked_for_and_what_is_there(tmp_path):
    for name in "abcdefg":
        (tmp_path / f"{name}.txt").write_text("")
    with pytest.raises(ArmliteError) as error:
        rows_of(tmp_path)
    wanted = "looked for data/*.parquet or *.tsv with *.json with *.jsonl"
    assert f"{wanted}; there is a.txt, b.txt, c.txt, d.txt, e.txt and 2 more." in str(error.value)
    with pytest.raises(ArmliteError, match="there is no such folder"):
        rows_of(tmp_path / "none")


def test_a_line_of_a_gigabyte_is_named_and_does_not_fill_the_memory(tmp_path):
    """In a process of its own with 1.5 GiB of address space; the long line has no end of line within the limit."""
    (tmp_path / "out").mkdir()
    with open(tmp_path / "a.jsonl", "wb") as file:
        file.write(b'{"id": "first", "question": "q"}\n"')
        file.seek(1 << 30, os.SEEK_CUR)  # a hole in the file: takes no disk
        file.write(b'"\n{"id": "last", "question": "q"}\n')
    code = """if True:
        import sys, resource
        sys.path.insert(0, sys.argv[1])
        from pathlib import Path
        from toy_set import TOY
        from armlite.data.check import check
        resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))
        report = check(TOY, Path(sys.argv[2]))
        print(report.rows, report.bad, report.problems[0]["row"], report.problems[0]["why"])"""
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, here, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.stdout == "3 1 2 the line is longer than 256 MiB\n", done.stderr[-2000:]


def test_a_large_parquet_file_streams(tmp_path):
    """60 MiB of incompressible rows in six groups: Arrow never holds more than a group twice (packed and unpacked)."""
    (tmp_path / "data").mkdir()
    schema = pa.schema([("id", pa.string()), ("question", pa.string()), ("blob", pa.binary())])
    with pq.ParquetWriter(tmp_path / "data" / "a.parquet", schema) as writer:
        for group in range(6):
            rows = [{"id": f"{group}-{i}", "question": "q", "blob": os.urandom(100 << 10)} for i in range(100)]
            writer.write_table(pa.Table.from_pylist(rows, schema))
    del rows
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in read(TOY, tmp_path, Pictures())]
    assert len(held) == 600
    assert 0 < max(held) < 30 << 20


def test_without_a_folder_rows_come_from_the_hub_and_images_stay_encoded(tmp_path):
    """`datasets` reads a repository on disk just as one on the hub; the first place holds nothing, the mirror does."""
    datasets = pytest.importorskip("datasets")
    features = {"id": datasets.Value("string"), "question": datasets.Value("string"), "image": datasets.Image()}
    rows = {"id": ["a", "b"], "question": ["q", "r"], "image": [{"bytes": png(), "path": None}, None]}
    (tmp_path / "mirror").mkdir()
    (tmp_path / "empty").mkdir()
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    made.to_parquet(str(tmp_path / "mirror" / "test-00000-of-00001.parquet"))
    places = {"hub": str(tmp_path / "empty"), "mirrors": (str(tmp_path / "mirror"),)}
    dataset = DataSet(name="toy", title="", licence="none", tasks=toy_tasks, files=(), **places)
    found = rows_of(None, dataset)
    assert [row.values["id"] for row in found] == ["a", "b"]
    assert found[0].values["image"]["bytes"] == png()
    assert convert(dataset, None, tmp_path / "out" / "tasks.jsonl").tasks == 2


@pytest.mark.parametrize(
    ("name", "network"),
    [("vl-rewardbench", {"HF_ENDPOINT": "http://127.0.0.1:9"}), ("vstar", {"HF_HUB_OFFLINE": "1"})],
)
def test_without_folder_and_network_one_line_says_to_give_a_folder(name, network):
    done = subprocess.run(
        [sys.executable, "-m", "armlite", "data", "check", name],
        env={**os.environ, "HF_HOME": "/nonexistent", **network},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    one_line(done.stderr, f"cannot get {name}", "a local folder with")


def test_accepted_answers_that_look_like_numbers_stay_texts(tmp_path):
    tasks = [
        Task(id="1", kind="open_qa", question="How many?", gold=("14", "2.0")),
        Task(id="2", kind="listwise", question="Which?", responses=("a", "b", "c"), gold=(1, 3)),
    ]
    write_tasks(tmp_path / "t.jsonl", tasks)
    assert read_tasks(tmp_path / "t.jsonl") == tasks
