"""`armlite data pairs | filter | traces | mix` as a user calls them: counts, files, mistakes, and a kill amid work."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from armlite.cli import main
from armlite.data.tasks import read_tasks, write_tasks
from armlite.data.traces import SavedConversations
from armlite.memory import Limits
from armlite.types import Task

TESTS = Path(__file__).parent


@pytest.fixture
def tasks(tmp_path):
    """Twelve pairs about a picture."""
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "a.png")
    made = [
        Task(
            id=f"t{i}",
            kind="pairwise",
            question=f"Question {i}?",
            images=("a.png",),
            responses=(f"There are {i + 10} cups.", "wet"),
            gold=1,
        )
        for i in range(12)
    ]
    write_tasks(tmp_path / "tasks.jsonl", made)
    return tmp_path / "tasks.jsonl"


def run(*words, status=0):
    """Call a command of `armlite data`."""
    with pytest.raises(SystemExit) as end:
        main(["data", *map(str, words)])
    assert (end.value.code or 0) == status


def printed(capsys):
    return json.loads(capsys.readouterr().out)


def test_pairs_by_injection_print_counts_that_add_up(tasks, capsys):
    out = tasks.parent / "pairs.jsonl"
    run("pairs", "--tasks", tasks, "--inject", "--out", out, "--benchmarks", tasks, "--seed", 3, "--json")
    found = printed(capsys)
    assert found["in"] == 12 == found["kept"] + sum(found["rejected"].values()) and found["kept"] == 0
    assert found["rejected"] == {"in a benchmark: same question, same picture": 12}
    assert len(Path(found["rejects"]).read_text().splitlines()) == 12
    run("pairs", "--tasks", tasks, "--inject", "--out", tasks.parent / "more.jsonl")
    shown = capsys.readouterr().out
    assert "kept" in shown and "number 12" in shown and "good answer is response 1 6" in shown


def test_pairs_by_a_model_hold_what_it_wrote(tasks, server, capsys):
    reply = "<flaw>a count</flaw>\n<answer>There are 99 cups.</answer>"
    httpx.post(f"{server}/control", json={"turns": [reply]}).raise_for_status()
    out = tasks.parent / "pairs.jsonl"
    run("pairs", "--tasks", tasks, "--model", f"openai:judge-7b@{server}/v1", "--out", out, "--json")
    assert printed(capsys)["by"] == {"openai:judge-7b": 12}
    asked = httpx.get(f"{server}/record").json()["requests"]
    assert len(asked) == 12 and "There are 10 cups." in json.dumps(asked)
    assert all("There are 99 cups." in task.responses for task in read_tasks(out))


def test_filter_and_traces_judge_through_an_endpoint(tasks, server, capsys):
    httpx.post(f"{server}/control", json={}).raise_for_status()
    model = f"openai:judge-7b@{server}/v1"
    run("filter", "--tasks", tasks, "--model", model, "--k", 2, "--out", tasks.parent / "hard.jsonl", "--json")
    found = printed(capsys)
    assert found["in"] == 12 and 0 < found["kept"] < 12 and found["rejected"] == {"always right": 12 - found["kept"]}
    assert found["pass_rates"] == {"0 of 2": found["kept"], "2 of 2": 12 - found["kept"]}
    out = tasks.parent / "traces.jsonl"
    run("traces", "--tasks", tasks, "--model", model, "--n", 11, "--out", out, "--json")
    traced = printed(capsys)
    assert traced["in"] == 11 == traced["kept"] + traced["rejected"]["fails verdict"]
    assert traced["screens"] == {"format": 11, "verdict": traced["kept"], "tool": 11}
    assert sum(row["n"] for row in traced["table"]) == 11
    assert len(SavedConversations(out, Limits())) == traced["kept"]


def test_a_mix_is_shown_as_a_table(tasks, capsys):
    recipe = tasks.parent / "mix.yaml"
    recipe.write_text(f"total: 5\nsources: [{{path: {tasks}, n: 5}}]\n")
    run("mix", recipe, "--out", tasks.parent / "out" / "mix.jsonl")
    shown = capsys.readouterr().out
    assert "rejected: not needed" in shown and "asked" in shown
    assert len(read_tasks(tasks.parent / "out" / "mix.jsonl")) == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pairs", "--tasks", "TASKS", "--out", "o.jsonl"], "give either --model"),
        (["pairs", "--tasks", "TASKS", "--out", "o.jsonl", "--inject", "--model", "m"], "give either --model"),
        (["pairs", "--tasks", "none.jsonl", "--out", "o.jsonl", "--inject"], "none.jsonl does not exist"),
        (["pairs", "--tasks", "TASKS", "--out", "TASKS", "--inject"], "exists; give another --out"),
        (["filter", "--tasks", "none.jsonl", "--model", "runs/none", "--out", "o.jsonl"], "none.jsonl does not exist"),
        (["mix", "mixx.yaml", "--out", "o.jsonl"], "mix mixx.yaml does not exist. Did you mean 'mix.yaml'?"),
    ],
)
def test_a_mistake_is_told_in_one_line(words, says, tasks, capsys, monkeypatch):
    monkeypatch.chdir(tasks.parent)
    Path("mix.yaml").write_text("sources: []")
    run(*(tasks if word == "TASKS" else word for word in words), status=2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error
    assert not Path("o.jsonl").exists()


def test_traces_that_were_killed_go_on_and_end_alike(tasks, server):
    def command(name):
        words = ["traces", "--tasks", tasks, "--model", f"openai:judge-7b@{server}/v1", "--batch", 2, "--out", name]
        return [sys.executable, "-m", "armlite", "data", *map(str, words)]

    folder = tasks.parent
    httpx.post(f"{server}/control", json={"delay": 0.1}).raise_for_status()
    process = subprocess.Popen(command("killed.jsonl"), cwd=folder)
    rows, limit = folder / "killed.jsonl.work" / "rows.jsonl", time.monotonic() + 60
    while not rows.is_file():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "killed.jsonl").exists()
    kept = len(rows.read_bytes().splitlines())
    assert 0 < kept < 12
    httpx.post(f"{server}/control", json={}).raise_for_status()
    subprocess.run(command("killed.jsonl"), cwd=folder, check=True, capture_output=True)
    asked = len(httpx.get(f"{server}/record").json()["requests"])
    assert asked <= 2 * (12 - kept + 1), "what was judged before the kill is not asked again"
    subprocess.run(command("whole.jsonl"), cwd=folder, check=True, capture_output=True)
    for suffix in (".jsonl", ".rejects.jsonl"):
        assert (folder / f"killed{suffix}").read_bytes() == (folder / f"whole{suffix}").read_bytes()
