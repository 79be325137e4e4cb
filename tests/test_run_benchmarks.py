"""What a run reports on: benchmarks are read before all else, judged by checkpoints, gone on with, and told of."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from hub import environment, serve_hub
from published import rewardbench_2, vstar
from tiny_run import TINY

from armlite.cli import main
from armlite.data.tasks import read_tasks, write_tasks
from armlite.errors import ArmliteError
from armlite.evals.figures import Figure
from armlite.evals.report import shown
from armlite.plan.seconds import Profile
from armlite.pocket.world import generate
from armlite.recipe import check_recipe, load_recipe, saved_recipe
from armlite.train.benchmark_plan import benchmark_plan
from armlite.train.benchmarks import folder_of, judge_benchmarks, judged_at, results_of
from armlite.train.run import train
from armlite.train.seeds import over_seeds

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")
BENCHMARKS = [
    {"name": "file", "path": "own/own.jsonl"},
    {"name": "vstar"},
    {"name": "rewardbench-2", "hub": "some/mirror", "n": 6},
]
STAGES = {name: TINY["stages"][name] for name in ("sft", "grpo1")}


def tiny(**evaluation):
    asked = {**TINY["evaluation"], "swap": False, "benchmarks": BENCHMARKS, **evaluation}
    return {**TINY, "stages": STAGES, "evaluation": asked}


def judgments(folder):
    file = folder / "trajectories.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was killed amid a benchmark of its base, and went on to its end without a network."""
    root = tmp_path_factory.mktemp("reported")
    write_tasks(root / "own/own.jsonl", generate("validation", 12, 3, root / "own"))
    for module, place in ((vstar, "v"), (rewardbench_2, "rb")):
        (root / place).mkdir()
        module.build(root / place, "parquet")
    (root / "tiny.yaml").write_text(yaml.safe_dump(tiny()))
    command = [sys.executable, "-m", "armlite", "train", "tiny.yaml", "--output", "run"]
    with serve_hub() as hub:
        hub.add("datasets/craigwu/vstar_bench", root / "v")
        hub.add("datasets/some/mirror", root / "rb")
        here = os.environ | environment(hub, root / "cache")
        process = subprocess.Popen(command, cwd=root, env=here, stderr=subprocess.DEVNULL)
        own = folder_of(root / "run", "base", True, "own")
        while judgments(own) < 3 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert 3 <= judgments(own) < 24 and not (own / "summary.json").exists()
    offline = here | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command, "--resume"], cwd=root, env=offline, check=True, capture_output=True, text=True)
    return root / "run", done.stderr


def test_base_and_last_checkpoint_are_judged_with_tools_and_without(run):
    found = results_of(run[0])
    assert set(found) == {"base", "grpo1"}
    for of in found.values():
        ways = {name: set(ways) for name, ways in of.items()}
        both = {"tools", "no_tools"}
        assert ways == {"own": both, "vstar": both, "rewardbench-2": {"no_tools"}}, "no tool is shown for texts alone"
    own = found["grpo1"]["own"]
    assert own["tools"]["items"] == 12 and own["tools"]["judgments"] == 24
    assert own["tools"]["settings"]["max_calls"] == 2 and own["no_tools"]["settings"]["max_calls"] == 0
    assert own["tools"]["settings"]["episode"]["limits"]["shown_characters"] == 24, "the rules are the run's"
    assert own["tools"]["figures"]["accuracy"]["ci95"] is not None
    assert found["base"]["rewardbench-2"]["no_tools"]["settings"]["n"] == 6


def test_tasks_are_read_once_and_all_checkpoints_see_the_same_pictures(run):
    tasks = run[0] / "benchmarks/tasks"
    pictures = {file.name for file in (tasks / "images").iterdir()}
    for checkpoint in ("base", "grpo1-no-tools"):
        folder = run[0] / "benchmarks" / checkpoint / "vstar"
        shown = [(folder / image).resolve() for task in read_tasks(folder / "tasks.jsonl") for image in task.images]
        assert len(shown) == 3 and all(image.is_file() and image.name in pictures for image in shown)
    assert len(json.loads((tasks / "steps/vstar.json").read_text())["inputs"]["revision"]) == 40


@pytest.fixture
def again(run):
    """A copy of the run, beside it as its file of tasks is, to spoil."""
    copy = run[0].with_name("again")
    shutil.copytree(run[0], copy)
    yield copy
    shutil.rmtree(copy)


def test_a_benchmark_that_was_killed_ends_as_one_that_was_not(run, again):
    for folder in ("base", "base-no-tools"):
        shutil.rmtree(again / "benchmarks" / folder)
    told = []
    recipe = saved_recipe(run[0] / "recipe.yaml")
    judge_benchmarks(recipe, again, "base", str(run[0] / "base"), lambda event, values: told.append(event))
    assert told.count("benchmark") == 5
    for name in ("base/own", "base/vstar", "base-no-tools/own", "base-no-tools/rewardbench-2"):
        one, other = run[0] / "benchmarks" / name, again / "benchmarks" / name
        assert (one / "summary.json").read_text() == (other / "summary.json").read_text(), name
        rows = [sorted((folder / "trajectories.jsonl").read_text().splitlines()) for folder in (one, other)]
        assert rows[0] == rows[1], name


def test_what_is_finished_is_skipped(run):
    told = []
    recipe = saved_recipe(run[0] / "recipe.yaml")
    judge_benchmarks(recipe, run[0], "grpo1", "nowhere", lambda event, values: told.append(event))
    assert not told


def test_a_stage_that_is_run_again_is_judged_again(run, again):
    before = (again / "benchmarks/grpo1/vstar/summary.json").stat().st_mtime_ns
    train(saved_recipe(run[0] / "recipe.yaml"), again, only="grpo1")
    assert (again / "benchmarks/grpo1/vstar/summary.json").stat().st_mtime_ns > before
    assert (again / "benchmarks/base/vstar/summary.json").is_file()


def test_the_log_tells_of_each_result(run):
    assert "grpo1: vstar, no tools acc" in run[1] and "grpo1: own accuracy" in run[1] and "3 tasks (" in run[1]


def cells_of(report, benchmark, row="this run"):
    """The four cells of a benchmark in the report's table."""
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in report.splitlines()]
    at = next(i for i, line in enumerate(lines) if line[0].startswith(f"**{benchmark}** ("))
    found = lines[at + (row == "paper")]
    assert found[2] == row
    return found[3:]


def test_the_report_lays_the_figures_beside_the_papers_and_says_what_differs(run):
    report = (run[0] / "report.md").read_text()
    found = results_of(run[0])

    def said(checkpoint, name, way):
        summary = found[checkpoint][name][way]
        return shown(summary["main"], Figure.model_validate(summary["figures"][summary["main"]]))

    four = [("base", "no_tools"), ("base", "tools"), ("grpo1", "no_tools"), ("grpo1", "tools")]
    assert cells_of(report, "vstar") == [said(at, "vstar", way) for at, way in four]
    assert cells_of(report, "own") == [said(at, "own", way) for at, way in four]
    assert "%" in cells_of(report, "own")[2] and " to " in cells_of(report, "own")[2], "each has an interval"
    assert cells_of(report, "vstar", "paper") == ["75.4 %", "50.3 %", "82.2 %", "86.4 %"]
    assert cells_of(report, "rewardbench-2")[1::2] == ["–", "–"]
    assert cells_of(report, "rewardbench-2", "paper") == ["47.1 %", "–", "59.6 %", "–"]
    assert "| 3 (3 of 191 rows) |" in report and "| 6 (6 of 1,865 rows) |" in report
    section = report.split("### What differs")[1].split("\n## ")[0]
    everywhere, vstar_s = section.split("- **vstar**")
    assert "base model: pocket here, Qwen2.5-VL-7B there" in everywhere
    assert "max_context: 512 here" in everywhere and "max_context" not in vstar_s
    assert "  - items: the first 3 of 191 rows here, all there" in vstar_s
    assert "  - base, with tools: crop_max_pixels: 3,136 here, 12,845,056 there; max_calls: 2 here, 15 there" in vstar_s
    assert "hub: some/mirror here, allenai/reward-bench-2 as published" in vstar_s.split("- **rewardbench-2**")[1]
    assert "the paper has no number for `own`" in section
    assert "Benchmarks over the stages" not in report, "two checkpoints stand in the table already"


def test_calls_of_a_judgment_are_told_over_the_checkpoints(run):
    report = (run[0] / "report.md").read_text()
    table = report.split("Tool calls a task, greedy")[1]
    assert "| tasks | base | sft | grpo1 |" in table and "| held-out tasks |" in table
    own = results_of(run[0])["grpo1"]["own"]["tools"]["figures"]
    twice = own["tool_calls_per_item"]["value"]
    told = next(line for line in table.splitlines() if line.startswith("| own |"))
    assert told.split("|")[3].strip() == "–", "sft was not asked for"
    assert told.split("|")[4].split()[0] == f"{twice / 2:.2f}", "of one of the two orders"
    assert (run[0] / "plots/calls.png").is_file()


def test_the_report_is_there_for_programs_too(run):
    told = json.loads((run[0] / "report.json").read_text())
    own, published, texts = told["benchmarks"]
    assert (own["benchmark"], own["rows"], own["published"]) == ("own", 12, None)
    assert published["cells"]["base_tools"]["paper"]["value"] == 50.3
    assert "paper" not in own["cells"]["base"] and set(texts["cells"]) == {"base", "trained"}
    assert published["stages"]["grpo1"]["tools"]["n"] == 3
    assert set(told["held_out"]) == {"base", "sft", "grpo1"} and told["recipe"]["evaluation"]["benchmarks"]


def test_judgments_of_a_benchmark_are_found_by_checkpoint_and_name(run, capsys):
    for where, count in (("stage=base and round=own", 24), ("stage=grpo1 and round=vstar-no-tools", 3)):
        with pytest.raises(SystemExit) as end:
            main(["view", str(run[0]), "--where", where, "--json"])
        assert not end.value.code and len(capsys.readouterr().out.splitlines()) == count


def test_several_seeds_are_put_into_one_table(run):
    one = json.loads((run[0] / "report.json").read_text())["benchmarks"]
    other = json.loads(json.dumps(one))
    other[0]["stages"]["base"]["tools"]["figure"]["value"] = 0.5
    mean = one[0]["stages"]["base"]["tools"]["figure"]["value"] / 2 + 0.25
    [first, *rest] = [row for row in over_seeds([one, other]) if row["with"] == "tools" or row["at"] == "grpo1"]
    assert (first["benchmark"], first["at"], first["seeds"]) == ("own", "base", 2)
    assert first["mean"] == mean and first["highest"] == 0.5
    assert {(row["benchmark"], row["at"], row["with"]) for row in rest} >= {("vstar", "grpo1", "tools")}


def test_a_recipe_says_which_checkpoints_are_judged():
    recipe = check_recipe(tiny(benchmarks_at=["last", "sft"]), "tiny")
    assert judged_at(recipe) == ["sft", "grpo1"]
    assert judged_at(check_recipe(TINY, "tiny")) == []
    with pytest.raises(ArmliteError, match="benchmarks_at: the recipe has no stage grpo2"):
        check_recipe(tiny(benchmarks_at=["grpo2"]), "tiny")
    with pytest.raises(ArmliteError, match="two are called vstar"):
        check_recipe(tiny(benchmarks=[{"name": "vstar"}, {"name": "vstar", "n": 3}]), "tiny")


def test_the_plan_tells_what_the_benchmarks_will_take(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    write_tasks("own/own.jsonl", generate("validation", 4, 3, Path("own")))
    rates = {"prefill_tokens_per_second": 2100.0, "decode_step_seconds": 0.032, "update_tokens_per_second": 1.0}
    plan = benchmark_plan(check_recipe(tiny(), "tiny"), Profile("a card", rates))
    judgments = {name: row["judgments"] for name, row in plan["benchmarks"].items()}
    assert plan["at"] == ["base", "grpo1"]
    assert judgments == {"own": 4 * 2 * 2 * 2, "vstar": 191 * 2 * 2, "rewardbench-2": 6 * 2 * 2}, "own in both orders"
    assert plan["judgments"] == sum(judgments.values()) and plan["known"] == {"download_gb": 1, "judgments": 3}
    assert plan["hours"] == round(plan["judgments"] * (2100 / 2100 + 250 * 0.032 / 8) / 3600, 2)
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny()))
    with pytest.raises(SystemExit) as end:
        main(["train", "tiny.yaml", "--dry-run"])
    assert not end.value.code
    out = capsys.readouterr().out
    assert "# benchmarks, read before all else, judged at base, grpo1, with tools and without; at most" in out
    assert "#   vstar: rows 191 from craigwu/vstar_bench, download not known" in out
    assert "download 0.0 GB (of the 1 whose download is known), judgments 820; hours of judging: not known" in out


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"name": "vstr"}, "there is no benchmark 'vstr'. Did you mean 'vstar'?"),
        ({"name": "retrieval"}, "retrieval is evaluated without a model"),
        ({"name": "vstar", "path": "nowhere"}, "nowhere, which is to hold vstar, does not exist; or leave it out"),
        ({"name": "vstar", "path": "v", "n": 4}, "4 rows are asked for, but 3 rows of vstar at v give 3"),
        ({"name": "vstar", "path": "v", "n": 200}, "vstar was published with 191"),
        ({"name": "file", "path": "blind.jsonl"}, "no task of blind.jsonl has a gold answer"),
        ({"name": "vstar", "path": "torn"}, "the files of 1 rows are not there"),
        ({"name": "mm-ifeval"}, "mm-ifeval is on no hub that is known"),
    ],
    ids=["unknown", "retrieval", "no folder", "too few", "fewer published", "no gold", "no picture", "no hub"],
)
def test_a_benchmark_that_cannot_be_read_is_told_before_anything_is_trained(asked, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("v").mkdir()
    vstar.build(Path("v"), "parquet")
    Path("torn").mkdir()
    vstar.build(Path("torn"), "jsonl")
    Path("torn/relative_position/sa_7.jpg").unlink()
    task = next(iter(generate("test", 1, 0, Path("."))))
    write_tasks("blind.jsonl", [task.model_copy(update={"gold": None})])
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny(benchmarks=[asked])))
    with pytest.raises(SystemExit) as end:
        main(["train", "tiny.yaml", "--output", "run"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert says in said and len(said.strip().splitlines()[-1]) < 400
    assert not Path("run/recipe.yaml").exists() and not Path("run/data").exists()


def test_a_gated_benchmark_is_one_sentence_with_its_page(tmp_path):
    (tmp_path / "rb").mkdir()
    rewardbench_2.build(tmp_path / "rb", "parquet")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny(benchmarks=BENCHMARKS[2:])))
    command = [sys.executable, "-m", "armlite", "train", "tiny.yaml", "--output", "run"]
    with serve_hub() as hub:
        hub.add("datasets/some/mirror", tmp_path / "rb", gated=True)
        here = os.environ | environment(hub, tmp_path / "cache")
        done = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True)
        assert done.returncode == 2 and f"{hub.url}/datasets/some/mirror" in done.stderr
    assert "benchmark rewardbench-2, which the run is to report on, cannot be read" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run/recipe.yaml").exists()


def test_data_that_is_a_benchmark_is_refused_in_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("data.yaml").write_text(yaml.safe_dump({"sources": [{"set": "vstar", "path": "v"}], "traces": None}))
    changed = tiny(benchmarks=[{"name": "vstar", "path": "v"}])
    raw = {
        **changed,
        "model": {"path": "nowhere"},
        "stages": {"grpo1": STAGES["grpo1"]},
        "data": {"build": "data.yaml"},
    }
    Path("tiny.yaml").write_text(yaml.safe_dump(raw))
    assert load_recipe("tiny.yaml").data.build
    with pytest.raises(SystemExit) as end:
        main(["train", "tiny.yaml", "--output", "run"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and "source vstar is vstar, which is one of the benchmarks" in said
    assert not Path("run").exists()
