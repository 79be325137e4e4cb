"""The command line as a user meets it: quick, quiet on stdout, and one line for every mistake."""

import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from make_pdf import write_pdf
from PIL import Image
from pypdf import PdfWriter

from armlite import __version__
from armlite.cli import COMMANDS, main
from armlite.types import Verdict

ARMLITE = [sys.executable, "-m", "armlite"]
HEAVY = ("torch", "transformers", "trl", "datasets", "peft", "matplotlib", "PIL", "rich.console")


@pytest.fixture(scope="module")
def server():
    """Words for `--model`: a scripted endpoint that zooms once and then prefers the first response."""
    script = Path(__file__).parent / "fake_server.py"
    process = subprocess.Popen([sys.executable, script, "--port", "0"], stdout=subprocess.PIPE, text=True)
    port = int(process.stdout.readline())
    yield f"openai:judge-7b@http://127.0.0.1:{port}/v1"
    process.terminate()
    process.wait()


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder to work in, with a good photo and a good PDF, and what can be wrong with either."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    Image.radial_gradient("L").convert("RGB").save("photo.jpg")
    write_pdf(Path("paper.pdf"), ["# Intro\nThe pier.", "# Results\nTable 1: a lighthouse stands there.", "The end."])
    Path("text.png").write_text("I am no picture")
    Path("cut.jpg").write_bytes(Path("photo.jpg").read_bytes()[:900])
    Path("huge.png").write_bytes(_png_header(20_000, 10_000))
    Path("empty.pdf").write_bytes(b"")
    Path("cut.pdf").write_bytes(Path("paper.pdf").read_bytes()[:600])
    Path("letter.pdf").write_text("Dear Sir,")
    Path("folder").mkdir()
    writer = PdfWriter(clone_from="paper.pdf")
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write("locked.pdf")
    return tmp_path


def _png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.fixture
def run(capsys):
    """Runs a command line in this process: (exit status, stdout, stderr)."""

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


def is_one_line(err, *words):
    """A mistake is told in one line that names it, after at most a line of progress, and without a traceback."""
    lines = [line for line in err.splitlines() if not line.startswith(("judging with", "loading"))]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return all(word in lines[0] for word in words)


# --- how it starts ---------------------------------------------------------------------------------------------------


def test_help_answers_in_under_half_a_second():
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([*ARMLITE, "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


@pytest.mark.parametrize("module", ["armlite", "armlite.cli", "armlite.judge", "armlite.chat", "armlite.__main__"])
def test_importing_reads_no_model_library(module):
    code = f"import sys, {module}; print(*[m for m in {HEAVY[:6]} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_importing_the_commands_reads_nothing_but_typer():
    modules = ", ".join(sorted({f"armlite.cli.{name}" for name in ("judge", "chat", "view", "tools")}))
    code = f"import sys, armlite, {modules}; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_package_gives_its_names_when_they_are_asked_for():
    code = "import armlite; [getattr(armlite, n) for n in armlite.__all__]; from armlite import Judge; armlite.nope"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().endswith("AttributeError: module 'armlite' has no attribute 'nope'")
    assert set(__import__("armlite").__all__) <= set(dir(__import__("armlite")))


def test_help_lists_the_commands_and_every_command_has_an_example(run):
    code, out, _ = run("--help")
    assert code == 0
    for name in COMMANDS:
        assert f" {name} " in out
    for command in [*COMMANDS.keys() - {"tools", "data"}, "tools run", "data convert"]:
        help_text = " ".join(run(*command.split(), "--help")[1].split())
        assert help_text.count(f"armlite {command}") >= 2, "once as the usage, once as an example"
    assert run("--version")[1] == f"armlite {__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["jugde"], "Did you mean 'judge'?"),
        (["judge", "--qestion", "?"], "--question"),
        (["judge", "--model", "m"], "--question"),
        (["tools", "rnu"], "run"),
        (["judge", "--model", "m", "--question", "?", "--response", "a", "--votes", "0"], "--votes"),
    ],
)
def test_a_misspelt_command_line_is_a_mistake_of_the_user(run, words, hint):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert hint in err
    assert "Traceback" not in err


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


# --- view ------------------------------------------------------------------------------------------------------------


def test_view_names_the_line_of_a_row_that_breaks_its_schema(run, files):
    Path("rows.jsonl").write_text('{"trajectory": {"stop": "bored"}}\n')
    code, out, err = run("view", "rows.jsonl")
    assert (code, out) == (2, "")
    assert is_one_line(err, "rows.jsonl", "row 1")
    assert run("view", "--demo")[0] == 0


# --- chat ------------------------------------------------------------------------------------------------------------


def test_chat_through_a_pipe_survives_every_bad_input(files, server):
    bad = [f"/{'image' if w[0] == '--image' else 'doc'} {w[1]}" for w, _ in BAD_INPUTS]
    lines = ["What is it?", *bad, "/image photo.jpg", "a boat", "a pier", "/judge", "/quit"]
    done = subprocess.run(
        [*ARMLITE, "chat", "--model", server], input="\n".join(lines), capture_output=True, text=True, timeout=60
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 0
    assert len(errors) == len(bad)
    assert "Traceback" not in done.stderr
    assert "Response 1 is better" in done.stdout


def test_chat_at_a_terminal_has_a_prompt_and_ends_with_the_input(files, server):
    ours, theirs = pty.openpty()
    # Not pty.fork: a fork of this process, which has threads, may hang before it becomes another.
    own = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", own, *ARMLITE, "chat", "--model", server]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    for keys in (b"What?\r", b"a\r", b"forgotten\x03", b"bb\r", b"/judge\r", b"\x04"):
        seen += _until(ours, b"> ")
        os.write(ours, keys)
    assert process.wait(30) == 0
    assert b"Response 1 is better" in seen
    assert b"/quit leaves" in seen
    os.close(ours)


def _until(terminal, end):
    """What a terminal shows until it waits with `end`."""
    seen, deadline = b"", time.monotonic() + 30
    while not re.sub(rb"\x1b\[[?0-9;]*[a-zA-Z]", b"", seen).endswith(end):
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"it shows {seen[-300:]!r}"
        seen += os.read(terminal, 4096)
    time.sleep(0.2)  # no one types faster: an interrupt between prompt and waiting would be noticed with the next key
    return seen


# --- tools -----------------------------------------------------------------------------------------------------------


def test_tools_are_listed_and_shown(run):
    code, out, _ = run("tools", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert len(rows) >= 22
    assert rows["image_zoom_in_tool"]["needs"] == "image"
    plain = run("tools", "list")[1]
    assert all(name in plain for name in rows)
    assert "bbox_2d" in run("tools", "show", "image_zoom_in_tool")[1]
    schema = json.loads(run("tools", "show", "image_zoom_in_tool", "--json")[1])
    assert list(schema["function"]["parameters"]["properties"]) == ["image", "bbox_2d"]


def test_the_pages_for_a_query_come_best_first(run, files):
    words = ["doc_page_retrieval_by_query", "--document", "paper.pdf", "filename=paper", "query=lighthouse in Table 1"]
    code, out, _ = run("tools", "run", *words, "--json")
    seen = json.loads(out)
    assert code == 0
    assert seen["ok"] is True
    assert seen["pages"][0] == 2
    assert [image["page"] for image in seen["images"]] == seen["pages"]
    code, out, err = run("tools", "run", *words)
    assert "a lighthouse stands there" in out
    assert "--out" in err


def test_pictures_that_a_tool_makes_are_kept_where_one_says(run, files):
    words = ["image_zoom_in_tool", "--image", "photo.jpg", "image=original_image", "bbox_2d=[0, 0, 500, 1000]"]
    code, out, err = run("tools", "run", *words, "--out", "crops")
    assert code == 0
    assert "observation_1" in out
    assert "crops/observation_1.png" in err
    with Image.open("crops/observation_1.png") as crop:
        assert crop.size == (256, 512)
    [image] = json.loads(run("tools", "run", *words, "--out", "crops", "--json")[1])["images"]
    assert (image["file"], image["width"]) == ("crops/observation_1.png", 256)


def test_a_verifier_checks_a_text_by_hand(run):
    words = ["check_whether_response_word_count_in_range", "--text", "three little words", "response=resp_1"]
    assert "True" in run("tools", "run", *words, "lower_bound=1", "upper_bound=3")[1]
    assert json.loads(run("tools", "run", *words, "lower_bound=4", "upper_bound=9", "--json")[1])["result"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["doc_page_retrieval_by_index", "filename=paper", "image_idx=4"], "pages are 1 to 3"),
        (["doc_page_retrieval_by_index", "filename=other", "image_idx=1"], "The document is `paper`"),
        (["doc_page_retrieval_by_index", "filename=../../etc/passwd", "image_idx=1"], "no document named"),
        (["doc_page_retrieval_by_index", "filename=paper", "page=1"], "no parameter 'page'"),
        (["doc_page_retrieval_by_query", "filename=paper"], "needs the parameter 'query'"),
        (["image_zoom_in_tool", "image=gone", "bbox_2d=[0, 0, 9, 9]"], "no image named 'gone'"),
        (["image_zoom_in_tool", "image=original_image", "bbox_2d=[0, 0, 9]"], "4 numbers"),
    ],
)
def test_a_tool_that_fails_exits_1_with_what_the_model_would_read(run, files, words, said):
    given = ["--document", "paper.pdf", "--image", "photo.jpg"]
    code, out, err = run("tools", "run", *words, *given)
    assert (code, out) == (1, "")
    assert said in err
    code, out, _ = run("tools", "run", *words, *given, "--json")
    assert code == 1
    assert json.loads(out)["ok"] is False
    assert said in json.loads(out)["text"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["image_zoom_tool"], ["Did you mean 'image_zoom_in_tool'"]),
        (["image_zoom_in_tool", "bbox_2d=[1, 2"], ["bbox_2d", "array", "Usage: image_zoom_in_tool("]),
        (["doc_page_retrieval_by_index", "image_idx=two"], ["image_idx", "integer", "Usage: "]),
        (["image_zoom_in_tool", "original_image"], ["'original_image'", "key=value", "Usage: "]),
    ],
)
def test_a_misspelt_tool_or_argument_is_one_line_with_the_usage(run, words, said):
    code, out, err = run("tools", "run", *words)
    assert (code, out) == (2, "")
    assert is_one_line(err, *said), err


# --- the world around ------------------------------------------------------------------------------------------------


def test_a_reader_that_has_gone_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m armlite tools list | head -n 1", shell=True, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*ARMLITE, "tools", "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert is_one_line(done.stderr, "No space left")


def test_output_without_a_terminal_has_no_colours_and_fits_any_alphabet(files):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*ARMLITE, "view", "--demo"], capture_output=True, env=environment)
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout
    assert done.stderr == b""


def test_an_interrupt_exits_with_130(files):
    code = "import armlite.view.selection as s; s.load = lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)"
    call = f"{code}; from armlite.cli import main; main(['view', '--demo'])"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
