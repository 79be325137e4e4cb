"""`armlite chat` at a terminal: pastes, editing, completion, a slow judge that is interrupted, and going on later."""

import json
import re
import sys
import time

import pytest
from PIL import Image
from terminal import Terminal

THINKING = (
    "<think>"
    + "I compare them word by word. " * 12
    + "</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"
)
PASTE = """\
def where():

    return "/usr/bin"

/usr/bin is where it looks.
/judge is not said here.
""" + "\n".join(f"line {n}" if n % 5 else "" for n in range(24))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "my photos").mkdir()
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "my photos" / "pier.jpg")
    editor = tmp_path / "editor.py"
    editor.write_text("import sys; open(sys.argv[1], 'a').write(' and more')\n")
    return tmp_path


@pytest.fixture
def chat(place, process):
    process.script(turns=[THINKING])

    def begin(*words):
        state, editor = str(place / "state"), f"{sys.executable} {place / 'editor.py'}"
        return Terminal("chat", "--model", process.model, *words, cwd=place, ARMLITE_STATE=state, EDITOR=editor)

    yield begin
    process.script()


def enter(terminal, line):
    terminal.ready()
    terminal.press(line + "\r")


def test_a_session_with_pastes_edits_completion_an_interrupt_and_a_resume(chat, place, process):
    terminal = chat()
    enter(terminal, "Which function is right?")
    terminal.ready()
    terminal.paste(PASTE)
    terminal.press("\r")
    terminal.until("1 response")
    terminal.ready()
    terminal.press("/resp\t")
    terminal.until("> /response")
    terminal.press("/bin/sh it is, not \\\r")
    terminal.ready(".")
    terminal.press("zsh\r")
    terminal.until("2 responses")
    enter(terminal, "/response")
    for line in ("first", "", "..", "  /last"):
        terminal.ready(".")
        terminal.press(line + "\r")
    terminal.ready(".")
    terminal.press("\x04")
    terminal.until("3 responses")
    enter(terminal, "/edit 2")
    enter(terminal, "/drop 3")
    enter(terminal, "/drop 1")
    enter(terminal, "/undo")
    enter(terminal, "/image my\\ photos/pier.jpg")
    terminal.ready()
    terminal.press("/image my\t")
    terminal.until("> /image my photos")
    terminal.press("\x03")  # throws the line away
    terminal.until("/quit leaves")
    enter(terminal, "judge")
    terminal.until("judge is the name of a command: write /judge")
    enter(terminal, "/show")
    terminal.until("question    Which function is right?", "image 1     my photos/pier.jpg", "def where():")

    process.script(turns=[THINKING], pace=0.2)
    enter(terminal, "/judge")
    terminal.until("I compare them", "step 1 · ", seconds=10)
    assert re.search(r"step 1 · \d+ s · [\d,]+ tokens", terminal.shown)
    terminal.press("\x03")
    terminal.until("interrupted; the case is as it was")
    terminal.ready()
    time.sleep(0.6)  # as long as three more words of what was broken off take
    assert terminal.shown.endswith("interrupted; the case is as it was\n>")
    process.script(turns=[THINKING])
    enter(terminal, "/judge")
    said = terminal.until("Response 1 is better", "turn", " s · openai:judge-7b")
    assert re.search(r"1 turn, 0 tool calls, \d+ tokens · \d+\.\d s · openai:judge-7b", said)
    enter(terminal, "/why")
    terminal.until("no tool was called")
    enter(terminal, "/quit")
    said = terminal.until("1 judgment is kept in")
    assert terminal.close() == 0

    folder = next((place / "state" / "chat").iterdir())
    case = json.loads((folder / "case.json").read_text())
    assert case["responses"] == [PASTE, "/bin/sh it is, not \nzsh\n and more"]
    assert (place / "state" / "chat_history").read_text().count("Which function is right?") == 1
    [verdict] = (folder / "verdicts.jsonl").read_text().splitlines()
    assert json.loads(verdict)["choice"] == 1

    terminal = chat("--resume")
    terminal.until("goes on; the question, 1 image, 2 responses")
    enter(terminal, "/new")
    terminal.until("1 judgment can still be saved")
    terminal.ready()
    terminal.press("\x04")
    assert terminal.close() == 0


def test_a_slow_server_shows_seconds_and_what_it_waits_for(chat, process):
    process.script(turns=[THINKING], delay=2.5, faults=[{"status": 503}])
    terminal = chat("--no-probe", "--no-history")
    for line in ("Q?", "a", "b", "/judge"):
        enter(terminal, line)
    terminal.until("judging · 1 s")
    terminal.until("503 scripted fault: again in", "1 of 5")
    terminal.until("judging · 4 s")
    terminal.press("\x03")
    terminal.until("interrupted")
    enter(terminal, "/quit")
    assert terminal.close() == 0


def test_nothing_is_kept_with_no_history(chat, place):
    terminal = chat("--no-history")
    enter(terminal, "a secret question")
    enter(terminal, "/quit")
    assert terminal.close() == 0
    assert not (place / "state").exists()


def test_a_dead_endpoint_is_told_before_anything_is_typed(place):
    start = time.monotonic()
    terminal = Terminal("chat", "--model", "openai:judge@http://127.0.0.1:1/v1", cwd=place)
    terminal.until("cannot reach http://127.0.0.1:1/v1")
    assert terminal.close() == 2 and time.monotonic() - start < 30
