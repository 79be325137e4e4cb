"""The pages: `armlite docs` shows those that are shipped; what they and CONTRIBUTING.md name is there, and runs."""

import json
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest
from command_line import is_one_line, runner
from published.answers import answered

from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.figures import Item
from armlite.memory import Memory
from armlite.rewards import get_reward
from armlite.tools import get_tool
from armlite.types import Task

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "armlite" / "docs").glob("*.md"))
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
GUIDE = CONTRIBUTING.read_text(encoding="utf-8")


@pytest.fixture
def run(capsys):
    return runner(capsys)


def test_the_command_lists_the_pages_in_a_line_each(run):
    code, out, _ = run("docs")
    assert code == 0
    assert [line.partition(": ")[0] for line in out.splitlines()] == [page.stem for page in PAGES]
    assert "\ndesign: Design. How the parts of armlite fit together" in out
    assert max(map(len, out.splitlines())) <= 200, "a sentence each"
    assert [row["name"] for row in json.loads(run("docs", "--json")[1])] == [page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_plain_in_a_pipe_and_its_file_is_told(run, page):
    assert run("docs", page.stem) == (0, page.read_text(encoding="utf-8"), "")
    assert run("docs", page.stem, "--path") == (0, f"{page}\n", "")


def test_a_page_is_drawn_on_a_terminal(run, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = run("docs", "design")[1]
    assert "Layers and rooms" in out
    assert "## Layers" not in out


def test_an_unknown_page_names_the_nearest(run):
    code, out, err = run("docs", "desing")
    assert (code, out) == (2, "")
    assert is_one_line(err, "there is no page 'desing'.", "Did you mean 'design'?", "Pages: bases, cards")


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING], ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:armlite|tests|recipes|examples|\.ci)/[\w./-]+)`", text)
    assert named
    assert [path for path in named + re.findall(r"\]\(([^)]+)\)", text) if not (ROOT / path).exists()] == []


# --- CONTRIBUTING.md -------------------------------------------------------------------------------------------------


def test_the_glossary_has_seven_words_each_made_in_the_file_it_names():
    words = dict(re.findall(r"^- \*\*(\w+)\*\* \(`armlite/([\w/]+)\.py`\): ", GUIDE, re.MULTILINE))
    assert list(words) == ["Task", "Episode", "Trajectory", "Score", "Outcome", "Journal", "Benchmark"]
    for word, file in words.items():
        module = f"armlite.{file.replace('/', '.')}"
        assert getattr(import_module(module), word).__module__ == module


def ran(monkeypatch, section):
    """The names that the Python block of a section makes; what it registers is known to this test only."""
    monkeypatch.setattr("armlite.tools._REGISTERED", {})
    monkeypatch.setattr("armlite.rewards.REWARDS", {})
    monkeypatch.setattr("armlite.evals.benchmarks._OWN", {})
    [block] = re.findall(rf"^## {section}\n[^#]*?^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    exec(compile(block, f"CONTRIBUTING.md, {section}", "exec"), {"__name__": "contributing"})


def test_every_python_block_is_run_by_one_of_these_tests():
    assert GUIDE.count("```python") == 3


def test_the_tool_of_the_guide_is_known_and_counts(monkeypatch):
    ran(monkeypatch, "Add a tool")
    observation = get_tool("count_exclamation_marks")(Memory(texts=["No!", "Yes! Yes!"]), response="resp_2")
    assert (observation.ok, observation.data) == (True, {"count": 2})


def test_the_reward_of_the_guide_is_known_and_scores(monkeypatch):
    ran(monkeypatch, "Add a reward")
    task = Task(id="t", kind="open_qa", question="1 + 1?", gold="2")
    trajectory = answered(task, "<think>Two.</think><answer>2</answer>").trajectory
    assert get_reward("brief_and_right")(trajectory).parts == {"answer": 1.0, "brief": 0.2}


def test_the_benchmark_of_the_guide_reads_rows_and_scores_them(monkeypatch, tmp_path):
    ran(monkeypatch, "Add a benchmark")
    rows = [{"id": n, "question": f"{n} + 1?", "answer": n + 1} for n in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    convert(get_set("sums"), tmp_path, tmp_path / "out" / "tasks.jsonl")
    tasks = read_tasks(tmp_path / "out" / "tasks.jsonl")
    texts = ["<think>.</think><answer>1</answer>"] * 3 + ["I do not know."]
    figures = get_benchmark("sums").score(
        [Item(task, (answered(task, text),)) for task, text in zip(tasks, texts, strict=True)]
    )
    assert {name: figure.value for name, figure in figures.items()} == {"acc": 0.25, "parse_failures": 0.25}


def test_the_set_up_is_two_commands_with_what_ci_installs():
    set_up, test = re.findall(r"^```bash\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(set_up.splitlines()) == 2
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace('"$environment/bin/', '"').replace("--quiet ", "")
    words = [" ".join(shlex.split(line)) for line in ci.splitlines() if line.startswith('"')]
    said = " ".join(shlex.split(set_up.replace("&&", ";") + test, comments=True))
    assert [line for line in words if line not in said] == []
