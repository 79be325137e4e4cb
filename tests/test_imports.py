"""A user's own file, outside the package: its tool, reward and model work in every command that is told of it."""

import json
import os
import subprocess

import pytest
import yaml
from command_line import ARMLITE, is_one_line
from test_run import TINY

from armlite.imports import run_imports
from armlite.types import Task

MINE = '''
from pathlib import Path

from armlite import chat_model, register, reward, tool
from armlite.memory import Memory
from armlite.models.scripted import ScriptedModel
from armlite.types import Observation, Trajectory

Path(__file__).with_name("has_run").touch()


@register
@tool
def count_letters(memory: Memory, /, text: str) -> Observation:
    """Count the letters of a text.

    Args:
        text: What to count.
    """
    return Observation(ok=True, text=f"It has {len(text)} letters.", data={"letters": len(text)})


@reward(weights={"looked": 0.5, "brief": 1.0})
def short_look(trajectory: Trajectory) -> dict[str, float]:
    """Look once, and say little."""
    words = sum(len(step.turn.text.split()) for step in trajectory.steps)
    return {"looked": len(trajectory.calls) == 1, "brief": 1 / (1 + words)}


@chat_model
def mine(name, sampling):
    call = '<tool_call>\\n{"name": "count_letters", "arguments": {"text": "pier"}}\\n</tool_call>'
    answer = f"<answer>Overall Judgment: Answer {name} is better.</answer>"
    return ScriptedModel([f"<think>I count.</think>\\n{call}", f"<think>Four.</think>\\n{answer}"], f"mine:{name}")
'''
PAIR = ["--question", "Which?", "--response", "pier", "--response", "lighthouse"]


MY_TOOLS = ["--import", "my_tools.py"]


@pytest.fixture
def folder(tmp_path):
    """Where the user works, with a file of his."""
    (tmp_path / "my_tools.py").write_text(MINE)
    return tmp_path


def armlite(folder, *words):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    done = subprocess.run([*ARMLITE, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_a_tool_of_the_user_s_is_listed_shown_and_run(folder):
    code, out, _ = armlite(folder, "tools", "list", *MY_TOOLS, "--json")
    origins = {row["name"]: row["origin"] for row in json.loads(out)}
    assert code == 0
    assert origins.pop("count_letters") == str(folder / "my_tools.py")
    assert set(origins.values()) == {"shipped"}
    assert f"count_letters  from {folder / 'my_tools.py'}" in armlite(folder, "tools", "list", *MY_TOOLS)[1]
    assert "What to count." in armlite(folder, "tools", "show", "count_letters", *MY_TOOLS)[1]
    ran = armlite(folder, "tools", "run", "count_letters", "text=pier", *MY_TOOLS)
    assert ran == (0, "It has 4 letters.\n", "")
    assert is_one_line(armlite(folder, "tools", "show", "count_letters")[2], "there is no tool 'count_letters'")


def test_a_model_of_the_user_s_judges_chats_and_is_evaluated_with_his_tool(folder):
    code, out, err = armlite(folder, "judge", *MY_TOOLS, "--model", "mine:2", *PAIR, "--json")
    verdict = json.loads(out)
    assert (code, verdict["choice"], verdict["trajectories"][0]["model"]) == (0, 2, "mine:2"), err
    assert [evidence["data"] for evidence in verdict["evidence"]] == [{"letters": 4}]
    done = subprocess.run(
        [*ARMLITE, "chat", *MY_TOOLS, "--model", "mine:1", "--json"],
        input="/question Which?\n/response pier\n/response lighthouse\n/judge\n",
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["choice"] == 1, done.stderr
    task = Task(id="t", kind="pairwise", question="Which?", responses=("pier", "lighthouse"), gold=(1, 2))
    (folder / "tasks.jsonl").write_text(task.to_json() + "\n")
    words = [*MY_TOOLS, "--model", "mine:2", "--benchmark", "tasks.jsonl", "--json", "--out", "out"]
    code, out, err = armlite(folder, "eval", *words)
    summary = json.loads(out)
    figures = summary["figures"]
    assert (code, figures["accuracy"]["value"], figures["tool_calls_per_task"]["value"]) == (0, 1.0, 1.0), err


def test_a_model_that_nobody_makes_is_one_line(folder):
    code, _, err = armlite(folder, "judge", *MY_TOOLS, "--model", "mien:2", *PAIR)
    assert code == 2
    assert is_one_line(err, "there is no model mien:.", "Did you mean 'mine'?", "openai:, mine:")
    code, _, err = armlite(folder, "judge", *MY_TOOLS, "--model", "mine:2", "--device", "cpu", *PAIR)
    assert code == 2
    assert is_one_line(err, "for local models")


def recipe_of(folder, **changes):
    """A recipe in a folder of its own, beside the user's file."""
    grpo = {**TINY["stages"]["grpo1"], "steps": 1, "reward": "short_look", "weights": {"brief": 2}}
    sft = {**TINY["stages"]["sft"], "steps": 2}
    raw = {**TINY, "imports": ["../my_tools.py"], "stages": {"sft": sft, "grpo1": grpo}, **changes}
    raw["data"] = {**TINY["data"], "n_evaluation": 3}
    (folder / "recipes").mkdir(exist_ok=True)
    (folder / "recipes" / "r.yaml").write_text(yaml.safe_dump(raw))
    return "recipes/r.yaml"


@pytest.mark.parametrize("way", ["imports in the recipe", "--import"])
def test_a_recipe_names_a_reward_of_the_user_s(folder, way):
    listed = way != "--import"
    recipe = recipe_of(folder, **({} if listed else {"imports": []}))
    options = [] if listed else MY_TOOLS
    code, out, err = armlite(folder, "train", recipe, "--dry-run", *options)
    assert code == 0, err
    resolved = yaml.safe_load(out)
    assert resolved["imports"] == [str(folder / "my_tools.py")]
    assert resolved["stages"]["grpo1"]["weights"] == {"looked": 0.5, "brief": 2.0}
    (folder / "resolved.yaml").write_text(out)
    assert armlite(folder, "train", "resolved.yaml", "--dry-run")[1] == out


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.grpo1.reward=short_lok", ["'short_lok'", "Did you mean 'short_look'?"]),
        ("stages.grpo1.weights.breif=1", ["stages.grpo1.weights.breif.", "Did you mean 'brief'?", "looked, brief"]),
        ("episode.tools=[count_leters]", ["'count_leters'", "Did you mean 'count_letters'?"]),
        ("imports=[]", ["there is no reward 'short_look'"]),
        ("imports=[my_tools.py]", [f"recipes{os.sep}my_tools.py: there is no such file"]),
    ],
)
def test_names_are_checked_when_the_imports_have_run(folder, override, words):
    code, _, err = armlite(folder, "train", recipe_of(folder), "--dry-run", override)
    assert code == 2
    assert is_one_line(err, *words)


def test_a_plan_needs_no_imports_and_runs_none(folder):
    words = [recipe_of(folder), "model.path=Qwen/Qwen2.5-VL-7B-Instruct", "--gpu", "24gb", "--json"]
    assert armlite(folder, "plan", *words)[0] in (0, 1)
    assert not (folder / "has_run").exists()


@pytest.mark.slow
def test_a_short_training_learns_from_the_user_s_reward_and_its_run_runs_no_code(folder):
    code, _, err = armlite(folder, "train", recipe_of(folder), "--output", "run")
    assert code == 0, err
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    (row,) = (r for r in rows if r["stage"] == "grpo1")
    assert {key for key in row if key.startswith("rewards/") and key.endswith("/mean")} == {
        "rewards/looked/mean",
        "rewards/brief/mean",
    }
    assert row["reward"] == pytest.approx(row["rewards/looked/mean"] + row["rewards/brief/mean"], abs=1e-6)
    assert (folder / "run" / "plots" / "rewards.png").is_file()
    (folder / "has_run").unlink()
    code, out, err = armlite(folder, "judge", "--model", "run", *PAIR, "--json")
    assert code == 0, err
    assert "count_letters" not in json.loads(out)["trajectories"][0]["tools"]
    assert f"imports, which are not run unless you say so: --import {folder / 'my_tools.py'}\n" in err
    assert not (folder / "has_run").exists()
    code, out, err = armlite(folder, "judge", "--model", "run", *MY_TOOLS, *PAIR, "--json")
    assert "count_letters" in json.loads(out)["trajectories"][0]["tools"]
    assert "not run" not in err
    code, _, err = armlite(folder, "train", recipe_of(folder), "--output", "run", "--resume")
    assert code == 0, err


def test_a_stranger_s_run_runs_no_code_and_a_tool_that_is_missing_names_the_import(folder):
    tools = {"episode": {**TINY["episode"], "tools": ["count_letters"]}}
    recipe_of(folder, imports=[str(folder / "my_tools.py"), "elsewhere.tools"], **tools)
    (folder / "recipes" / "r.yaml").rename(folder / "recipes" / "recipe.yaml")
    code, _, err = armlite(folder, "judge", *PAIR, "--model", "recipes")
    assert code == 2
    told = f"not run unless you say so: --import {folder / 'my_tools.py'} --import elsewhere.tools"
    assert told in err.splitlines()[0]
    assert "there is no tool 'count_letters'. `armlite tools list` shows them all. The run lists imports, which" in err
    assert not (folder / "has_run").exists()
    err = armlite(folder, "judge", *PAIR, "--model", "recipes", *MY_TOOLS)[2]
    assert "no finished checkpoint" in err or "holds no model" in err, "the tool is known: the model is looked for"


FAILING = {
    "a syntax error": ("x = 1\nif x\n    y = 2\n", ["my.py, line 2: SyntaxError: "]),
    "an exception": ("def f():\n    return 1 / 0\n\n\nf()\n", ["my.py, line 2: ZeroDivisionError: division by zero"]),
    "an error in a library": ("import json\n\njson.loads('{')\n", ["my.py, line 3: JSONDecodeError: "]),
    "a library that is missing": ("import numpy\nimport no_such_library\n", ["line 2: ModuleNotFoundError", "no_such"]),
    "a script that ends": ("import sys\n\nsys.exit(3)\n", ["my.py, line 3: SystemExit: 3"]),
    "a tool without a manual": (
        "from armlite import tool\n\n\n@tool\ndef f(memory, /, a: int): ...\n",
        ["my.py, line 4: TypeError: f: parameter a needs a type hint and a line under Args"],
    ),
    "a tool of a shipped name": (
        "from armlite import register\nfrom armlite.tools.tool import tool\n\n\n@register\n@tool\n"
        'def image_zoom_in_tool(memory, /):\n    """Zooms."""\n',
        ["there are two tools 'image_zoom_in_tool': shipped and ", "my.py; rename one"],
    ),
    "a reward of a shipped name": (
        'from armlite import reward\n\n\n@reward\ndef hierarchical(trajectory):\n    """Mine."""\n',
        ["there are two rewards 'hierarchical': shipped and "],
    ),
    "a model of a shipped name": (
        "from armlite import chat_model\n\n\n@chat_model\ndef openai(name, sampling): ...\n",
        ["there are two chat models 'openai': shipped and "],
    ),
}


@pytest.mark.parametrize("failing", FAILING)
def test_an_import_that_fails_is_one_line_with_its_file_and_line(tmp_path, failing):
    text, words = FAILING[failing]
    (tmp_path / "my.py").write_text(text)
    code, _, err = armlite(tmp_path, "tools", "list", "--import", "my.py")
    assert code == 2
    assert is_one_line(err, "cannot import my.py: ", *words)
    assert "Traceback" in armlite(tmp_path, "--debug", "tools", "list", "--import", "my.py")[2]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("my_tool.py", "there is no such file. Did you mean 'my_tools.py'?"),
        ("nowhere/my_tools.py", "there is no such file."),
        ("my_tolls", "there is no module 'my_tolls', neither in the current folder nor installed"),
        ("json.tools", "there is no module 'json.tools'"),
        ("my/tools", "give a .py file or a module, such as mypkg.rewards"),
        ("", "give a .py file or a module"),
    ],
)
def test_an_import_that_is_not_there_is_one_line(folder, name, word):
    code, _, err = armlite(folder, "tools", "list", "--import", name)
    assert code == 2
    assert is_one_line(err, "cannot import ", word)


def test_a_module_of_a_package_in_the_current_folder_and_a_file_beside_a_file_are_found(folder):
    package = folder / "mypkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "more.py").write_text("from .base import size\n\n\ndef broken():\n    return size\n")
    (package / "base.py").write_text("size = 1\nraise ValueError('of\\nbase')\n")
    assert is_one_line(
        armlite(folder, "tools", "list", "--import", "mypkg.more")[2], "base.py, line 2: ValueError: of base"
    )
    (package / "base.py").write_text("import my_tools\n\nsize = 1\n")
    assert "count_letters" in armlite(folder, "tools", "list", "--import", "mypkg.more")[1]
    (package / "aside.py").write_text("import base\n")
    (package / "types.py").write_text("raise SystemExit('a folder that is searched last stands for no library')\n")
    both = ["--import", "mypkg/aside.py", *MY_TOOLS, "--import", "my_tools"]
    assert "count_letters" in armlite(folder, "tools", "list", *both)[1]


def test_two_files_cannot_define_the_same_name(folder):
    (folder / "other.py").write_text(MINE)
    code, _, err = armlite(folder, "tools", "list", *MY_TOOLS, "--import", "other.py")
    assert code == 2
    assert is_one_line(err, f"there are two tools 'count_letters': {folder / 'my_tools.py'} and {folder / 'other.py'};")


def test_a_file_runs_once_a_process(tmp_path):
    (tmp_path / "counted.py").write_text("with open(__file__ + '.runs', 'a') as file:\n    file.write('x')\n")
    run_imports([str(tmp_path / "counted.py"), f"{tmp_path}/../{tmp_path.name}/counted.py"])
    run_imports([str(tmp_path / "counted.py")])
    assert (tmp_path / "counted.py.runs").read_text() == "x"
