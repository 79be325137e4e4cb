"""`armlite judge FILE` with several models: each in its folder, one verdict a row, going on after a kill."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from armlite.batch.panel import judge_file_by
from armlite.batch.run import judge_file
from armlite.cli import main
from armlite.errors import ArmliteError
from armlite.loop import Reply
from armlite.models import _MAKERS
from armlite.models.scripted import ScriptedModel
from armlite.store import read

JUDGES = """
import re, time
from armlite import chat_model
from armlite.models.scripted import ScriptedModel

def answer(number):
    return f"<think>I looked.</think>\\n<answer>Overall Judgment: Answer {number} is better.</answer>"

def longest(conversation):
    time.sleep(0.002)
    texts = re.findall(r"<start_of_resp_\\d>\\n(.*?)\\n<end_of", conversation.messages[0].text, re.DOTALL)
    return answer(texts.index(max(texts, key=len)) + 1)

def place(conversation):
    return answer(1)

@chat_model
def mine(name, sampling):
    return ScriptedModel({"longest": longest, "place": place}[name], name)
"""
code: dict = {}
exec(JUDGES.partition("@chat_model")[0], code)
ROWS = [{"id": f"p{i}", "question": "Q?", "response_1": "x" * (1 + i % 3), "response_2": "yy"} for i in range(12)]
"""The longer one is p0: second, p1: neither, p2: first, and so on."""


@pytest.fixture(autouse=True)
def asked(tmp_path, monkeypatch):
    """Judges by name; whom of them was asked about what."""
    monkeypatch.setenv("ARMLITE_CACHE", str(tmp_path / "cache"))
    found = []
    scripts = {"longest": code["longest"], "place": code["place"], "away": lambda c: Reply("away", "error")}

    def make(name, sampling):
        def says(conversation):
            found.append((name, conversation.task_id))
            return scripts[name](conversation)

        return ScriptedModel(says, name)

    monkeypatch.setitem(_MAKERS, "scripted", make)
    return found


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**row, "label": 1}) + "\n" for row in ROWS), encoding="utf-8")
    return path


def lines(folder):
    return {(line := json.loads(text))["id"]: line for text in (folder / "verdicts.jsonl").open(encoding="utf-8")}


def test_each_model_judges_all_rows_and_the_panel_counts(tmp_path, file, asked):
    models = ["scripted:longest", "scripted:place", "scripted:away"]
    summary = judge_file_by(file, models, tmp_path / "out", swap=True)
    found = lines(tmp_path / "out")
    assert list(found) == [row["id"] for row in ROWS]
    assert [(found[name]["status"], found[name]["choice"]) for name in ("p0", "p1", "p2")] == [
        ("judged", 2), ("split", None), ("judged", 1)
    ]  # fmt: skip
    assert found["p0"]["confidence"] == pytest.approx(1 / 3) and found["p0"]["calls"] == 0
    assert found["p0"]["models"]["place"]["status"] == "split"
    assert found["p0"]["models"]["away"]["reason"] == "away" and found["p0"]["consistent"] is False
    table = {row["id"]: row for row in csv.DictReader((tmp_path / "out" / "verdicts.csv").open(encoding="utf-8"))}
    columns = ("model/longest", "model/place", "model/away")
    assert [table["p0"][column] for column in columns] == ["2", "split", "model_error"]
    assert (summary["rows"], summary["judged"], summary["not_judged"]) == (12, 8, {"split": 4})
    assert summary["models"]["longest"] == {"rows": 12, "as_the_verdict": 8} and summary["agreement"]["n"] == 8
    assert summary["preferences"] == 8 and len(list(read(tmp_path / "out"))) == 3 * 24
    before = len(asked)
    assert judge_file_by(file, models, tmp_path / "out", swap=True) == summary and len(asked) == before
    models.append("scripted:other")
    with pytest.raises(KeyError):  # it is asked, and there is no such judge
        judge_file_by(file, models, tmp_path / "out", swap=True)
    assert len(asked) == before + 1


def test_a_cascade_asks_the_second_only_where_the_first_is_not_sure(tmp_path, file, asked):
    summary = judge_file_by(file, ["scripted:place"], tmp_path / "out", first="scripted:longest", swap=True)
    assert {name for who, name in asked if who == "place"} == {f"p{i}" for i in (1, 4, 7, 10)}
    assert (summary["judged_by_first"], summary["judged"]) == (8, 8)
    found = lines(tmp_path / "out")
    assert (found["p0"]["judged_by"], found["p1"]["judged_by"]) == ("first", "then")
    assert set(found["p0"]["models"]) == {"longest"} and set(found["p1"]["models"]) == {"longest", "place"}
    judge_file_by(file, ["scripted:place"], tmp_path / "out", first="scripted:longest", unless=0.4, swap=True)
    assert lines(tmp_path / "out")["p1"]["judged_by"] == "then", "who is split is not sure, whatever the bound"


def test_the_first_may_be_the_model_without_tools_and_ranks_are_counted(tmp_path, asked):
    file = tmp_path / "rows.jsonl"
    rows = [{"id": f"r{n}", "question": "Q?", "responses": ["x" * (1 + i) for i in range(n)]} for n in (3, 10)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    summary = judge_file_by(file, ["scripted:longest"], tmp_path / "out", first="no-tools", rank=True)
    assert summary["judged_by_first"] == 2 and (tmp_path / "out" / "models" / "longest-no-tools").is_dir()
    two = judge_file_by(file, ["scripted:longest", "scripted:place"], tmp_path / "two", rank=True)
    assert two["judged"] == 2 and lines(tmp_path / "two")["r10"]["ranking"] == list(range(10, 0, -1))


def test_a_folder_is_of_one_model_or_of_several(tmp_path, file, asked):
    judge_file(file, "scripted:longest", tmp_path / "one")
    with pytest.raises(ArmliteError, match="holds the verdicts of one model; give another --out"):
        judge_file_by(file, ["scripted:longest", "scripted:place"], tmp_path / "one")
    judge_file_by(file, ["scripted:longest", "scripted:place"], tmp_path / "two")
    with pytest.raises(ArmliteError, match="holds the verdicts of several models; give another --out"):
        judge_file(file, "scripted:longest", tmp_path / "two")


def test_models_of_one_name_have_columns_of_their_own_and_a_pipe_is_read_once(tmp_path, file, monkeypatch):
    monkeypatch.setattr("sys.stdin", file.open(encoding="utf-8"))
    judge_file_by("-", ["scripted:place", "scripted:place"], tmp_path / "out", n=3)
    assert set(lines(tmp_path / "out")["p0"]["models"]) == {"place", "place-2"} and len(lines(tmp_path / "out")) == 3


def test_what_people_disagree_with_is_kept_of_all_models(tmp_path, file, capsys):
    judge_file_by(file, ["scripted:longest", "scripted:longest"], tmp_path / "out")
    (tmp_path / "labels.csv").write_text("id,label\np2,2\np5,1\n")
    with pytest.raises(SystemExit) as end:
        main(["agree", str(tmp_path / "out"), "--labels", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "dis")])
    assert not end.value.code and "50.0 %" in capsys.readouterr().out
    assert [row.trajectory.task.id for row in read(tmp_path / "dis")] == ["p2", "p2"]


def run(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(["judge", *words])
    return end.value.code or 0, *capsys.readouterr()


def test_the_command_takes_several_models(tmp_path, file, capsys):
    models = ["--model", "scripted:longest", "--model", "scripted:place"]
    code, out, err = run(capsys, str(file), *models, "--swap", "--out", str(tmp_path / "out"))
    assert code == 0 and "longest says the same" in out and "judging" in err
    code, out, _ = run(capsys, str(file), *models[:2], "--first", "no-tools", "--out", str(tmp_path / "c"))
    assert code == 0 and re.search(r"the first was sure\s+│\s+0", out), "one vote that has no probability"
    single = ["--question", "Q?", "--response", "a", "--response", "bb"]
    code, out, _ = run(capsys, *models, *single)
    assert code == 0 and "longest: Response 2 is better" in out and "The votes are even" in out
    code, out, _ = run(capsys, *models[:2], "--first", "scripted:place", "--unless", "0.5", "--json", *single)
    assert code == 0 and [m["choice"] for m in json.loads(out)["members"]] == [1, 2]
    (tmp_path / "r.json").write_text('[{"name": "a", "text": "t"}]')
    graded = [str(file), *models, "--out", str(tmp_path / "r"), "--rubric", str(tmp_path / "r.json")]
    for words, said in [
        ([*models, "--unless", "0.5", *single], "give --first, too"),
        ([*models, "--first", "no-tools", "--no-tools", *single], "leave out --no-tools"),
        (graded, "--rubric goes with one --model"),
    ]:
        code, _, err = run(capsys, *words)
        assert code == 2 and said in err and err.count("error: ") == 1


def test_a_killed_panel_goes_on_to_the_same_verdicts(tmp_path):
    rows = [{**row, "id": row["id"] + letter} for letter in "abcde" for row in ROWS]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.py").write_text(JUDGES, encoding="utf-8")
    words = [sys.executable, "-m", "armlite", "judge", "rows.jsonl", "--import", "mine.py", "--cache", "off", "--swap"]
    words += ["--model", "mine:longest", "--model", "mine:place", "--first", "mine:longest", "--out"]
    subprocess.run([*words, "whole"], cwd=tmp_path, check=True, capture_output=True)
    for name, wanted in (("longest-2", 30), ("longest", 5)):
        journal = tmp_path / "cut" / "models" / name / "trajectories.jsonl"
        process = subprocess.Popen([*words, "cut"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while (
            process.poll() is None
            and time.monotonic() < until
            and (not journal.exists() or journal.read_bytes().count(b"\n") < wanted)
        ):
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([*words, "cut"], cwd=tmp_path, check=True, capture_output=True)
    cut, whole = ([{**line, "seconds": 0} for line in lines(tmp_path / n).values()] for n in ("cut", "whole"))
    assert cut == whole and len(cut) == 60
    assert len({(r.trajectory.task.id, r.trajectory.rollout) for r in read(tmp_path / "cut/models/longest")}) == 40


def test_all_models_are_looked_for_before_the_first_judges(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "Q?", "response": "a"}\n')
    with pytest.raises(ArmliteError, match="there is no model nowhere"):
        judge_file_by(file, ["scripted:longest", "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
