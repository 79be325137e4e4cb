"""Claims: variants of a recipe that share what they have in common, and verdicts with intervals on what is claimed."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
import yaml
from command_line import is_one_line, runner
from PIL import Image

from armlite.claims.checks import judge_check, overall, parse_check
from armlite.claims.curves import curve_of
from armlite.claims.figures import values_of
from armlite.claims.intervals import seeds_interval
from armlite.claims.runs import seconds_of, shared_stages
from armlite.claims.settings import load_claims
from armlite.cli.claims import train_claims
from armlite.errors import ArmliteError
from armlite.recipe import check_recipe, saved_recipe
from armlite.rewards import is_right
from armlite.store import Saved, read, save
from armlite.train.metrics import MetricsFile
from armlite.types import Observation, Step, Task, Trajectory, Turn

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[1]
BUDGET = {"max_new_tokens": 12, "max_context": 512}
STAGE = {"learning_rate": 1e-3, "gradient_checkpointing": False}
PIXELS = {"image_max_pixels": 784, "crop_max_pixels": 784, "sheet_max_pixels": 784, "page_max_pixels": 784}
LIMITS = {**PIXELS, "pages_per_query": 1, "page_max_characters": 60, "shown_characters": 24}
GRPO = {**STAGE, **BUDGET, "steps": 2, "save_steps": 1, "num_generations": 2, "per_device_train_batch_size": 2}
TINY = {
    "threads": 1,
    "model": {"path": "pocket"},
    "episode": {
        "max_calls": 1,
        "limits": {**PIXELS, "pages_per_query": 1, "page_max_characters": 60, "shown_characters": 24},
    },
    "data": {"n_traces": 40, "n_tasks": 4, "n_evaluation": 3},
    "stages": {
        "sft": {**STAGE, "adapter": "none", "train_vision": True, "steps": 3, "max_length": 512, "save_steps": 2},
        "grpo1": {**GRPO, "train_overflow": True, "reward": "encourage_tools"},
        "grpo2": {**GRPO, "train_overflow": True},
    },
    "evaluation": {"batch": 3, **BUDGET, "benchmarks": [{"name": "pocket", "n": 2}], "benchmarks_at": ["base"]},
}
CLAIMS = {
    "kind": "claims",
    "recipe": "tiny.yaml",
    "seeds": [0],
    "variants": {
        "full": {"text": "all of it"},
        "accuracy": {"overrides": {"stages.grpo2.reward": "accuracy_only"}},
        "more_sft": {"control_of": "full"},
        "direct": {"overrides": {"stages.grpo1": None}},
    },
    "claims": {
        "same": {"text": "a thing is what it is", "checks": ["full/base/greedy/calls >= accuracy/base/greedy/calls"]},
        "share": {"text": "no share is above 1", "checks": ["full/last/greedy/accuracy <= 1.5"]},
        "never": {"text": "nor below 0", "checks": ["more_sft/last/no_tools/accuracy < 0 by 0.5"]},
    },
}


def write_claims(folder, **changes):
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    (folder / "c.yaml").write_text(yaml.safe_dump({**CLAIMS, **changes}, sort_keys=False))
    return folder / "c.yaml"


@pytest.fixture
def run(capsys):
    return runner(capsys)


# --- checks ----------------------------------------------------------------------------------------------------------

TASKS = [f"t{i}" for i in range(100)]


def values(*shares):
    """So many of a hundred tasks right, by seed."""
    return {seed: {task: float(i < share) for i, task in enumerate(TASKS)} for seed, share in enumerate(shares)}


WORLD = {
    "good/last/greedy/accuracy": values(96, 97, 98),
    "bad/last/greedy/accuracy": values(50, 55, 52),
    "near/last/greedy/accuracy": values(95, 97, 97),
    "once/last/greedy/accuracy": values(96),
}


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        ("good/last/greedy/accuracy > bad/last/greedy/accuracy", "holds"),
        ("bad/last/greedy/accuracy <= good/last/greedy/accuracy by 0.3", "holds"),
        ("bad/last/greedy/accuracy <= good/last/greedy/accuracy by 0.6", "does not hold"),
        ("good/last/greedy/accuracy < bad/last/greedy/accuracy", "does not hold"),
        ("good/last/greedy/accuracy > near/last/greedy/accuracy", "undecided"),
        ("near/last/greedy/accuracy >= good/last/greedy/accuracy within 0.05", "holds"),
        ("good/last/greedy/accuracy >= 0.9", "holds"),
        ("good/last/greedy/accuracy <= 0.5", "does not hold"),
        ("once/last/greedy/accuracy >= 0.8", "holds"),
        ("bad/last/greedy/accuracy < near/last/greedy/accuracy < good/last/greedy/accuracy", "undecided"),
        ("bad/last/greedy/accuracy < good/last/greedy/accuracy < near/last/greedy/accuracy by 0.1", "does not hold"),
        ("good/last/greedy/accuracy > absent/last/greedy/accuracy", "not run"),
    ],
)
def test_a_check_holds_where_the_whole_interval_is_beyond_its_border(check, verdict):
    assert overall(judge_check(parse_check(check), WORLD.get)) == verdict


def test_differences_are_of_the_same_tasks_and_seeds():
    one = {0: {"a": 1.0, "b": 0.0, "c": 1.0}, 1: {"a": 1.0}, 2: {"a": 0.0}}
    other = {0: {"a": 0.0, "b": 0.0, "d": 1.0}, 1: {"b": 1.0}}
    [row] = judge_check(parse_check("x/a/b/c > y/a/b/c"), {"x/a/b/c": one, "y/a/b/c": other}.get)
    assert (row["seeds"], row["n"], row["difference"]["value"]) == (1, 2, 0.5)


def test_the_interval_is_students_over_seeds_and_never_narrower_than_that_of_the_tasks():
    mean, span = seeds_interval({0: [0.1], 1: [0.2], 2: [0.3]})
    half = 4.303 * 0.1 / 3**0.5  # the standard deviation of the three is 0.1
    assert (mean, *span) == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    alike = {seed: [1.0, 0.0] * 50 for seed in range(3)}
    mean, span = seeds_interval(alike)
    assert mean == 0.5 and span[1] - span[0] == pytest.approx(2 * 1.96 * 0.5 / 300**0.5, rel=0.05)
    assert seeds_interval({0: [0.5]}) == (0.5, None)
    assert seeds_interval({0: [0.0] * 20})[1][1] > 0.05, "twenty that do not differ are no proof that none does"
    assert seeds_interval({0: [0.25] * 20})[1][0] < 0.2, "nor twenty that are right beyond a border of 0.75"
    assert seeds_interval({0: [0.25] * 2000})[1][0] > 0.24


@pytest.mark.parametrize("text", ["a < b", "a/b/c/d", "a/b/c/d = 1", "1 < 2", "a/b/c/d < 1 by x", "a/b/c/d < 1 2"])
def test_what_is_no_check_is_told_with_what_one_looks_like(text):
    with pytest.raises(ArmliteError, match=r"is no inequality: write `A < B`"):
        parse_check(text)


def test_figures_are_of_first_judgments_of_a_family_or_of_tasks_that_need_so_many_calls(tmp_path):
    look = Step(turn=Turn(text="t"), observation=Observation(ok=True, text="o", tool="zoom"))
    end = Step(turn=Turn(text="t", answer="a"))

    def judged(name, needs, calls, decision, rollout=0):
        about = {"source": f"lab/{name[0]}", "meta": {} if needs is None else {"needs": needs}}
        task = Task(id=name, kind="pairwise", question="q", responses=("x", "y"), gold=1, **about)
        steps = (*[look] * calls, end)
        made = Trajectory(task=task, steps=steps, stop="answered", decision=decision, rollout=rollout)
        return Saved(trajectory=made)

    rows = [judged("a1", 2, 0, 2, rollout=1), judged("a1", 2, 1, 1), judged("a2", 0, 2, 2), judged("b1", None, 1, None)]
    save(tmp_path / "eval" / "sft" / "greedy.jsonl", rows)
    asked = tmp_path, "last", "greedy"
    assert values_of(*asked, "accuracy") == {"a1": 1.0, "a2": 0.0, "b1": 0.0}
    assert values_of(*asked, "calls") == {"a1": 1.0, "a2": 2.0, "b1": 1.0}
    assert values_of(*asked, "distance") == {"a1": 1.0, "a2": 2.0}
    assert values_of(*asked, "calls", "a") == {"a1": 1.0, "a2": 2.0}
    assert values_of(*asked, "accuracy", "needs=2") == {"a1": 1.0}
    assert values_of(tmp_path, "grpo1", "greedy", "calls") is None
    with pytest.raises(ArmliteError, match="has no round 'gredy'; it has greedy"):
        values_of(tmp_path, "sft", "gredy", "calls")
    with pytest.raises(ArmliteError, match="none of its 3 tasks of needs=7 has the figure calls"):
        values_of(*asked, "calls", "needs=7")


def test_the_steps_to_95_percent_are_of_a_run(tmp_path):
    def steps(*right):
        rows = [{"stage": "grpo2", "step": n, "accuracy": value} for n, value in enumerate(right, 1)]
        text = "".join(json.dumps(row) + "\n" for row in [{"stage": "sft", "step": 1}, *rows])
        (tmp_path / "metrics.jsonl").write_text(text)
        return values_of(tmp_path, "grpo2", "training", "steps_to_95")["run"]

    assert steps(0.5, *[1.0] * 9) == 6
    assert steps(*[0.9] * 10) == 11
    assert steps(1.0, 1.0) == 3, "never, in so few steps"
    with pytest.raises(ArmliteError, match="has no rollouts"):
        values_of(tmp_path, "sft", "training", "steps_to_95")


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variants": {"full": {"overrides": {"stages.grpo2.rewrd": "x"}}}}, "variant full: recipe"),
        ({"variants": {"full": {"overides": {}}}}, "unknown key variants.full.overides. Did you mean 'overrides'?"),
        ({"variants": {"more": {"control_of": "full"}, "full": {}}}, "'full' is no earlier variant"),
        ({"variants": {"a/b": {}}}, "'a/b' names a folder"),
        ({"claims": {"x": {"text": "", "checks": ["ful/last/greedy/calls < 1"]}}}, "there is no variant 'ful'."),
        ({"claims": {"x": {"text": "", "checks": ["full/last/greedy/call < 1"]}}}, "Did you mean 'calls'?"),
        ({"claims": {"x": {"text": "", "checks": ["full/last/training/steps_to_95 < 1"]}}}, "of a GRPO stage"),
        ({"claims": {"x": {"text": "", "checks": ["more_sft/grpo1/greedy/calls < 1"]}}}, "it has last, base, sft"),
    ],
    ids=["a recipe's key", "a key", "order", "name", "variant", "figure", "training", "checkpoint"],
)
def test_a_mistake_in_a_claims_file_is_one_line_before_anything_is_written(tmp_path, run, changes, said):
    code, _, err = run("train", write_claims(tmp_path, **changes), "--output", tmp_path / "out")
    assert code == 2 and is_one_line(err, said), err
    assert not (tmp_path / "out").exists()


def test_stages_are_shared_as_far_as_nothing_before_them_differs():
    def recipe(**changes):
        return check_recipe({**TINY, **changes}, "tiny")

    def stages(**changes):
        return {**TINY["stages"], **changes}

    full = recipe()
    assert shared_stages(full, recipe(name="other")) == ["sft", "grpo1", "grpo2"]
    assert shared_stages(full, recipe(stages=stages(grpo2={**GRPO, "reward": "accuracy_only"}))) == ["sft", "grpo1"]
    assert shared_stages(full, recipe(stages=stages(grpo1=None))) == ["sft"]
    assert shared_stages(full, recipe(stages=stages(sft={**TINY["stages"]["sft"], "steps": 4}))) == []
    assert shared_stages(full, recipe(seed=1)) is None
    assert shared_stages(full, recipe(data={**TINY["data"], "expert_share": 0.1})) is None


@pytest.mark.parametrize("file", sorted((ROOT / "recipes" / "claims").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_shipped_claims_can_be_read_and_say_how_they_are_run(file):
    claims = load_claims(file)
    assert f"# Run:   armlite train recipes/claims/{file.name}\n" in file.read_text("utf-8")
    assert claims.claims and claims.seeds


def test_a_dry_run_says_what_is_shared(tmp_path, run):
    code, out, _ = run("train", write_claims(tmp_path), "--dry-run")
    assert code == 0
    assert out.splitlines()[:4] == [
        "full: sft 3 steps, grpo1 2 steps, grpo2 2 steps",
        "accuracy: sft and grpo1 of full, then grpo2 2 steps",
        "more_sft: sft, as many steps as fit the time of full",
        "direct: sft of full, then grpo2 2 steps",
    ]


def test_a_stage_that_was_interrupted_took_as_long_as_its_steps(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    rows = [
        {"stage": "sft", "step": i, "time": f"2026-01-01T00:00:{2 * i + (30 if i > 3 else 0):02}+00:00"}
        for i in range(6)
    ]
    metrics.path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "stages.json").write_text('{"sft": {"seconds": 4.0}}')
    assert seconds_of(tmp_path, "sft") == 12.0
    (tmp_path / "stages.json").write_text('{"sft": {"seconds": 15.0}}')
    assert seconds_of(tmp_path, "sft") == 15.0


# --- the runs --------------------------------------------------------------------------------------------------------


def start(file, out, *more):
    words = [sys.executable, "-m", "armlite", "train", str(file), "--output", str(out), *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_when(process, reached):
    while process.poll() is None and not reached():
        time.sleep(0.005)
    assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def weights(run):
    return {f.parent.name: f.read_bytes() for f in run.glob("checkpoints/*/*.safetensors")}


def rows_of(run, stage):
    return [row for row in MetricsFile(run / "metrics.jsonl").read() if row["stage"] == stage]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """All variants, killed when the first had begun its last stage, and gone on with by the same command."""
    folder = tmp_path_factory.mktemp("claims")
    file, out = write_claims(folder), folder / "out"
    first = out / "seed0" / "full"
    kill_when(start(file, out), lambda: (first / "rollouts" / "grpo2").is_dir())
    before = (first / "checkpoints" / "sft" / "model.safetensors").stat().st_mtime_ns
    with redirect_stdout(io.StringIO()) as said:
        train_claims(file, ([], []), out, seeds=None, variants=None, workers=1, dry_run=False)
    return file, out, said.getvalue(), before


def test_stages_that_variants_have_in_common_are_trained_once(finished):
    _, out, _, before = finished
    full, accuracy, direct = (out / "seed0" / name for name in ("full", "accuracy", "direct"))
    assert (full / "checkpoints" / "sft" / "model.safetensors").stat().st_mtime_ns == before, "nor after a kill"
    for stage, others in {"sft": (accuracy, direct), "grpo1": (accuracy,)}.items():
        for other in others:
            assert rows_of(other, stage) == rows_of(full, stage) != [], "to the microsecond"
            assert weights(other)[stage] == weights(full)[stage]
            assert (other / "eval" / stage / "summary.json").read_bytes() == (
                full / "eval" / stage / "summary.json"
            ).read_bytes()
    assert rows_of(accuracy, "grpo2") != rows_of(full, "grpo2")
    assert not rows_of(direct, "grpo1") and not (direct / "checkpoints" / "grpo1").exists()
    parts = {
        row.score.parts.keys() == {"format", "attempt", "answer", "success"}
        for row in read(accuracy / "rollouts" / "grpo2")
    }
    assert parts == {True}
    for run in (full, accuracy, direct):
        assert (run / "report.md").is_file()
        judged = run / "benchmarks/base/pocket/trajectories.jsonl"
        assert judged.samefile(full / "benchmarks/base/pocket/trajectories.jsonl"), "nor is a benchmark judged again"
        assert len(rows_of(run, "grpo2")) == 2


def test_a_control_spends_the_time_of_the_other_run_on_its_cold_start(finished):
    _, out, _, _ = finished
    full, control = out / "seed0" / "full", out / "seed0" / "more_sft"
    steps = saved_recipe(control / "recipe.yaml").stages.sft.steps
    seconds = {stage: seconds_of(full, stage) for stage in ("sft", "grpo1", "grpo2")}
    assert steps == round(3 * sum(seconds.values()) / seconds["sft"]) > 3
    assert [row["step"] for row in rows_of(control, "sft")] == list(range(1, steps + 1))
    assert {p.name for p in (control / "checkpoints").iterdir()} == {"sft"}


def test_the_table_has_the_figures_of_the_runs(finished):
    _, out, said, _ = finished
    judged = json.loads((out / "claims.json").read_text())
    assert {claim["id"]: claim["verdict"] for claim in judged["claims"]} == {
        "same": "undecided",
        "share": "holds",
        "never": "does not hold",
    }
    rows = [row.trajectory for row in read(out / "seed0" / "full" / "eval" / "grpo2" / "greedy.jsonl")]
    right = sum(bool(is_right(t.task, t.decision)) for t in rows) / len(rows)
    [check] = judged["claims"][1]["checks"]
    assert (check["left"], check["right"], check["n"], check["seeds"]) == (right, 1.5, 3, 1)
    figures = judged["variants"]["full"]["runs"]["0"]["eval"]["grpo2"]["greedy"]
    assert figures == {"accuracy": right, "calls": sum(len(t.calls) for t in rows) / 3}
    page = (out / "claims.md").read_text()
    assert "| share | no share is above 1 | holds |" in page
    assert re.search(r"\| more_sft \| sft \| [\d.]+ % \|", page)
    assert Image.open(out / "claims.png").width == Image.open(out / "claims-training.png").width == 1210
    curve = curve_of(out / "seed0" / "full")
    logged = [row["accuracy"] for stage in ("grpo1", "grpo2") for row in rows_of(out / "seed0" / "full", stage)]
    assert curve["accuracy"] == pytest.approx([sum(logged[: n + 1]) / (n + 1) for n in range(4)])
    assert f"claims: {out / 'claims.md'}" in said.replace("\n", " ")


def test_finished_variants_are_left_as_they_are_and_other_settings_are_refused(finished, run):
    file, out, _, _ = finished
    before = {f: f.stat().st_mtime_ns for f in out.glob("seed0/**/*") if f.is_file()}
    code, table, err = run("train", file, "--output", out, "--variants", "full,direct")
    assert code == 0 and "does not hold" in table, err
    assert {f: f.stat().st_mtime_ns for f in out.glob("seed0/**/*") if f.is_file()} == before
    code, _, err = run("train", file, "stages.grpo2.steps=3", "--output", out)
    assert code == 2 and is_one_line(err, "was made with another recipe: stages.grpo2.steps is 2 there and 3 here")
    code, _, err = run("train", file, "--output", out, "--variants", "ful")
    assert code == 2 and is_one_line(err, "has no variant 'ful'. Did you mean 'full'?")


@pytest.mark.slow
def test_runs_that_are_killed_at_any_moment_end_as_those_that_never_were(finished, tmp_path):
    """Two seeds side by side, which nobody is left to train when the command is killed."""
    names = "full,accuracy,direct"
    file, out = write_claims(tmp_path), tmp_path / "killed"
    words = "--seeds", "0,1", "--variants", names, "--workers", "2"
    moments = (
        lambda: len([*out.glob("seed*/full/checkpoints/sft")]) == 1,
        lambda: any(out.glob("seed*/accuracy.writing")) or any(out.glob("seed*/accuracy/rollouts/grpo2")),
        lambda: any(out.glob("seed1/direct/data")),
    )
    for reached in moments:
        kill_when(start(file, out, *words), reached)
    process = start(file, out, *words)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    for name in names.split(","):
        assert weights(out / "seed0" / name) == weights(finished[1] / "seed0" / name), name
        assert {stage: [row["step"] for row in rows_of(out / "seed1" / name, stage)] for stage in ("sft", "grpo2")} == {
            "sft": [1, 2, 3],
            "grpo2": [1, 2],
        }
    judged = json.loads((out / "claims.json").read_text())
    assert [claim["verdict"] for claim in judged["claims"]] == ["undecided", "holds", "not run"]
    assert judged["claims"][0]["checks"][0]["seeds"] == 2
    assert not [*out.rglob("*.writing"), *out.rglob("*.old")]
