"""`armlite label` in a pseudo-terminal: blind, kept key by key, going on after a kill, read by `armlite agree`."""

import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from armlite.batch.agree import compare
from armlite.cli import main
from armlite.errors import ArmliteError
from armlite.label import Labels, label_of_key, order_of
from armlite.pocket.pdf import write_pdf
from armlite.types import Task


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, *words, cwd, **environ):
        self.said = ""
        inside, self._outside = None, None
        self._outside, inside = pty.openpty()
        env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", **environ}
        command = [sys.executable, "-m", "armlite", *words]
        self.process = subprocess.Popen(command, cwd=cwd, stdin=inside, stdout=inside, stderr=inside, env=env)
        os.close(inside)

    def until(self, pattern, seconds=60):
        """Read until something has been written; returns what was read since the last call."""
        end, new = time.monotonic() + seconds, ""
        while time.monotonic() < end:
            if select.select([self._outside], [], [], 0.1)[0]:
                try:
                    new += os.read(self._outside, 65536).decode("utf-8", "replace")
                except OSError:  # it has ended
                    break
            if re.search(pattern, new):
                self.said += new
                return new
        raise AssertionError(f"no {pattern!r} in {new!r}")

    def press(self, keys):
        os.write(self._outside, keys.encode())

    def end(self):
        self.process.wait(30)
        os.close(self._outside)


@pytest.fixture
def rows(tmp_path):
    """Five pairs with known answers, the first with a picture."""
    Image.new("RGB", (40, 30), "red").save(tmp_path / "photo.png")
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "question", "response_1", "response_2", "label", "image"])
        writer.writeheader()
        for i in range(5):
            row = {"id": f"secret{i}", "question": f"Question {i}?", "response_1": f"ONE{i}", "response_2": f"TWO{i}"}
            writer.writerow({**row, "label": 1, "image": "photo.png" if i == 0 else ""})
    return tmp_path


def labels(folder):
    return list(csv.DictReader((folder / "labels.csv").open(encoding="utf-8")))


def test_five_rows_are_labelled_through_a_kill_and_read_by_agree(rows):
    words = ("label", "rows.csv", "--out", "labels.csv", "--rater", "ann")
    first = Terminal(*words, cwd=rows, ARMLITE_IMAGES="blocks")
    seen = first.until("1 or 2 the better one")
    assert "Question 0?" in seen and "▀" in seen
    assert "secret" not in seen and "★" not in seen, "blind"
    first.press("1")
    first.until("Question 1.*1 or 2 the better one".replace(".*", r"[\s\S]*"))
    first.press("?")
    first.until("Every label is kept at once")
    first.press("t")
    first.until(r"Question 2[\s\S]*1 or 2 the")
    assert [row["id"] for row in labels(rows)] == ["secret0", "secret1"], "on the disk before the next row is shown"
    os.kill(first.process.pid, signal.SIGKILL)
    first.end()

    second = Terminal(*words, cwd=rows)
    seen = second.until(r"Question 2[\s\S]*1 or 2 the")
    assert "3 of 5" in seen and "Question 0?" not in seen
    second.press("b")
    assert "so far: tie" in second.until(r"Question 1[\s\S]*so far")
    second.press("2")
    second.until(r"Question 2[\s\S]*1 or 2 the")
    second.press("s")
    second.until(r"Question 3[\s\S]*1 or 2 the")
    second.press("x2")
    second.until(r"Question 4[\s\S]*1 or 2 the")
    second.press("1")
    assert "4 labelled, 1 skipped, 0 left" in second.until("0 left")
    second.end()
    assert second.process.returncode == 0

    given = labels(rows)
    shown = {f"secret{i}": order_of(pair(f"secret{i}"), "ann") for i in range(5)}
    assert len(set(shown.values())) == 2, "some rows are shown the other way round"
    told = [(row["id"], row["label"]) for row in given]
    assert told == [
        ("secret0", str(shown["secret0"][0])),
        ("secret1", "tie"),
        ("secret1", str(shown["secret1"][1])),
        ("secret2", ""),
        ("secret3", str(shown["secret3"][1])),
        ("secret4", str(shown["secret4"][0])),
    ]
    assert all(row["rater"] == "ann" and row["time"].endswith("+00:00") for row in given)
    verdicts = [{"id": name, "kind": "pairwise", "choice": int(dict(told)[name] or 1)} for name in shown]
    (rows / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in verdicts))
    figures = compare(rows / "verdicts.jsonl", rows / "labels.csv")["choice"].figures()
    assert (figures["n"], figures["agreement"]["value"]) == (4, 1.0)


def pair(name, n=2, kind="pairwise"):
    return Task(id=name, kind=kind, question="Q?", responses=tuple(map(str, range(n))))


@pytest.mark.parametrize(
    ("task", "key", "label"),
    [
        (pair("a"), "1", "2"),
        (pair("a"), "2", "1"),
        (pair("a"), "3", None),
        (pair("a"), "0", None),
        (pair("a"), "t", "tie"),
        (pair("a"), "y", None),
        (pair("a", 12, "listwise"), "12", "1"),
        (pair("a", 12, "listwise"), "13", None),
        (pair("a", 1, "pointwise"), "y", "true"),
        (pair("a", 1, "pointwise"), "n", "false"),
        (pair("a", 1, "pointwise"), "1", None),
        (pair("a", 1, "rating"), "7", "7"),
        (pair("a", 1, "rating"), "0", "10"),
        (pair("a", 1, "rating"), "t", None),
    ],
)
def test_a_key_means_what_it_says_in_the_file_s_own_numbers(task, key, label):
    assert label_of_key(task, key, range(len(task.responses), 0, -1)) == label


def test_labels_of_others_stay_and_a_line_that_was_cut_off_is_taken_out(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("id,label,rater\na,1,bo\nb,2,ann\nc,")
    given = Labels(file, "ann")
    assert given.given == {"b": "2"}
    given.add(pair("c"), "tie", 1.0, (2, 1))
    assert file.read_text().splitlines() == ["id,label,rater", "a,1,bo", "b,2,ann", "c,tie,ann"]
    file.write_text("id,label,rater\na,1,ann")  # as an editor leaves it
    Labels(file, "ann").add(pair("b"), "2", 1.0, (1, 2))
    assert file.read_text().splitlines() == ["id,label,rater", "a,1,ann", "b,2,ann"]
    other = tmp_path / "labels.jsonl"
    Labels(other, "ann").add(pair("é"), "1", 1.26, (2, 1))
    [row] = [json.loads(line) for line in other.read_text("utf-8").splitlines()]
    assert (row["id"], row["label"], row["seconds"], row["shown"]) == ("é", "1", 1.3, "2 1")
    other.write_text(other.read_text("utf-8") + '{"id": "b", "la')
    assert Labels(other, "ann").given == {"é": "1"}


def test_what_is_no_file_of_labels_stays_as_it_is(tmp_path):
    for name, text in (("other.csv", "name,age\nAnn,7"), ("other.jsonl", "no JSON"), ("list.jsonl", "[1]")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ArmliteError, match="holds no labels"):
            Labels(tmp_path / name, "ann")
        assert (tmp_path / name).read_text() == text
    with pytest.raises(ArmliteError, match=r"must end in \.csv or \.jsonl"):
        Labels(tmp_path / "labels.xlsx", "ann")


def test_rows_that_cannot_be_shown_are_left_out_and_told(rows):
    (rows / "photo.png").write_bytes(b"no picture")
    run = Terminal("label", "rows.csv", "--out", "labels.csv", cwd=rows)
    run.until(r"Question 1[\s\S]*1 or 2 the")
    run.press("bq")
    assert "0 labelled, 0 skipped, 4 left" in run.until(r"1 rows cannot be shown: .*photo\.png")
    run.end()


def test_a_document_is_shown_by_its_pages_and_where_it_is(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "report.pdf").write_bytes(write_pdf([["one"], ["two"]]))
    (tmp_path / "rows.csv").write_text("question,response,document\nQ?,a,deep/report.pdf\n")
    run = Terminal("label", "rows.csv", "--out", "labels.jsonl", "--rate", cwd=tmp_path, ARMLITE_IMAGES="none")
    seen = run.until("1 to 9, and 0 for 10")
    assert re.search(r"document.*  deep/report\.pdf", seen) and "[image img_0" in seen
    run.press("0")
    run.until("1 labelled, 0 skipped, 0 left")
    run.end()
    assert json.loads((tmp_path / "labels.jsonl").read_text())["label"] == "10"


def test_without_a_terminal_it_is_refused_in_a_sentence(rows, monkeypatch, capsys):
    monkeypatch.chdir(rows)
    with pytest.raises(SystemExit) as end:
        main(["label", "rows.csv", "--out", "labels.csv"])
    err = capsys.readouterr().err
    assert end.value.code == 2 and "by keys in a terminal" in err and err.count("\n") == 1
    assert not Path("labels.csv").exists()
