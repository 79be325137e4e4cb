"""`armlite judge` and `armlite chat` as a user meets them: what is said where, and one line for every bad input."""

import json
import os
import re
import subprocess

import pytest
from command_line import ARMLITE, is_one_line, runner, work_in
from terminal import Terminal

from armlite.types import Verdict


@pytest.fixture(scope="module")
def server(server):
    """Words for `--model`: the scripted endpoint."""
    return f"openai:judge-7b@{server}/v1"


@pytest.fixture
def files(tmp_path, monkeypatch):
    return work_in(tmp_path, monkeypatch)


@pytest.fixture
def run(capsys):
    return runner(capsys)


# --- judge -----------------------------------------------------------------------------------------------------------


def test_a_judgment_is_told_on_stdout_and_its_progress_on_stderr(run, files, server):
    asked = ["judge", "--model", server, "--question", "What is it?", "--response", "a boat", "--response", "a pier"]
    code, out, err = run(*asked, "--image", "photo.jpg")
    words = " ".join(out.split())
    assert code == 0
    assert "Response 1 is better" in words
    assert "The crop agrees with the first response." in words
    assert "call image_zoom_in_tool(" in words
    assert "step 1: image_zoom_in_tool(" in err
    assert "step 2: answer: Overall Judgment: Answer 1 is better." in err


def test_json_is_a_verdict_and_nothing_else(run, files, server):
    asked = ["judge", "--model", server, *GOOD, "--image", "photo.jpg"]
    code, out, _ = run(*asked, "--json")
    verdict = Verdict.from_json(out)
    assert (code, verdict.status, verdict.choice, verdict.confidence) == (0, "judged", 1, None)
    assert verdict.evidence[0].tool == "image_zoom_in_tool"
    assert json.loads(run(*asked, "--swap", "--json")[1])["status"] == "split"
    voted = json.loads(run(*asked, "--votes", 3, "--no-tools", "--json")[1])
    assert (voted["confidence"], voted["evidence"], len(voted["trajectories"])) == (1.0, [], 3)
    assert voted["trajectories"][0]["tools"] == []


def test_not_being_able_to_judge_exits_0_with_its_status(run, files, server):
    asked = ["judge", "--model", server, "--question", "?", "--response", "a", "--rate"]
    code, out, _ = run(*asked, "--json")
    assert (code, json.loads(out)["status"], json.loads(out)["rating"]) == (0, "no_answer", None)
    code, out, _ = run(*asked)
    assert code == 0
    assert "Could not judge" in out


def test_saved_judgments_are_shown_by_view(run, files, server):
    asked = ["judge", "--model", server, "--question", "Which pier?", "--response", "a", "--response", "b"]
    for options in ([], ["--swap"]):
        _, _, err = run(*asked, "--image", "photo.jpg", "--save", "out", *options)
        assert "armlite view out" in err
    code, out, _ = run("view", "out", "--json")
    assert (code, len(out.splitlines())) == (0, 3)
    assert "Which pier?" in run("view", "out", "--index", 1)[1]


GOOD = ["--question", "?", "--response", "a", "--response", "b"]
BAD_INPUTS = [
    (["--image", "gone.png"], ["gone.png", "does not exist"]),
    (["--image", "folder"], ["folder", "not a file"]),
    (["--image", "text.png"], ["text.png", "cannot be read"]),
    (["--image", "cut.jpg"], ["cut.jpg", "cannot be read"]),
    (["--image", "huge.png"], ["huge.png", "megapixels"]),
    (["--document", "gone.pdf"], ["gone.pdf", "does not exist"]),
    (["--document", "locked.pdf"], ["locked.pdf", "password"]),
    (["--document", "empty.pdf"], ["empty.pdf", "empty"]),
    (["--document", "cut.pdf"], ["cut.pdf"]),
    (["--document", "letter.pdf"], ["letter.pdf"]),
    (["--document", "folder"], ["folder"]),
]


@pytest.mark.parametrize(("words", "said"), BAD_INPUTS, ids=[w[-1] for w, _ in BAD_INPUTS])
def test_a_bad_input_is_one_line_before_any_model_is_looked_for(run, files, words, said):
    before = sorted(os.listdir())
    code, out, err = run("judge", "--model", "no/such/model/here", *GOOD, *words, "--save", "out")
    assert (code, out) == (2, "")
    assert is_one_line(err, *said), err
    code, out, err = run("tools", "run", "image_zoom_in_tool", *words, "--out", "out")
    assert (code, out) == (2, "")
    assert is_one_line(err, *said), err
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--question", " ", "--response", "a"], ["question is empty"]),
        (["--question", "?", "--response", "a", "--swap"], ["--swap", "two or more"]),
        (["--question", "?", "--response", "a", "--rank"], ["--rank", "two or more"]),
        ([*GOOD, "--rate"], ["--rate", "there are 2"]),
        ([*GOOD, "--rank", "--swap"], ["--swap"]),
        ([*GOOD, "--quantize", "8bit"], ["8bit", "4bit"]),
        ([*GOOD, "--device", "cdua"], ["cdua", "cuda"]),
        ([*GOOD, "--save", "text.png"], ["text.png", "not a folder"]),
        ([*GOOD], ["no/such/model/here", "no model"]),
    ],
)
def test_an_impossible_request_is_one_line(run, files, words, said):
    code, out, err = run("judge", "--model", "no/such/model/here", *words)
    assert (code, out) == (2, "")
    assert is_one_line(err, *said), err


def test_a_folder_without_a_model_and_a_server_without_one_are_one_line(run, files, server):
    for command in (["judge", *GOOD], ["chat"]):
        code, _, err = run(command[0], "--model", "folder", *command[1:])
        assert code == 2
        assert is_one_line(err, "folder", "holds no model")
    _, address = server.split("@")
    code, _, err = run("judge", "--model", f"openai:judge-8b@{address}", *GOOD)
    assert code == 2
    assert is_one_line(err, "judge-8b", "Did you mean 'judge-7b'")
    code, _, err = run("judge", "--model", "openai:judge-7b@http://127.0.0.1:1/v1", *GOOD)
    assert code == 2
    assert is_one_line(err, "cannot reach")


def test_debug_shows_the_traceback_wherever_it_stands(run, files):
    for words in (["--debug", "view", "gone"], ["view", "gone", "--debug"]):
        code, _, err = run(*words)
        assert code == 2
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("error: there is no file or folder gone")


# --- chat ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(BAD_INPUTS)))
def test_the_first_mistake_in_a_pipe_ends_the_session_with_one_line(files, server, number):
    words, _ = BAD_INPUTS[number]
    bad = f"/{'image' if words[0] == '--image' else 'doc'} {words[1]}"
    lines = ["What is it?", "a boat", "a pier", "/judge", bad, "/judge"]
    done = subprocess.run(
        [*ARMLITE, "chat", "--model", server], input="\n".join(lines), capture_output=True, text=True, timeout=60
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and "Traceback" not in done.stderr
    assert done.stdout.count("Response 1 is better") == 1


# --- signs of life ---------------------------------------------------------------------------------------------------


def test_stream_shows_what_is_written_and_the_verdict_says_how_long_it_took(run, files, server):
    code, out, err = run("judge", "--model", server, *GOOD, "--stream", "--image", "photo.jpg")
    assert code == 0
    assert "<think>I cannot read the sign yet.</think>" in err and "<answer>Overall Judgment" in err
    assert re.search(r"\d+ tokens · \d+\.\d s · openai:judge-7b", out)
    code, _, err = run("judge", "--model", server, *GOOD)
    assert code == 0 and "<think>They" not in err and "I cannot read" not in err


def test_at_a_terminal_seconds_run_and_the_text_streams_in(files, process):
    turn = f"<think>{'word ' * 40}</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"
    process.script(turns=[turn], delay=1.2, pace=0.03)
    terminal = Terminal("judge", "--model", process.model, *GOOD, "--stream", "--no-probe", cwd=files)
    terminal.until("judging · 1 s")
    terminal.until("word word", "step 1 · ")
    terminal.until("Response 1 is better", " s · openai:judge-7b")
    process.script()
    assert terminal.close() == 0 and "<think>" not in terminal.shown, "the block is gone when the verdict is there"
