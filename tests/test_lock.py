"""One process at a time on a folder: the second is told who holds it, and a kill leaves nothing in the way."""

import os
import signal
import subprocess
import sys

import pytest
import yaml
from test_run import TINY

from armlite.cli import main
from armlite.data.tasks import write_tasks
from armlite.errors import ArmliteError
from armlite.journal import Journal
from armlite.lock import held, hold
from armlite.pocket.world import generate

HOLD = """
import sys
from pathlib import Path
from armlite.lock import hold
lock = hold(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "folder")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_says_who_holds_a_folder_until_that_is_killed(other, tmp_path):
    folder = tmp_path / "folder"
    with pytest.raises(ArmliteError, match=rf"in use by process {other.pid} on \S+ since 20.* \(-c .*folder\)"):
        hold(folder)
    other.send_signal(signal.SIGKILL)
    other.wait()
    with held(folder), held(folder):
        assert (folder / ".lock").is_file()
    assert os.listdir(folder) == []
    with held(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def test_journals_evaluations_data_and_runs_hold_their_folder(other, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder"
    with pytest.raises(ArmliteError, match="is in use by"):
        Journal(folder / "rows.jsonl", {"seed": 0})
    Journal(folder / "rows.jsonl")  # within what its owner holds
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(TINY))
    write_tasks("tasks.jsonl", generate("train", 2, 0, tmp_path))
    folder.rename("out.jsonl.work")
    os.symlink("out.jsonl.work", "folder")
    os.symlink("out.jsonl.work", "tasks")
    commands = (
        ["train", "recipe.yaml", "--output", "folder"],
        ["eval", "--benchmark", "tasks.jsonl", "--model", "openai:x@http://127.0.0.1:9/v1", "--out", "."],
        ["data", "pairs", "--tasks", "tasks.jsonl", "--inject", "--out", "out.jsonl"],
    )
    for command in commands:
        with pytest.raises(SystemExit) as status:
            main(command)
        assert status.value.code == 2
        said = capsys.readouterr().err
        assert f"is in use by process {other.pid} on" in said and said.count("\n") == 1, command
    assert os.listdir("out.jsonl.work") == [".lock"]


def test_a_finished_journal_lets_its_folder_go(tmp_path):
    journal = Journal(tmp_path / "work" / "rows.jsonl", {"seed": 0})
    journal.forget()
    assert not (tmp_path / "work").exists()
    again = Journal(tmp_path / "work" / "rows.jsonl", {"seed": 0})
    assert again.file.parent.is_dir()
    del again
    assert os.listdir(tmp_path / "work") == ["settings.json"]
