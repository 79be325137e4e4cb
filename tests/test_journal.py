"""The journal of long jobs: what is kept, what a kill leaves, whose it is."""

from dataclasses import dataclass

import pytest
from making_tasks import lines, pair

from armlite.errors import ArmliteError, DataError
from armlite.journal import Journal, is_begun
from armlite.store import Saved
from armlite.types import Fault, StopReason, Trajectory


@dataclass(frozen=True)
class Todo:
    key: tuple[str, int]


JOBS = [Todo((name, rollout)) for name in "abc" for rollout in (0, 1)]
BEGUN = {"seed": 0, "limits": {"pixels": 4}, "names": ("x", "y")}


def row(name, rollout=0, **more):
    return {"id": name, "rollout": rollout, **more}


def vote(name, fault=None):
    stop = StopReason.BAD_INPUT if fault else StopReason.NO_ANSWER
    return Saved(trajectory=Trajectory(task=pair(name), order=(1, 2), stop=stop, fault=fault))


def test_what_is_left_is_what_there_is_no_row_for(tmp_path):
    journal = Journal(tmp_path / "rows.jsonl", BEGUN)
    assert journal.left(JOBS) == JOBS
    journal.add(row("b", 1, right=True))
    journal.add(row("a"))
    assert [job.key for job in journal.left(JOBS)] == [("a", 1), ("b", 0), ("c", 0), ("c", 1)]
    again = Journal(tmp_path / "rows.jsonl", BEGUN)
    assert again.done == {("b", 1), ("a", 0)}
    assert list(again.rows()) == [row("b", 1, right=True), row("a")]
    again.sort(JOBS)
    assert lines(again.file) == [row("a"), row("b", 1, right=True)]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_cut_once_and_done_again(cut, tmp_path):
    journal = Journal(tmp_path / "rows.jsonl", BEGUN)
    for name in "abc":
        journal.add(row(name, text="é" * 40))
    whole = journal.file.read_bytes()
    journal.file.write_bytes(whole[:-cut])
    again = Journal(tmp_path / "rows.jsonl", BEGUN)
    assert again.done == {("a", 0), ("b", 0)}
    again.add(row("c", text="é" * 40))
    assert again.file.read_bytes() == whole


def test_rows_that_tell_of_a_fault_are_done_again_and_repeats_and_strangers_go(tmp_path):
    journal = Journal(tmp_path / "trajectories.jsonl")
    for one in (vote("a"), vote("b", Fault(whose="data", reason="no.png")), vote("z"), vote("a"), vote("c")):
        journal.add(one)
    journal.redo_faults([Todo((name, 0)) for name in "abc"])
    assert [saved.trajectory.task.id for saved in journal.trajectories()] == ["a", "c"]
    assert journal.done == {("a", 0), ("c", 0)}


def test_another_job_is_refused_with_what_differs_unless_nothing_was_done(tmp_path):
    file = tmp_path / "deep" / "rows.jsonl"
    assert not is_begun(file, BEGUN)
    journal = Journal(file, BEGUN)
    assert is_begun(file, BEGUN)
    assert not is_begun(file, {**BEGUN, "seed": 1}), "nothing was done"
    journal.add(row("a"))
    assert is_begun(file, BEGUN), "tuples and lists are alike on disk"
    for changed, said in (({"seed": 1}, "seed 0, not 1"), ({"new": 3}, "new None, not 3")):
        with pytest.raises(ArmliteError, match=said):
            Journal(file, BEGUN | changed)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rows.jsonl").write_text("{}\n")
    with pytest.raises(ArmliteError, match="of something else"):
        Journal(tmp_path / "other" / "rows.jsonl", BEGUN)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArmliteError, match="not a folder"):
        Journal(tmp_path / "file" / "rows.jsonl", BEGUN)
    journal.forget()
    assert not file.parent.exists()


def test_what_is_no_row_and_no_settings_is_told_with_its_file(tmp_path):
    journal = Journal(tmp_path / "rows.jsonl", BEGUN)
    journal.add(row("a"))
    with journal.file.open("a") as file:
        file.write('{"other": 1}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl, row 2"):
        Journal(tmp_path / "rows.jsonl", BEGUN)
    [saved] = [file for file in tmp_path.iterdir() if file.name.endswith(".json")]
    saved.write_text("{")
    with pytest.raises(ArmliteError, match="is damaged"):
        Journal(tmp_path / "rows.jsonl", BEGUN)


def test_a_journal_whose_forgetting_is_killed_is_no_longer_there(tmp_path, monkeypatch):
    class Killed(BaseException):
        """As by SIGKILL: nothing is caught."""

    def half(folder, **_):
        if (folder / "settings.json").is_file():
            (folder / "settings.json").unlink()
            raise Killed

    file = tmp_path / "out.jsonl.work/rows.jsonl"
    journal = Journal(file, BEGUN)
    journal.add(row("a"))
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", half)
        with pytest.raises(Killed):
            journal.forget()
    again = Journal(file, BEGUN)
    assert not again.done
    again.forget()
    assert list(tmp_path.iterdir()) == []
