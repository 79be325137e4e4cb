"""Trajectories on disk: nothing changes on the way, nothing is half written, bad rows name themselves."""

import json
import resource

import pytest
from PIL import Image, ImageDraw

from armlite import store
from armlite.errors import ArmliteError, DataError
from armlite.memory import Memory
from armlite.store import Saved
from armlite.types import Call, Constraint, Observation, Score, Step, StopReason, Task, Trajectory, Turn

AWKWARD = 'two\nlines, \u2028 a separator, \x1b[31m, <b>&amp;, "quotes" \\ and 日本語 🎈'


def _saved(name="task-1", colour="red"):
    """A row that uses every kind of field, and its images."""
    picture = Image.new("RGB", (64, 48), "white")
    ImageDraw.Draw(picture).ellipse((10, 10, 30, 30), fill=colour)
    memory = Memory([picture])
    memory.add_image(picture.crop((8, 8, 32, 32)), parent="img_0", box=(8, 8, 32, 32))
    call = Call(name="image_zoom_in_tool", arguments={"bbox_2d": [1, 2.5, 3, 1e400], "deep": {"n": None, "t": AWKWARD}})
    seen = Observation(ok=True, text=AWKWARD, images=("img_1",), tool=call.name, data={"pages": [7, 5]})
    task = Task(
        id=name,
        kind="pairwise",
        question=AWKWARD,
        images=("a.png",),
        responses=("", AWKWARD),
        constraints=(Constraint(text="short", check="word_limit", arguments={"n": 3}),),
        gold=(1, 2),
        meta={"family": "zoom", "share": 0.1 + 0.2},
    )
    trajectory = Trajectory(
        task=task,
        order=(2, 1),
        prompt_images=("img_0",),
        steps=(
            Step(turn=Turn(text=AWKWARD, think="hm", call=call, tokens=9), observation=seen),
            Step(turn=Turn(text="<answer>1</answer>", answer="1", finish="length")),
        ),
        images=tuple(memory.infos.values()),
        stop=StopReason.ANSWERED,
        decision=2,
    )
    score = Score(parts={"format": 0.3, "answer": 0.7000000000000001})
    return Saved(trajectory=trajectory, score=score), {i.file: memory.images[i.id] for i in trajectory.images}


def test_rows_and_pixels_come_back_exactly_as_they_were(tmp_path):
    (scored, images), unscored = _saved(), Saved(trajectory=_saved("task-2")[0].trajectory)
    path = tmp_path / "new" / "folder" / "rows.jsonl"
    store.save(path, [scored], images)
    store.append(path, [unscored])
    back = list(store.read(path))
    assert back == [scored, unscored]
    assert [type(row.trajectory.decision) for row in back] == [int, int]
    assert {row.path for row in back} == {path}
    assert path.read_bytes().count(b"\n") == 2
    assert json.loads(path.read_text("utf-8").split("\n")[1])["score"] is None
    for info in scored.trajectory.images:
        assert store.open_image(path, info).tobytes() == images[info.file].tobytes()


def test_an_image_is_written_once_and_one_without_pixels_is_refused(tmp_path):
    row, images = _saved()
    path = tmp_path / "rows.jsonl"
    with pytest.raises(ValueError, match=r"img_0.*neither given nor"):
        store.save(path, [row])
    assert not path.exists()
    store.save(path, [row], images)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "images").iterdir()}
    store.save(path, [row], images)
    store.save(path, [row])
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "images").iterdir()} == before
    assert len(before) == 2


def test_a_run_directory_is_read_in_order_and_other_jsonl_files_are_passed_over(tmp_path):
    places = ["rollouts/grpo1/step_000010.jsonl", "eval/sft/tasks.jsonl", "rollouts/grpo1/step_000002.jsonl"]
    for i, place in enumerate(places):
        store.save(tmp_path / place, [Saved(trajectory=_saved(f"task-{i}")[0].trajectory)], _saved()[1])
    (tmp_path / "metrics.jsonl").write_text('{"loss": 1}\n')
    (tmp_path / "empty.jsonl").write_text("")
    assert [row.trajectory.task.id for row in store.read(tmp_path)] == ["task-1", "task-2", "task-0"]


def _broken(change):
    whole = json.loads(_saved()[0].to_json())
    change(whole)
    return json.dumps(whole) + "\n"


@pytest.mark.parametrize(
    ("line", "field", "why"),
    [
        (_saved()[0].to_json()[:-40], "(row)", "cut off"),
        ("{not json}\n", "(row)", "not JSON"),
        (_broken(lambda row: row["trajectory"].pop("stop")), "trajectory.stop", "required"),
        (
            _broken(lambda row: row["trajectory"]["task"].update(qestion="?")),
            "trajectory.task.qestion",
            "no such field. Did you mean 'question'",
        ),
        (_broken(lambda row: row["trajectory"]["task"].update(gold=5)), "trajectory.task", "gold 5 is out of range"),
        (_broken(lambda row: row["score"]["parts"].update(x="y")), "score.parts.x", "number"),
        ('{"loss": 1}\n', "trajectory", "required"),
    ],
)
def test_a_broken_row_names_file_line_and_field_after_the_good_ones_were_read(tmp_path, line, field, why):
    row, images = _saved()
    path = tmp_path / "rows.jsonl"
    store.save(path, [row, row], images)
    with open(path, "a") as file:
        file.write("\n" + line)
    rows = store.read(path)
    assert [next(rows), next(rows)] == [row, row]
    with pytest.raises(DataError, match=why) as error:
        next(rows)
    assert (error.value.dataset, error.value.row, error.value.field) == (str(path), 4, field)
    assert "\n" not in str(error.value)


def test_appending_after_a_cut_line_is_refused_and_after_a_missing_newline_mended(tmp_path):
    row, images = _saved()
    path = tmp_path / "rows.jsonl"
    store.save(path, [row], images)
    path.write_bytes(path.read_bytes()[:-1])
    store.append(path, [row])
    assert list(store.read(path)) == [row, row]
    path.write_bytes(before := path.read_bytes()[:-5])
    with pytest.raises(DataError, match="cut off"):
        store.append(path, [row])
    assert path.read_bytes() == before


def test_paths_that_cannot_be_read_say_so_in_one_line(tmp_path):
    row, images = _saved()
    path = tmp_path / "rows.jsonl"
    store.save(path, [row], images)
    with pytest.raises(ArmliteError, match=r"no file or folder .*row\.jsonl\. Did you mean 'rows\.jsonl'\?"):
        store.read(tmp_path / "row.jsonl")
    with pytest.raises(ArmliteError, match=r"cannot read .*: File name too long"):
        store.read("x" * 5000)
    info = row.trajectory.images[0]
    (tmp_path / "images" / info.file).write_bytes(b"\x89PNG no more")
    with pytest.raises(ArmliteError, match="img_0 cannot be read"):
        store.open_image(path, info)
    (tmp_path / "images" / info.file).unlink()
    with pytest.raises(ArmliteError, match="img_0 is missing"):
        store.open_image(path, info)
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    for elsewhere in ("../secret.png", str(tmp_path / "secret.png"), "..\\secret.png", "..", ""):
        with pytest.raises(ArmliteError, match="plain name"):
            store.open_image(path, info.model_copy(update={"file": elsewhere}))


def test_a_disk_that_fills_up_is_one_line_and_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    row, images = _saved()
    store.save(path, [row], images)
    before = sorted((p, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
    try:
        for write in (store.save, store.append):
            with pytest.raises(ArmliteError, match=f"cannot write {path}: File too large"):
                write(path, [row, row], images)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted((p, p.read_bytes()) for p in tmp_path.rglob("*") if p.is_file()) == before


def test_a_place_that_is_no_file_is_refused_and_a_link_is_written_through(tmp_path):
    (tmp_path / "file").write_text("old")
    for place in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(ArmliteError, match=f"cannot write {place}: "):
            store.write_atomic(place, "x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    store.write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link"]


def test_a_relative_path_is_right_where_folders_are_links(tmp_path):
    (tmp_path / "disk" / "deep" / "runs").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(b"a")
    (tmp_path / "data" / "b.png").symlink_to("a.png")
    (tmp_path / "runs").symlink_to("disk/deep/runs")
    for folder in ("runs", "data", "."):
        for name in ("a.png", "b.png"):
            seen = store.relative(tmp_path / "data" / name, tmp_path / folder)
            assert (tmp_path / folder / seen).read_bytes() == b"a" and seen.endswith(name)
