"""The notebook for a free card: it is one, shows no outputs, and its cells run as far as they need no card."""

import json
import shlex
from pathlib import Path

import pytest
import typer
from test_examples import ONE_STEP, TINY

from armlite.cli import app, main
from armlite.plan import make_plan
from armlite.recipe import load_recipe

ROOT = Path(__file__).parents[1]
FILE = ROOT / "examples" / "free_gpu.ipynb"
NOTEBOOK = json.loads(FILE.read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
pytestmark = pytest.mark.filterwarnings("ignore")
SHORTER = {"recipes/pocket.yaml": [*TINY.split(), *ONE_STEP, "evaluation.benchmarks_at=[base]"]}
"""Recipe -> what a test changes of it."""


def tagged(*tags):
    """The command lines of the code cells that have just these tags."""
    cells = [cell for cell in CODE if cell["metadata"].get("tags", []) == list(tags)]
    lines = ("".join(cell["source"]).replace("\\\n", " ").splitlines() for cell in cells)
    return [shlex.split(line[1:]) for cell in lines for line in cell]


def command(words):
    """The command that the words of a line ask for, and its parsed options; raises where they cannot be parsed."""
    group = typer.main.get_command(app)
    context = group.make_context("armlite", words, resilient_parsing=False)
    name, found, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    return name, found.make_context(name, rest, parent=context).params


def test_it_is_a_notebook_of_short_cells_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert NOTEBOOK["metadata"]["kernelspec"]["language"] == "python"
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in NOTEBOOK["cells"]:
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | (
            {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        )
        assert cell["cell_type"] in ("code", "markdown") and 1 <= len(cell["source"]) <= 8
        assert not cell.get("outputs") and cell.get("execution_count") is None
    assert any("Nothing here has been run on a T4" in line for line in NOTEBOOK["cells"][0]["source"])


def test_it_is_installed_from_the_clone_and_its_recipe_is_planned_to_fit():
    assert tagged("setup") == [
        ["cd", "armlite"], ["pip", "install", "-q", "-e", "."],
        ["env", "CUDA_VISIBLE_DEVICES=0"], ["env", "HF_HOME=/content/hf"],
    ]  # fmt: skip
    for words in tagged("gpu"):
        if words[0] == "armlite" and words[1] == "train" and words[2].endswith(".yaml"):
            changes = [word for word in words[3:] if "=" in word]
            assert make_plan(load_recipe(ROOT / words[2], changes), "t4")["fits"]


@pytest.mark.parametrize("words", tagged("gpu"), ids=lambda words: " ".join(words[:3]))
def test_a_cell_that_needs_a_card_asks_for_what_there_is(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    if words[0] == "cat":
        assert words[1].startswith("runs/") and words[1].endswith("/report.md")
        return
    assert words[0] == "armlite"
    name, params = command(words[1:])
    assert name in ("train", "view", "judge") and params
    if name == "train" and str(params["recipe"]).endswith(".yaml"):
        assert load_recipe(params["recipe"], params["overrides"] or []).stages.grpo2 is not None


def test_an_option_that_there_is_not_is_not_parsed():
    with pytest.raises(Exception, match="No such option"):
        command(["train", "recipes/pocket.yaml", "--no-such-option"])


def test_the_cells_that_need_no_card_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert len(tagged()) == 6
    for words in tagged():
        if words[0] == "cat":
            assert Path(words[1]).read_text(encoding="utf-8").startswith("#")
            continue
        changes = SHORTER.get(words[2], []) if words[1:2] == ["train"] and "--dry-run" not in words else []
        with pytest.raises(SystemExit) as end:
            main([*words[1:], *changes])
        assert not end.value.code or (words[1] == "doctor" and end.value.code == 1), words  # which may find something
        assert capsys.readouterr().out.strip(), words
