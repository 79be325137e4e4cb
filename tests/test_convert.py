"""From published rows to a task file: `armlite data convert`, `check` and `list`, and what is left out."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_set import TOY, command, one_line, png, write

from armlite.data.check import check
from armlite.data.convert import convert
from armlite.data.tasks import read_tasks, write_tasks
from armlite.errors import ArmliteError, DataError
from armlite.types import Task


def test_repeated_ids_are_told_apart_even_from_published_ones(tmp_path):
    write(tmp_path, "json list", [{"id": name, "question": "q"} for name in ("a", "a", "a#2", "a", "b", "a#2")])
    counts = convert(TOY, tmp_path, tmp_path / "tasks.jsonl")
    assert [task.id for task in read_tasks(tmp_path / "tasks.jsonl")] == ["a", "a#2", "a#2#2", "a#3", "b", "a#2#3"]
    assert (counts.rows, counts.tasks, counts.repeated) == (6, 6, 4)


def test_rejects_say_row_file_field_and_reason_and_a_clean_run_removes_them(tmp_path):
    write(tmp_path / "set", "json list", [{"id": "a", "question": "q"}, {"id": "b"}, {"id": "c", "question": " "}])
    out = tmp_path / "out" / "tasks.jsonl"
    counts = convert(TOY, tmp_path / "set", out)
    assert (counts.rows, counts.tasks, counts.bad, counts.incomplete) == (3, 1, 2, 0)
    assert [json.loads(line) for line in (out.parent / "rejects.jsonl").open()] == [
        {"row": 2, "file": "toy.json", "field": "question", "why": "is missing"},
        {"row": 3, "file": "toy.json", "field": "question", "why": "is empty"},
    ]
    write(tmp_path / "set", "json list", [{"id": "a", "question": "q"}])
    convert(TOY, tmp_path / "set", out)
    assert [file.name for file in out.parent.iterdir()] == ["tasks.jsonl"]


def test_strict_stops_at_the_first_bad_row_and_writes_no_tasks(tmp_path):
    write(tmp_path / "set", "json list", [{"id": "a", "question": "q"}, {"id": "b"}])
    with pytest.raises(DataError, match=r"toy \(toy.json\), row 2, field question: is missing"):
        convert(TOY, tmp_path / "set", tmp_path / "out" / "tasks.jsonl", strict=True)
    assert not list((tmp_path / "out").iterdir())


def test_n_takes_the_first_tasks_only(tmp_path):
    write(tmp_path, "json list", [{"id": str(i), "question": "q"} for i in range(9)])
    seen = []
    assert convert(TOY, tmp_path, tmp_path / "o.jsonl", n=4, on_row=seen.append).tasks == 4
    assert seen == [1, 2, 3, 4]


def test_all_missing_images_are_listed_and_five_are_named(tmp_path, capsys):
    rows = [{"id": str(i), "question": "q", "image": f"images/{i % 7}.png"} for i in range(9)]
    write(tmp_path / "set", "json list", [*rows, {"id": "whole", "question": "q"}])
    out = tmp_path / "out" / "tasks.jsonl"
    counts = convert(TOY, tmp_path / "set", out)
    assert (counts.rows, counts.tasks, counts.bad, counts.incomplete) == (10, 1, 0, 9)
    listed = (out.parent / "missing.txt").read_text().splitlines()
    assert listed == [str(tmp_path / "set" / "images" / f"{i}.png") for i in range(7)]
    assert "there is no file" in json.loads((out.parent / "rejects.jsonl").open().readline())["why"]
    report = check(TOY, tmp_path / "set")
    assert (report.bad, report.missing_images, report.tasks) == (0, 7, 10)


def test_a_count_that_differs_from_the_published_one_is_said_and_no_failure(tmp_path):
    write(tmp_path, "json list", [{"id": "a", "question": "q"}])
    report = check(TOY, tmp_path)
    assert (report.bad, report.expected_rows, report.differs) == (0, 3, ("all: 1 rows, published are 3",))


def test_counts_are_compared_by_split_folder_or_file_where_they_are_published_so(tmp_path):
    counts = {"all": 9, "val": 2, "test": 7, "deep": 1, "one.json": 5}
    dataset = replace(TOY, files=("**/*.jsonl|**/*.json",), counts=counts)
    (tmp_path / "deep").mkdir()
    row = '{"id": "a", "question": "q"}\n'
    for name in ("val-00000-of-00002.jsonl", "val-00001-of-00002.jsonl", "deep/x.jsonl"):
        (tmp_path / name).write_text(row)
    report = check(dataset, tmp_path)
    assert (report.rows, report.expected_rows, report.differs) == (3, 3, ())
    (tmp_path / "one.json").write_text(f"[{row}]")
    report = check(dataset, tmp_path)
    assert (report.expected_rows, report.differs) == (8, ("one.json: 1 rows, published are 5",))
    (tmp_path / "other.json").write_text(f"[{row}]")
    report = check(dataset, tmp_path)
    assert (report.expected_rows, report.differs) == (9, ("all: 5 rows, published are 9",))


def test_what_lies_hidden_and_what_was_converted_is_not_read_again(tmp_path):
    write(tmp_path, "jsonl", [{"id": "a", "question": "q"}, {"id": "b"}])
    (tmp_path / ".cache.jsonl").write_text("junk")
    convert(TOY, tmp_path, tmp_path / "tasks.jsonl")
    report = check(TOY, tmp_path)
    assert (report.rows, report.bad) == (2, 1)


def test_a_task_that_the_record_refuses_is_the_rows_fault(tmp_path):
    def gold_out_of_range(row):
        yield Task(id="x", kind="pairwise", question="q", responses=("a", "b"), gold=row.integer("gold"))

    dataset = replace(TOY, tasks=gold_out_of_range, files=("*.json",))
    write(tmp_path, "json list", [{"gold": 2}, {"gold": 3}])
    report = check(dataset, tmp_path)
    assert report.bad == 1
    assert "gold 3 is out of range for a pairwise task" in report.problems[0]["why"]


def test_a_killed_conversion_leaves_no_task_file(tmp_path):
    """Killed while it waits in the middle of its rows."""
    code = """if True:
        import sys, time
        sys.path.insert(0, sys.argv[1])
        from pathlib import Path
        from toy_set import TOY
        from armlite.data.convert import convert
        def wait(n):
            if n == 3:
                print(n, flush=True)
                time.sleep(60)
        folder = Path(sys.argv[2])
        convert(TOY, folder, folder / "out" / "tasks.jsonl", on_row=wait)"""
    write(tmp_path, "json list", [{"id": str(i), "question": "q"} for i in range(5)])
    process = subprocess.Popen([sys.executable, "-c", code, Path(__file__).parent, tmp_path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"3\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not [file for file in (tmp_path / "out").iterdir() if not file.name.startswith(".")]
    assert convert(TOY, tmp_path, tmp_path / "out" / "tasks.jsonl").tasks == 5


def test_writing_tasks_streams_and_leaves_the_old_file_when_it_fails(tmp_path):
    file = tmp_path / "tasks.jsonl"
    task = Task(id="a", kind="open_qa", question="q")
    assert write_tasks(file, iter([task])) == 1

    def broken():
        yield task.model_copy(update={"id": "b"})
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_tasks(file, broken())
    assert read_tasks(file) == [task]
    assert [entry.name for entry in tmp_path.iterdir()] == ["tasks.jsonl"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArmliteError, match="not a regular file"):
        write_tasks(tmp_path / "folder", [task])


def pairs(folder, ranking=(1, 0)):
    """VL-RewardBench with two good rows and one that may be bad."""
    row = {"query": "q", "response": ["a", "b"], "image": {"bytes": png(), "path": None}, "human_ranking": [0, 1]}
    rows = [
        {**row, "id": "RLAIF-V-1"},
        {**row, "id": "RLAIF-V-1"},
        {**row, "id": "mmmu_3", "human_ranking": list(ranking)},
    ]
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "test-00000-of-00001.parquet")
    return folder


def test_list_shows_every_set_and_where_it_comes_from(capsys):
    status, out, _ = command(capsys, "data", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == 0
    assert rows["vl-rewardbench"]["hub"] == "MMInstruction/VL-RewardBench"
    assert rows["vl-rewardbench"]["counts"]["all"] == 1247
    assert {"mathvista", "llava-critic", "arm-thinker-data"} <= set(rows)
    status, out, _ = command(capsys, "data", "list")
    assert status == 0
    assert "rewardbench-2" in out


def test_check_exits_with_1_when_rows_are_bad_and_0_when_none_is(tmp_path, capsys):
    status, out, _ = command(capsys, "data", "check", "vl-rewardbench", "--path", pairs(tmp_path / "good"), "--json")
    good = json.loads(out)
    assert (status, good["rows"], good["bad"], good["kinds"]) == (0, 3, 0, {"pairwise": 3})
    assert good["differs"] == ["all: 3 rows, published are 1247"]
    status, out, _ = command(
        capsys, "data", "check", "vl-rewardbench", "--path", pairs(tmp_path / "bad", (1, 1)), "--json"
    )
    bad = json.loads(out)
    assert (status, bad["rows"], bad["bad"]) == (1, 3, 1)
    assert (bad["problems"][0]["row"], bad["problems"][0]["field"]) == (3, "human_ranking")
    status, out, _ = command(capsys, "data", "check", "vl-rewardbench", "--path", tmp_path / "bad")
    assert status == 1
    assert "row 3, field human_ranking: must be" in out


def test_convert_writes_tasks_and_says_what_it_left_out(tmp_path, capsys):
    out = tmp_path / "out" / "tasks.jsonl"
    words = ("data", "convert", "vl-rewardbench", "--path", pairs(tmp_path / "set", (1, 1)), "--out", out)
    status, said, _ = command(capsys, *words)
    assert status == 0
    assert "2 tasks of 3 rows" in said
    assert "1 bad rows" in said
    assert [task.id for task in read_tasks(out)] == ["RLAIF-V-1", "RLAIF-V-1#2"]
    status, _, err = command(capsys, *words)
    assert status == 2
    one_line(err, "exists; give another --out")
    status, _, err = command(capsys, *words[:-1], tmp_path / "strict.jsonl", "--strict")
    assert status == 2
    one_line(err, "row 3, field human_ranking")
    assert not (tmp_path / "strict.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data", "check", "vl-rewardbnch", "--path", "."), "Did you mean 'vl-rewardbench'?"),
        (("data", "convert", "mathvist", "--path", ".", "--out", "o.jsonl"), "Did you mean 'mathvista'?"),
        (("data", "check", "vl-rewardbench", "--path", "nowhere"), "there is no such folder"),
        (("data", "check", "vl-rewardbench", "--path", "."), "there is nothing"),
        (("data", "unpack", "none.zip", "--out", "o"), "there is no archive none.zip"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, out, err = command(capsys, *words)
    assert (status, out) == (2, "")
    one_line(err, said)
    assert not list(tmp_path.iterdir())
