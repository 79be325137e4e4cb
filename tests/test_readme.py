"""README.md and the pages of the package say what is: blocks are what commands make, examples run as they stand."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import threading
import time
from importlib import import_module

import httpx
import pytest
import readme
from make_pdf import write_pdf
from PIL import Image
from published import mmlongbench_doc

from armlite import store
from armlite.cli import COMMANDS as CLI_COMMANDS
from armlite.cli import main
from armlite.data.tasks import write_tasks
from armlite.pocket.model import save_pocket
from armlite.pocket.traces import sample_texts
from armlite.pocket.world import generate
from armlite.recipe import load_recipe
from armlite.types import Task
from armlite.view.demo import demo

FRONT = readme.README.read_text(encoding="utf-8")
PAGES = ("commands", "cards", "data", "package")
"""Pages whose commands run as they stand; the others have tests of their own."""
TEXT = "\n".join([FRONT, *((readme.PAGES / f"{page}.md").read_text(encoding="utf-8") for page in PAGES)])
TREE = readme.TREE.read_text(encoding="utf-8")
GOOD = [
    Task(id=str(i), kind="open_qa", question=f"How many are in box {i}?", gold=(f"There are {i + 2} red tiles.",))
    for i in range(4)
]
"""What `armlite data pairs` is shown on."""
ADDRESS = "http://localhost:8000"
"""Where the README has its server."""


def fences(language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


SHELL = [line for fence in fences("bash") for line in fence.replace("\\\n", " ").splitlines()]
SET_UPS = [line for line in SHELL if "-m venv" in line]
COMMANDS = list(dict.fromkeys(line for line in SHELL if line.startswith("armlite ")))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder as the README's reader has it: the recipes, a run (of a model that has learnt nothing), own files."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(readme.ROOT / "recipes", root / "recipes")
    Image.radial_gradient("L").convert("RGB").save(root / "photo.jpg")
    write_pdf(root / "paper.pdf", ["# Intro\nThe pier.", "# Results\nTable 2: lighthouses.", "The end."])
    run, recipe = (
        root / "runs" / "pocket",
        load_recipe(root / "recipes" / "pocket.yaml", ["evaluation.max_new_tokens=9"]),
    )
    tasks = list(generate("test", 24, 0, run / "data" / "test"))
    write_tasks(run / "data" / "test" / "tasks.jsonl", tasks)
    write_tasks(run / "data" / "train" / "tasks.jsonl", generate("train", 8, 0, run / "data" / "train"))
    save_pocket(sample_texts(tasks, recipe.episode, run / "data" / "test", 0), 0, run / "checkpoints" / "sft")
    store.write_atomic(run / "recipe.yaml", recipe.to_yaml())
    mmlongbench_doc.build(root / "data" / "mmlongbench-doc", "json")
    write_tasks(root / "data" / "good.jsonl", GOOD)
    row, images = demo()
    (root / "pairs.csv").write_text("id,question,response_1,response_2\na,Which?,one,two\nb,Which?,three,four\n")
    (root / "labels.csv").write_text("id,label\na,1\nb,2\n")
    lines = [{"id": name, "kind": "pairwise", "choice": 1} for name in ("a", "b")]
    store.write_atomic(root / "runs" / "labelled" / "verdicts.jsonl", "\n".join(map(json.dumps, lines)))
    store.save(root / "runs" / "labelled" / "trajectories.jsonl", [row], images)
    task = row.trajectory.task
    known = [
        row.trajectory.model_copy(
            update={"task": task.model_copy(update={"id": f"k{n}"}), "probabilities": {"1": 0.9, "2": 0.1}}
        )
        for n in range(40)
    ]
    rows = [store.Saved(trajectory=one) for one in known]
    store.save(root / "runs" / "known" / "trajectories.jsonl", rows, images)
    store.save(run / "eval" / "sft" / "greedy.jsonl", [row], images)
    store.write_atomic(root / "runs" / "mine" / "recipe.yaml", recipe.to_yaml())
    return root


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("ARMLITE_CACHE", str(tmp_path / "cache"))


def test_the_marked_blocks_are_what_their_commands_make():
    for page in readme.BLOCKS:
        assert readme.rewritten(page) == page.read_text(encoding="utf-8"), "run: python tests/readme.py"


def test_the_picture_of_the_terminal_is_what_view_draws_and_small():
    assert readme.PICTURE.read_text(encoding="utf-8") == readme.terminal_picture(), "run: python tests/readme.py"
    assert readme.PICTURE.stat().st_size <= 200_000


def test_the_picture_of_the_page_is_of_today_s_page_and_small(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(readme.ROOT / "tests" / "real")
    picture = import_module("picture")
    with Image.open(picture.PICTURE) as image:
        assert image.text[picture.PAGE] == picture.digest(picture.demo_page(tmp_path)), "run tests/real/picture.py"
    assert picture.PICTURE.stat().st_size <= 200_000


def test_the_front_page_is_short_and_names_every_page_of_the_package():
    assert len(FRONT.splitlines()) <= 200
    assert {page.stem for page in readme.PAGES.glob("*.md")} == set(
        re.findall(r"\[(\w+)\]\(armlite/docs/\1\.md\)", FRONT)
    )


def test_the_task_record_of_the_front_page_is_one():
    [record] = fences("json")
    assert len(record.splitlines()) == 6
    assert Task.from_json(record).gold == 1


def test_a_trajectory_of_the_trained_judge_is_shown_where_there_is_one(monkeypatch, tmp_path):
    row, images = demo()
    store.save(tmp_path / readme.EXAMPLE / "trajectories.jsonl", [row, row], images)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    lines = readme.capture().splitlines()
    assert lines[0].startswith("The pocket judge")
    assert lines[3] == "$ armlite view recipes/pocket.example --index 1"
    assert sum("Response 2 is better" in line for line in lines) == 1


def test_measured_results_become_the_table_and_say_on_what(monkeypatch, tmp_path):
    shares = ("accuracy", *(f"accuracy/{name}" for name in ("zoom", "document", "instruction")))
    figures = {**{name: {"value": 0.9} for name in shares}, "tool_calls_per_task": {"value": 1.0}}
    summary = {"items": 300, "figures": figures}
    stages = ("base", "sft", "control", "grpo1", "grpo2")
    runs = [
        {
            "seed": seed,
            "seconds": {"sft": 200.0 + 60 * seed, "grpo1": 100.0, "grpo2": 180.0, "control": 999.0},
            "eval": {stage: dict.fromkeys(("rollout", "greedy", "no_tools"), summary) for stage in stages},
        }
        for seed in (0, 1)
    ]
    machine = {"threads": 2, "versions": {"torch": "2.13.0", "trl": "1.16.0"}}
    found = {"recipe": "pocket", "date": "2026-11-20", "environment": machine, "runs": runs}
    store.write_atomic(tmp_path / readme.RESULTS, json.dumps(found))
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    text = readme.results()
    for part in ("300 held-out tasks", "seeds 0, 1,", "at most 9 minutes on 2 CPU threads (2026-11-20, torch 2.13.0"):
        assert part in text
    assert re.search(r"^\| GRPO stage 2 \| 90\.0 \(90\.0 to 90\.0\) \|", text, re.MULTILINE)


def test_the_capture_shows_a_whole_judgment():
    capture = readme.block(FRONT, "capture")[1]
    assert "$ armlite view" in capture
    for part in ("question", "call", "result", "answer", "verdict"):
        assert part in capture
    assert max(map(len, capture.splitlines())) <= readme.WIDTH


def test_the_tree_names_what_is_there_and_all_of_the_package():
    assert readme.tree_faults(TREE) == []
    assert all(said for path, said in readme.tree(TREE).items() if path.count("/") > path.endswith("/"))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("  loop.py ", "  lopp.py "), "the tree names armlite/lopp.py, which is not there"),
        (("  loop.py ", "  lopp.py "), "the tree does not name armlite/loop.py"),
        (("  models/ ", "  models  "), "the tree does not name armlite/models/"),
        (("  pocket.yaml ", "  pokcet.yaml "), "the tree does not name recipes/pocket.yaml"),
    ],
)
def test_a_tree_that_is_wrong_is_told(change, fault):
    assert fault in readme.tree_faults(TREE.replace(*change))


def test_there_are_exactly_two_set_up_commands_of_one_line_each():
    start = "python3 -m venv .venv && .venv/bin/pip install torch==2.13.0 && .venv/bin/pip install -e "
    first, second = SET_UPS
    assert first == start + ". && .venv/bin/armlite train recipes/pocket.yaml"
    assert second == start + '".[test]" && .venv/bin/python -m pytest'


def test_the_second_set_up_command_is_what_ci_runs():
    script = (readme.ROOT / ".ci" / "run").read_text(encoding="utf-8").replace('"$environment/bin/', '".venv/bin/')
    for step in SET_UPS[1].split(" && ")[1:]:
        program, *words = shlex.split(step)
        ran = [[w for w in shlex.split(line) if w != "--quiet"] for line in script.splitlines() if '".venv/' in line]
        assert [program, *words] in ran


def test_the_example_is_six_lines_and_runs_as_it_stands(place, monkeypatch, capsys):
    [example] = fences("python")
    assert len([line for line in example.splitlines() if line.strip()]) == 6
    monkeypatch.chdir(place)
    exec(compile(example, "README.md", "exec"), {})
    out = capsys.readouterr().out.splitlines()
    assert [line.split(" None ")[0][-1] for line in out] == ["?", "?", "?"], "a model without training judges nothing"


def test_the_example_shows_verdicts_and_what_they_rest_on(place, server, monkeypatch, capsys):
    [example] = fences("python")
    monkeypatch.chdir(place)
    exec(example.replace('"runs/pocket")', f'"openai:judge-7b@{server}/v1")'), {})
    zoom = capsys.readouterr().out.splitlines()[0]
    assert zoom.endswith("? 1 The crop agrees with the first response. ['image_zoom_in_tool']")


def test_every_command_of_the_table_of_commands_has_an_example():
    assert {line.split()[1] for line in COMMANDS} == set(CLI_COMMANDS)


@pytest.mark.parametrize(
    "line",
    [pytest.param(c, marks=pytest.mark.slow) if " bench " in c else c for c in COMMANDS],
    ids=lambda line: "-".join(line.split()[1:3]),
)
def test_a_command_runs_as_it_stands(line, place, server, monkeypatch, capsys):
    """With the server elsewhere, an empty standard input, three tasks instead of many, and training only planned."""
    words = shlex.split(line.replace(ADDRESS, server))[1:]
    words += ["--repetitions", "1"] if words[0] == "bench" else []
    if "--n" in words:
        words[words.index("--n") + 1] = "3"
    words += ["--dry-run"] if words[0] == "train" else []
    if words[0] == "serve":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words += ["--port", str(port)]
        threading.Thread(target=_stop_when_it_serves, args=[port], daemon=True).start()
    monkeypatch.chdir(place)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(SystemExit) as end:
        main(words)
    out, err = capsys.readouterr()
    if words[0] == "label":  # it wants a terminal: tests/test_label.py has one
        assert end.value.code == 2 and "in a terminal" in err
        return
    if words[0] == "audit":  # a model that has learnt nothing
        assert end.value.code == 2 and "nothing could be compared" in err
        return
    assert not end.value.code, err
    assert out or words[0] in ("chat", "serve", "view")


def _stop_when_it_serves(port):
    while True:
        time.sleep(0.05)
        with contextlib.suppress(httpx.TransportError):  # while the model loads nobody answers, which may take longer
            assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
            os.kill(os.getpid(), signal.SIGTERM)
            return


def test_what_the_set_up_trains_is_a_recipe(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    command = SET_UPS[0].split(" && ")[-1].split()
    with pytest.raises(SystemExit) as end:
        main([*command[1:], "--dry-run"])
    assert not end.value.code
    assert "\n# grpo2: " in capsys.readouterr().out


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`armlite ([a-z]+(?: [^`]+)?)`", TEXT))))
def test_options_that_are_named_in_the_text_exist(line, capsys):
    name, *rest = shlex.split(line)
    deeper = [word for word in rest[:1] if word in ("compare", "list", "unpack")]
    with pytest.raises(SystemExit) as end:
        main([name, *deeper, "--help"])
    assert not end.value.code
    text = capsys.readouterr().out
    for word in rest:
        assert not word.startswith("--") or word in text


def test_files_that_are_named_in_the_text_exist():
    named = re.findall(r"`((?:armlite|recipes|examples|tests)/[\w./-]*)`", TEXT)
    assert named
    assert [path for path in named if not (readme.ROOT / path).exists()] == []
