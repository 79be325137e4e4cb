"""The command line as a user meets it, `view` and `tools` too: quick, quiet on stdout, one line for every mistake."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import ARMLITE, is_one_line, runner, work_in
from PIL import Image

from armlite import __version__
from armlite.cli import COMMANDS
from armlite.cli.options import model_options

HEAVY = ("torch", "transformers", "trl", "datasets", "peft", "matplotlib", "PIL", "rich.console")


@pytest.fixture
def files(tmp_path, monkeypatch):
    return work_in(tmp_path, monkeypatch)


@pytest.fixture
def run(capsys):
    return runner(capsys)


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


# --- view ------------------------------------------------------------------------------------------------------------


def test_view_names_the_line_of_a_row_that_breaks_its_schema(run, files):
    Path("rows.jsonl").write_text('{"trajectory": {"stop": "bored"}}\n')
    code, out, err = run("view", "rows.jsonl")
    assert (code, out) == (2, "")
    assert is_one_line(err, "rows.jsonl", "row 1")
    assert run("view", "--demo")[0] == 0


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


def test_a_warning_of_a_library_is_one_line_once_and_what_it_tells_developers_is_none(tmp_path):
    lines = ["import warnings", "for _ in 1, 2:", "    warnings.warn('two\\nlines')"]
    (tmp_path / "mine.py").write_text("\n".join([*lines, "    warnings.warn('old', FutureWarning)", ""]))
    done = subprocess.run([*ARMLITE, "tools", "list", "--import", tmp_path / "mine.py"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.endswith(": two lines\n") and done.stderr.count("\n") == 1, done.stderr


def test_an_interrupt_exits_with_130(files):
    code = "import armlite.view.selection as s; s.load = lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)"
    call = f"{code}; from armlite.cli import main; main(['view', '--demo'])"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the allocator is left as it is")
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}, {"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}),
    ],
)
def test_a_cards_memory_grows_in_segments_unless_the_user_has_said_how(run, given, kept, monkeypatch):
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    for name in names:
        monkeypatch.setenv(name, "")  # put back afterwards
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert run("--version")[0] == 0
    assert {name: os.environ[name] for name in names if name in os.environ} == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, "100000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None), ({"GOMP_SPINCOUNT": "7"}, "7")],
    ids=["nothing", "policy", "count"],
)
def test_threads_on_cpus_spin_little_while_they_wait_unless_the_user_has_said_how(run, given, kept, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # put back afterwards
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert run("--version")[0] == 0
    assert os.environ.get("GOMP_SPINCOUNT") == kept


@pytest.mark.parametrize(("model", "threads"), [("pocket-judge", "1"), ("openai:judge@http://127.0.0.1:9/v1", None)])
def test_a_pocket_judge_is_asked_with_one_thread(model, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # put back afterwards
    monkeypatch.delenv("OMP_NUM_THREADS")
    model_options(model)
    assert os.environ.get("OMP_NUM_THREADS") == threads
