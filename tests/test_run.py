"""A run directory: what is in it, who may write to it, and that a run which was killed ends like one that was not."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
import torch
import yaml
from tiny_run import TINY

from armlite.cli import main
from armlite.data.tasks import write_tasks
from armlite.errors import ArmliteError
from armlite.pocket.world import generate
from armlite.recipe import check_recipe, load_recipe
from armlite.store import read
from armlite.train.metrics import MetricsFile
from armlite.train.reporting import reporting
from armlite.train.run import train

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


def tiny(**changes):
    return check_recipe({**TINY, **changes}, "tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run and the events it told of."""
    folder, events = tmp_path_factory.mktemp("runs") / "tiny", []
    train(tiny(name="tiny"), folder, notify=lambda event, values: events.append((event, values)))
    return folder, events


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the finished run, to spoil."""
    shutil.copytree(run[0], tmp_path / "tiny")
    return tmp_path / "tiny"


def weights(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.glob("checkpoints/*/*.safetensors"))}


def figures(folder):
    """All that a run says of itself, without what depends on the clock."""
    clock = ("step_time", "time")
    rows = MetricsFile(folder / "metrics.jsonl").read()
    rows = [{k: v for k, v in row.items() if k not in clock} for row in rows]
    rows.sort(key=lambda row: row["stage"])
    texts = [f for f in sorted(folder.rglob("*.json*")) if f.parts[len(folder.parts)] in ("rollouts", "eval", "filter")]
    return rows, {str(f.relative_to(folder)): f.read_text() for f in texts}


def snapshot(folder):
    return {f: (f.stat().st_mtime_ns, f.stat().st_size) for f in folder.rglob("*") if f.is_file()}


def test_a_run_leaves_what_the_design_says(run):
    folder, _ = run
    assert {p.name for p in folder.iterdir()} == {
        "recipe.yaml",
        "environment.json",
        "metrics.jsonl",
        "rollouts",
        "checkpoints",
        "eval",
        "report.md",
        "report.json",
        "plots",
        "stages.json",
        "filter",
        "data",
        "base",
        "work",
    }
    assert list((folder / "work").iterdir()) == []
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"sft", "grpo1", "grpo2"}
    assert (folder / "checkpoints" / "sft" / "model.safetensors").is_file()
    adapter = json.loads((folder / "checkpoints" / "grpo2" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str(folder / "checkpoints" / "sft")
    assert (folder / "checkpoints" / "grpo2" / "tokenizer_config.json").is_file()
    assert {p.name for p in (folder / "eval").iterdir()} == {"base", "sft", "grpo1", "grpo2", "baselines.json"}
    assert {p.name for p in (folder / "eval" / "sft").iterdir()} == {
        "rollout.jsonl",
        "greedy.jsonl",
        "no_tools.jsonl",
        "images",
        "summary.json",
    }
    assert sorted(p.name for p in (folder / "rollouts" / "grpo1").glob("*.jsonl")) == [
        "step_000001.jsonl",
        "step_000002.jsonl",
    ]
    assert load_recipe(folder / "recipe.yaml") == tiny(name="tiny")
    versions = json.loads((folder / "environment.json").read_text())["versions"]
    assert {"torch", "transformers", "trl", "peft"} <= set(versions)
    assert not [f for f in folder.rglob("*") if f.name.startswith(".") or f.name.endswith((".writing", ".old"))]


def test_metrics_hold_one_line_a_step(run):
    rows = MetricsFile(run[0] / "metrics.jsonl").read()
    assert [(r["stage"], r["step"]) for r in rows] == [
        *(("sft", n) for n in range(1, 21)),
        ("grpo1", 1),
        ("grpo1", 2),
        ("grpo2", 1),
        ("grpo2", 2),
    ]
    for line in (run[0] / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert {"reward", "rewards/answer/mean", "tools/call_frequency", "accuracy", "entropy"} <= set(rows[-1])
    assert any(r["grad_norm"] > 0 for r in rows if r["stage"] == "grpo1")
    assert any(r["grad_norm"] > 0 for r in rows if r["stage"] == "grpo2")


def test_rollouts_can_be_read_with_their_scores_and_agree_with_the_metrics(run):
    rows = list(read(run[0] / "rollouts" / "grpo2"))
    assert len(rows) == 2 * 8
    assert {row.trajectory.rollout for row in rows} == set(range(16))  # never the same stream of randomness twice
    assert all(set(row.score.parts) == {"format", "attempt", "answer", "success"} for row in rows)
    logged = [r["reward"] for r in MetricsFile(run[0] / "metrics.jsonl").read() if r["stage"] == "grpo2"]
    for step, reward in enumerate(logged):
        mean = sum(row.score.total for row in rows[8 * step : 8 * step + 8]) / 8
        assert reward == pytest.approx(mean, abs=1e-6)
    assert len(list(read(run[0]))) > 4 * 6 * 3


def test_the_report_tells_of_each_stage_with_plots(run):
    text = (run[0] / "report.md").read_text()
    for name in ("base", "sft", "grpo1", "grpo2"):
        assert f"| {name} |" in text
    for file in re.findall(r"\]\((.*?)\)", text):
        assert (run[0] / file).read_bytes().startswith(b"\x89PNG")
    assert {"Reward", "Tool calls of rollouts", "Accuracy of rollouts", "Loss of the cold start"} <= set(
        re.findall(r"^## (.*)", text, re.M)
    )


def test_a_run_tells_of_its_steps_and_prints_nothing(run, capsys):
    _, events = run
    assert {"stage", "step", "filter", "evaluation", "evaluated", "note"} <= {event for event, _ in events}
    assert sum(event == "step" for event, _ in events) == 24


def test_a_second_run_into_the_same_folder_is_refused(run):
    before = snapshot(run[0])
    with pytest.raises(ArmliteError, match="holds a run already: --resume goes on with it"):
        train(tiny(name="tiny"), run[0])
    assert snapshot(run[0]) == before


def test_resuming_with_another_recipe_is_refused_and_says_where_they_differ(run):
    before = snapshot(run[0])
    other = {**TINY, "stages": {**TINY["stages"], "sft": {**TINY["stages"]["sft"], "steps": 21}}}
    with pytest.raises(ArmliteError, match=r"another recipe: stages\.sft\.steps is 20 there and 21 here"):
        train(check_recipe(other, "tiny"), run[0], resume=True)
    with pytest.raises(ArmliteError, match=r"another recipe: seed is 0 there and 1 here"):
        train(tiny(seed=1), run[0], only="grpo2")
    assert snapshot(run[0]) == before


def test_resuming_a_finished_run_changes_nothing(copy):
    before, said = weights(copy), figures(copy)
    times = snapshot(copy)
    train(tiny(), copy, resume=True)
    assert weights(copy) == before
    assert figures(copy) == said
    touched = {f.name for f, stamp in snapshot(copy).items() if times.get(f) != stamp}
    assert touched <= {
        "recipe.yaml",
        "environment.json",
        "report.md",
        "report.json",
    } | {file.name for file in (copy / "plots").glob("*.png")}


def test_a_stage_alone_runs_again_with_other_settings_and_is_evaluated_anew(copy):
    before, said = weights(copy), figures(copy)
    longer = {
        **TINY,
        "stages": {**TINY["stages"], "grpo1": {**TINY["stages"]["grpo1"], "steps": 1, "learning_rate": 1e-2}},
    }
    train(check_recipe(longer, "tiny"), copy, only="grpo1")
    after = weights(copy)
    assert {name for name in after if after[name] != before[name]} == {"checkpoints/grpo1/adapter_model.safetensors"}
    assert [p.name for p in (copy / "rollouts" / "grpo1").glob("*.jsonl")] == ["step_000001.jsonl"]
    rows, files = figures(copy)
    assert [r["step"] for r in rows if r["stage"] == "grpo1"] == [1]
    assert files["eval/grpo1/rollout.jsonl"] != said[1]["eval/grpo1/rollout.jsonl"]
    assert files["eval/grpo2/rollout.jsonl"] == said[1]["eval/grpo2/rollout.jsonl"]


def test_a_stage_without_its_predecessor_is_refused(tmp_path):
    with pytest.raises(
        ArmliteError, match=r"stage grpo2 starts from .*grpo1, which does not exist; run stage grpo1 first"
    ):
        train(tiny(), tmp_path / "run", only="grpo2")
    assert not (tmp_path / "run").exists()


class _Stop(BaseException):
    """As `KeyboardInterrupt`, which pytest keeps for itself."""


def test_a_run_that_broke_off_at_the_end_of_a_stage_takes_no_step_twice(run, copy, monkeypatch):
    for kind in ("checkpoints", "eval", "rollouts"):
        shutil.rmtree(copy / kind / "grpo1")

    def stop(*_, **__):
        raise _Stop

    with monkeypatch.context() as patch:
        patch.setattr("armlite.train.checkpoints.publish", stop)
        with pytest.raises(_Stop):
            train(tiny(), copy, resume=True)
    assert (copy / "work" / "grpo1" / "checkpoint-2").is_dir()
    assert not (copy / "checkpoints" / "grpo1").exists()
    train(tiny(), copy, resume=True)
    assert weights(copy) == weights(run[0])
    assert figures(copy) == figures(run[0])


def test_wrong_sources_are_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = list(generate("train", 4, 0, tmp_path))
    write_tasks("tasks.jsonl", tasks)
    write_tasks("blind.jsonl", [t.model_copy(update={"gold": None}) if i == 2 else t for i, t in enumerate(tasks)])
    Path("here.txt").write_text("")
    before = sorted(tmp_path.iterdir())
    data = TINY["data"]
    cases = [
        ({"model": {"path": "nowhere/at/all"}, "data": {**data, "traces": "x"}}, "there is no model nowhere/at/all"),
        ({"data": {**data, "tasks": "none.jsonl"}}, "task file none.jsonl does not exist"),
        ({"data": {**data, "tasks": "tasks.jsonl"}}, "data.n_tasks is 8, but tasks.jsonl holds 4"),
        ({"data": {**data, "evaluation": "tasks.jsonl"}}, "data.n_evaluation is 6, but tasks.jsonl holds 4"),
        ({"data": {**data, "tasks": "blind.jsonl", "n_tasks": 4}}, f"task {tasks[2].id} has no gold answer"),
    ]
    for changes, says in cases:
        with pytest.raises(ArmliteError) as error:
            train(tiny(**changes), tmp_path / "run")
        assert says in str(error.value)
    for place, says in ((tmp_path / "here.txt", "is not a folder"), (tmp_path, "is not empty and holds no run")):
        with pytest.raises(ArmliteError, match=says):
            train(tiny(), place)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_trl_that_needs_a_gpu_is_named_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr("armlite.train.run.version", lambda package: "1.15.0")
    with pytest.raises(ArmliteError, match=r"trl 1\.15\.0 trains on a GPU only.*install trl>=1\.16"):
        train(tiny(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_metrics_file_forgets_steps_that_will_be_taken_again_and_torn_lines(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    for stage, step in (("sft", 1), ("sft", 2), ("grpo1", 1), ("grpo1", 2)):
        metrics.append(stage, step, {"loss": float("nan") if step == 2 else 0.5})
    with metrics.path.open("a") as file:
        file.write('{"stage": "grpo1", "st')
    metrics.rewind("grpo1", 1)
    assert [{k: v for k, v in row.items() if k != "time"} for row in metrics.read()] == [
        {"stage": "sft", "step": 1, "loss": 0.5},
        {"stage": "sft", "step": 2, "loss": None},
        {"stage": "grpo1", "step": 1, "loss": 0.5},
    ]


def _start(folder, *more, **options):
    """`armlite train` in a process of its own."""
    recipe = folder.parent / "tiny.yaml"
    if not recipe.exists():
        recipe.write_text(yaml.safe_dump(TINY))
    command = [sys.executable, "-m", "armlite", "train", str(recipe), "--output", str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def _unmarked(folder):
    return [p for p in folder.glob("work/*/checkpoint-*") if not (p / "complete").exists()]


MOMENTS = {
    "while data are made": lambda run: (run / "data.writing").exists(),
    "in the cold start": lambda run: (
        (run / "metrics.jsonl").exists() and len((run / "metrics.jsonl").read_text()) > 3000
    ),
    "in a save": _unmarked,
    "in an evaluation": lambda run: (run / "eval" / "sft.writing").exists(),
    "in a rollout": lambda run: (run / "rollouts" / "grpo1").is_dir() and any((run / "rollouts" / "grpo1").iterdir()),
    "in the difficulty filter": lambda run: (run / "eval" / "grpo1").is_dir(),
    "near the end": lambda run: (run / "rollouts" / "grpo2" / "step_000002.jsonl").exists(),
}
"""What is on disk then."""
ASKED = {"in an evaluation": signal.SIGTERM, "in a rollout": signal.SIGINT}
"""Moments at which a run is asked to end, and not killed."""


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights_bit_for_bit(run, tmp_path):
    folder, killed = tmp_path / "tiny", []
    for name, reached in MOMENTS.items():
        process = _start(folder, *(["--resume"] if killed else []))
        while process.poll() is None and not reached(folder):
            time.sleep(0.002)
        assert process.poll() is None, f"{name}: {process.stderr.read()}"
        process.send_signal(ASKED.get(name, signal.SIGKILL))
        _, err = process.communicate(timeout=60)
        killed.append(process.returncode)
        assert "Traceback" not in err
        told = f"go on with: armlite train {folder.parent / 'tiny.yaml'} --output {folder} --resume\n"
        assert err.endswith(told) == (name in ASKED), err
    assert killed == [128 + ASKED[name] if name in ASKED else -signal.SIGKILL for name in MOMENTS]
    process = _start(folder, "--resume")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "loss" not in out  # stdout holds the closing table only
    assert weights(folder) == weights(run[0])
    assert figures(folder) == figures(run[0])
    assert not [f for f in folder.rglob("*") if f.name.endswith((".writing", ".old")) or f.name.startswith(".")]


@pytest.mark.slow
def test_a_run_on_another_architecture_that_is_killed_ends_with_the_same_weights_bit_for_bit(tmp_path):
    other, whole, folder = "model.path=pocket-qwen3-vl", tmp_path / "whole", tmp_path / "tiny"
    assert _start(whole, other).wait(600) == 0
    for more, name in (((), "in the cold start"), (("--resume",), "near the end")):
        process = _start(folder, other, *more)
        while process.poll() is None and not MOMENTS[name](folder):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    assert _start(folder, other, "--resume").wait(600) == 0
    assert weights(folder) == weights(whole)
    assert figures(folder) == figures(whole)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [2_000, 1_000_000, 6_000_000], ids=["any file", "weights", "optimizer"])
def test_a_disk_that_fills_up_is_one_line_and_what_was_done_stays(run, tmp_path, limit):
    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    folder = tmp_path / "tiny"
    process = _start(folder, preexec_fn=small_disk)
    _, err = process.communicate(timeout=120)
    said = [line for line in err.splitlines() if line.startswith("error:")]
    assert (process.returncode, len(said)) == (2, 1), err
    assert "cannot write" in said[0]
    assert "Traceback" not in err
    if limit > 5_000_000:
        process = _start(folder, "--resume")
        process.communicate(timeout=120)
        assert weights(folder) == weights(run[0])


def command(capsys, *words):
    """Exit status and standard error of `armlite train`."""
    with pytest.raises(SystemExit) as status:
        main(["train", *map(str, words)])
    return status.value.code, capsys.readouterr().err


def test_a_run_directory_is_enough_to_go_on_with_its_run(copy, run, capsys):
    for kind in ("checkpoints", "eval", "rollouts"):
        shutil.rmtree(copy / kind / "grpo2")
    code, err = command(capsys, copy, "--resume")
    assert code == 0 and re.search(r"^\d\d:\d\d:\d\d grpo2: 2 steps$", err, re.MULTILINE)
    assert weights(copy) == weights(run[0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "holds a run already: --resume goes on with it"),
        (["seed=1", "--resume"], "goes on with the recipe that it was begun with"),
        (["--output", "other", "--resume"], "goes on with the recipe that it was begun with"),
    ],
)
def test_of_a_run_directory_nothing_but_going_on_is_asked(run, capsys, words, said):
    code, err = command(capsys, run[0], *words)
    assert (code, err.count("\n")) == (2, 1) and said in err


def test_there_is_nothing_to_go_on_with_where_there_is_no_run(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(TINY))
    for words in ([tmp_path / "r.yaml", "--output", tmp_path / "new"], [tmp_path]):
        code, err = command(capsys, *words, "--resume")
        assert (code, err.count("\n")) == (2, 1) and ("there is no run in" in err or "holds no run" in err)
    assert not (tmp_path / "new").exists()


def test_a_tracker_that_is_not_there_is_one_line(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**TINY, "report_to": ["weights_and_biases"]}))
    code, err = command(capsys, tmp_path / "r.yaml", "--output", tmp_path / "new")
    assert (code, err.count("\n")) == (2, 1) and "report_to: weights_and_biases is not there" in err
    assert not (tmp_path / "new").exists()


def test_trackers_are_handed_to_the_trainer_and_tensorboard_writes_beside_the_checkpoints(tmp_path, monkeypatch):
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    recipe = tiny(report_to=["tensorboard", "wandb"])
    for stage in ("sft", "grpo1"):
        assert reporting(recipe, tmp_path / "work" / stage) == ["tensorboard", "wandb"]
        assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "logs" / stage)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "/mine")
    reporting(recipe, tmp_path / "work" / "grpo2")
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "/mine"
    assert reporting(tiny(), tmp_path / "work" / "sft") == "none"


def test_each_line_of_the_metrics_says_when_it_was(run):
    times = [datetime.fromisoformat(row["time"]) for row in MetricsFile(run[0] / "metrics.jsonl").read()]
    assert times == sorted(times) and times[0].tzinfo is not None


def test_a_write_protected_or_full_place_is_one_line(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(load_recipe(tmp_path / "r.yaml").to_yaml())
    os.symlink("/dev/full", tmp_path / "run" / "environment.json")
    code, err = command(capsys, tmp_path / "r.yaml", "--output", tmp_path / "run", "--resume")
    assert code == 2 and "cannot write" in err and err.count("\n") <= 2
