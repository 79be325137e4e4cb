"""Judgments are written down beside the requests: nothing that was judged is lost, and no error of the disk."""

from pathlib import Path

import pytest
from PIL import Image

from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError
from armlite.evals.run import judge_jobs
from armlite.journal import Journal
from armlite.models.scripted import ScriptedModel
from armlite.runner import Job
from armlite.types import Task

ANSWER = "<think>I know.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"


def jobs(folder: Path, count: int) -> list[Job]:
    folder.mkdir()
    made = []
    for number in range(count):
        Image.new("RGBA", (40, 40), (number, 0, 0, 100)).save(folder / f"{number}.png")  # a PNG of its own is written
        pair = {"kind": "pairwise", "question": "?", "responses": ("a", "b"), "gold": 1}
        made.append(Job(Task(id=str(number), images=(f"{number}.png",), **pair), EpisodeSettings(), folder))
    return made


def test_every_judgment_is_there_with_its_pictures_when_the_work_ends(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out" / "rows.jsonl")
    judge_jobs(jobs(tmp_path / "data", 200), ScriptedModel([ANSWER]), journal)
    rows = list(journal.trajectories())
    assert sorted(int(row.trajectory.task.id) for row in rows) == list(range(200))
    assert len(journal.done) == 200
    files = {info.file for row in rows for info in row.trajectory.images}
    assert {file.name for file in (tmp_path / "out" / "images").iterdir()} == files


def test_what_was_judged_before_an_interrupt_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out" / "rows.jsonl")

    def stop(done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_jobs(jobs(tmp_path / "data", 20), ScriptedModel([ANSWER]), journal, on_progress=stop)
    assert len(list(journal.trajectories())) == 5


def test_what_the_disk_refuses_ends_the_work(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out" / "rows.jsonl")
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "images").write_text("in the way")
    with pytest.raises(ArmliteError, match="cannot write"):
        judge_jobs(jobs(tmp_path / "data", 300), ScriptedModel([ANSWER]), journal)
    assert list(journal.trajectories()) == [], "no row without its pictures"
