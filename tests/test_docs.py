"""The pages: `armlite docs` shows those that are shipped, and what they name is there."""

import json
import re
import sys
from pathlib import Path

import pytest
from command_line import is_one_line, runner

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "armlite" / "docs").glob("*.md"))


@pytest.fixture
def run(capsys):
    return runner(capsys)


def test_the_command_lists_the_pages_in_a_line_each(run):
    code, out, _ = run("docs")
    assert code == 0
    assert [line.partition(": ")[0] for line in out.splitlines()] == [page.stem for page in PAGES]
    assert out.startswith("design: Design. How the parts of armlite fit together")
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
    assert is_one_line(err, "there is no page 'desing'.", "Did you mean 'design'?", "Pages: design")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    named = re.findall(r"`((?:armlite|tests|recipes|examples|\.ci)/[\w./-]+)`", page.read_text(encoding="utf-8"))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
