"""The pocket judge that comes with the package, and who judges where no model is named."""

import io
import json
import sys
from pathlib import Path

import pytest
from command_line import runner

from armlite.judge import Judge
from armlite.pocket.shipped import FOLDER, NAME, digest, folder_of
from armlite.pocket.world import generate

RECIPES = Path(__file__).parents[1] / "recipes"
CASE = [
    *("--question", "Which response keeps the constraint?", "--constraint", 'It names the keyword "meadow".'),
    *("--response", "ladder paper candle paper garden button market copper candle morning ladder cloud button basket."),
    *("--response", "winter garden letter mirror basket window winter paper meadow pocket window silver music cloud."),
]


@pytest.fixture
def run(capsys):
    return runner(capsys)


def test_it_is_of_the_recipe_that_comes_along():
    made = json.loads((FOLDER / "made.json").read_text())
    assert made["digest"] == digest(RECIPES / made["recipe"])


def test_it_is_small_and_right_about_its_world(tmp_path):
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 10e6
    tasks = list(generate("test", 60, 1, tmp_path))
    verdicts = Judge.load(NAME, device="cpu").judge_many(tasks, root=tmp_path)
    assert sum(v.choice == t.gold for v, t in zip(verdicts, tasks, strict=True)) >= 54
    assert sum(len(v.trajectory.calls) for v in verdicts) >= 54


def test_a_folder_of_its_name_is_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_of(NAME) == FOLDER
    Path(NAME).mkdir()
    assert folder_of(NAME) == Path(NAME)


def test_where_no_model_is_named_it_judges_texts_and_says_what_it_knows(run):
    status, out, err = run("judge", *CASE, "--json")
    assert (status, json.loads(out)["choice"]) == (0, 2)
    assert "pocket-judge judges" in err
    assert "knows its questions only" in err
    assert "means nothing" not in err


@pytest.mark.parametrize("words", [["--image", "photo.png"], ["--document", "report.pdf"]], ids=["picture", "document"])
def test_it_judges_no_picture_or_document_of_the_users(run, words):
    status, out, err = run("judge", *CASE, *words)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "name a judge" in err


def test_a_file_of_rows_has_no_judge_of_its_own(run, tmp_path):
    assert run("judge", "pairs.csv", "--out", str(tmp_path / "out"))[0] == 2


def test_a_chat_without_a_model_takes_texts_only(monkeypatch, capsys, run):
    lines = ["/question Which response keeps the constraint?", '/constraint It names the keyword "meadow".']
    texts = [f"/response {CASE[CASE.index('--response') + 1]}", f"/response {CASE[-1]}"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join([*lines, *texts, "/judge", "/image photo.png"])))
    status, out, err = run("chat", "--json")
    assert (status, json.loads(out)["choice"]) == (2, 2)
    assert "pocket-judge judges" in err
    assert err.splitlines()[-1].endswith("or /model NAME here")
