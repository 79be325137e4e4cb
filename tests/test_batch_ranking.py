"""`armlite judge FILE --rank`: tournaments in a journal, going on after a kill, beside pairs and single responses."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from armlite.batch.run import judge_file
from armlite.loop import Reply
from armlite.models import _MAKERS
from armlite.models.scripted import ScriptedModel
from armlite.store import read
from armlite.tournament import most_comparisons

JUDGE = """
import re, time
from armlite import chat_model
from armlite.models.scripted import ScriptedModel

def says(conversation):
    time.sleep(0.001)
    texts = re.findall(r"<start_of_resp_\\d>\\n(.*?)\\n<end_of", conversation.messages[0].text, re.DOTALL)
    if len(texts) < 2:
        return "<think>I know.</think>\\n<answer>Overall Judgment: True</answer>"
    best = texts.index(max(texts, key=len)) + 1
    return f"<think>I know.</think>\\n<answer>Overall Judgment: Answer {best} is better.</answer>"

@chat_model
def mine(name, sampling):
    return ScriptedModel(says, name)
"""


code: dict = {}
exec(JUDGE.partition("@chat_model")[0], code)
longest_first = code["says"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLITE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def asked(monkeypatch):
    """The tasks that a judge who prefers the longer response was asked about, batch by batch."""
    found = []

    class Noting(ScriptedModel):
        def session(self):
            found.append([])
            return super().session()

    def says(conversation):
        if not conversation.turns:
            found[-1].append(conversation.task_id)
        return longest_first(conversation)

    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: Noting(says, "m"))
    return found


def row(name, count, **more):
    texts = random.Random(count).sample(["x" * n for n in range(1, count + 1)], count)
    best = 1 + texts.index(max(texts, key=len))
    return {"id": name, "question": f"Which of {name}?", "responses": texts, "label": best, **more}


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def lines(folder):
    found = sorted(map(json.loads, (folder / "verdicts.jsonl").open(encoding="utf-8")), key=lambda line: line["id"])
    return [{**line, "seconds": 0} for line in found]


ROWS = [row("two", 2), row("four", 4), row("ten", 10), row("twenty", 20), {"question": "Q?", "response": "a"}]


def test_three_or_more_responses_are_ranked_and_the_method_is_told(tmp_path, asked):
    said = []
    file = write(tmp_path / "rows.jsonl", ROWS)
    summary = judge_file(
        file, "scripted:m", tmp_path / "out", rank=True, on_progress=lambda done, total: said.append((done, total))
    )
    found = {line["id"]: line for line in lines(tmp_path / "out")}
    assert {name: line["method"] for name, line in found.items()} == {
        "two": None, "four": "round_robin", "ten": "merge_sort", "twenty": "merge_sort", "row-5": None
    }  # fmt: skip
    for given in ROWS[1:4]:
        line, texts = found[given["id"]], given["responses"]
        assert [texts[n - 1] for n in line["ranking"]] == sorted(texts, key=len, reverse=True)
        assert line["choice"] == given["label"] and line["right"] and line["consistent"]
        assert line["comparisons"] <= most_comparisons(line["method"], len(texts)) and line["comparisons_failed"] == 0
    assert found["two"]["comparisons"] is None and summary["rows"] == summary["judged"] == 5
    assert summary["preferences"] == 1 + 3 + 9 + 19
    table = {line["id"]: line for line in csv.DictReader((tmp_path / "out" / "verdicts.csv").open(encoding="utf-8"))}
    assert table["four"]["ranking"] == " ".join(map(str, found["four"]["ranking"])) and table["two"]["ranking"] == ""
    assert said[-1][0] == said[-1][1] == sum(map(len, asked)), "the total is told right in the end"
    assert len(asked[0]) == 1 + 6 * 2 + 1, "in the first batch all that depends on nothing"
    assert len(asked) <= 1 + 7 + 15 + 31, "rounds of several rows are one batch"
    before = len(asked)
    assert judge_file(file, "scripted:m", tmp_path / "out", rank=True) == summary and len(asked) == before
    assert len(list(read(tmp_path / "out"))) == said[-1][0]


def test_a_comparison_that_fails_is_a_tie_and_a_retry_goes_on_from_there(tmp_path, monkeypatch):
    file, folder = write(tmp_path / "rows.jsonl", [row("shy", 12)]), tmp_path / "out"
    away = [True]

    def says(conversation):
        lost = away[0] and "\nxxxxxxxxxxxx\n" in conversation.messages[0].text  # whoever meets the longest
        return Reply("the server is away", "error") if lost else longest_first(conversation)

    monkeypatch.setitem(_MAKERS, "scripted", lambda name, sampling: ScriptedModel(says, "m"))
    judge_file(file, "scripted:m", folder, rank=True)
    [line] = lines(folder)
    assert line["comparisons_failed"] >= 2 and not line["right"]
    away[0] = False
    judge_file(file, "scripted:m", folder, rank=True, retry_failed=True)
    [line] = lines(folder)
    assert line["comparisons_failed"] == 0 and line["right"] and line["comparisons"] <= 33
    judge_file(file, "scripted:m", folder, rank=True)
    assert lines(folder) == [line], "votes that no round asks for any more change nothing"


def test_a_row_that_is_named_like_a_comparison_is_none(tmp_path, asked):
    rows = [row("a", 3), {"id": "a: 1 vs 2", "question": "Which?", "response_1": "x", "response_2": "xx"}]
    judge_file(write(tmp_path / "rows.jsonl", rows), "scripted:m", tmp_path / "out", rank=True)
    assert [line["id"] for line in lines(tmp_path / "out")] == ["a", "a: 1 vs 2#2"]


def test_a_killed_ranking_goes_on_to_the_same_verdicts(tmp_path):
    write(tmp_path / "rows.jsonl", [row(f"r{n:02}", 3 + n) for n in range(14)])
    (tmp_path / "mine.py").write_text(JUDGE, encoding="utf-8")
    words = [sys.executable, "-m", "armlite", "judge", "rows.jsonl", "--import", "mine.py", "--model", "mine:longest"]
    words += ["--rank", "--cache", "off", "--out"]
    subprocess.run([*words, "whole"], cwd=tmp_path, check=True, capture_output=True)
    journal = tmp_path / "cut" / "trajectories.jsonl"
    for wanted in (100, 250, 450):
        run = subprocess.Popen([*words, "cut"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while time.monotonic() < until and (not journal.exists() or journal.read_bytes().count(b"\n") < wanted):
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    subprocess.run([*words, "cut"], cwd=tmp_path, check=True, capture_output=True)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole") and len(lines(tmp_path / "cut")) == 14
    keys = [(kept.trajectory.task.id, kept.trajectory.rollout) for kept in read(tmp_path / "cut")]
    assert len(keys) == len(set(keys)) == len(list(read(tmp_path / "whole")))
    assert re.search(r"r13: \d+ vs \d+", keys[-1][0])
