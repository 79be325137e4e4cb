"""A run in the lab world: the base is made once, and the report tells calls made from calls needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from armlite.errors import ArmliteError
from armlite.evals.figures import Answer, Item
from armlite.evals.tasks import score
from armlite.pocket.lab.traces import expert_episodes
from armlite.pocket.lab.world import generate
from armlite.recipe import load_recipe
from armlite.train.base import folder_of
from armlite.train.run import train

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")
TINY = (
    "data.n_traces=90 data.n_tasks=9 data.n_evaluation=9 data.n_transfer=9 base.n_traces=90 base.steps=2 "
    "stages.sft.steps=1 stages.grpo1=null stages.grpo2.steps=1 stages.grpo2.tasks_per_step=2 "
    "stages.grpo2.num_generations=2 stages.grpo2.per_device_train_batch_size=4 stages.grpo2.filter_rollouts=0 "
    "stages.grpo2.max_new_tokens=24 evaluation.max_new_tokens=24"
).split()


def test_the_base_is_made_once_and_the_report_has_needs_and_transfer(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLITE_CACHE", str(tmp_path / "cache"))
    recipe, told = load_recipe("recipes/lab.yaml", TINY), []
    run = train(recipe, tmp_path / "one", notify=lambda event, values: told.append((event, values.get("stage"))))
    assert told.count(("stage", "base")) == 1
    kept = folder_of(recipe) / "model" / "model.safetensors"
    assert (run / "base" / "model.safetensors").read_bytes() == kept.read_bytes()
    assert sorted(p.name for p in kept.parents[1].iterdir() if p.name[0] != ".") == [
        "made_of.json",
        "metrics.jsonl",
        "model",
    ]
    summary = json.loads((run / "eval" / "sft" / "summary.json").read_text())
    assert summary["transfer"]["items"] == 9
    assert {f"{what}_by_needs/{n}" for what in ("accuracy", "calls") for n in range(3)} <= set(
        summary["greedy"]["figures"]
    )
    report = (run / "report.md").read_text()
    assert "## Calls made against calls needed" in report and "## Transfer" in report

    again = load_recipe("recipes/lab.yaml", [*TINY, "seed=1", "stages.grpo2=null"])
    assert folder_of(again) == folder_of(recipe), "another seed starts from the same base"
    train(again, tmp_path / "two", notify=lambda event, values: told.append((event, values.get("stage"))))
    assert told.count(("stage", "base")) == 1
    other = load_recipe("recipes/lab.yaml", [*TINY, "base.steps=3"])
    assert folder_of(other) != folder_of(recipe)


@pytest.mark.slow
def test_variants_side_by_side_start_from_a_base_that_is_made_before_them(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLITE_CACHE", str(tmp_path / "cache"))
    file, where = tmp_path / "lab-claims.yaml", ["--output", str(tmp_path / "out")]
    lab = Path("recipes/lab.yaml").resolve()
    file.write_text(f"kind: claims\nrecipe: {lab}\nvariants: {{full: {{text: all}}}}\nclaims: {{}}\n")
    main = "from armlite.cli import main; main()"
    asked = ["train", str(file), *TINY, *where, "--seeds", "0,1", "--variants", "full", "--workers", "2"]
    done = subprocess.run([sys.executable, "-c", main, *asked], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    bases = {(tmp_path / f"out/seed{n}/full/base/model.safetensors").read_bytes() for n in (0, 1)}
    assert len(bases) == 1 and len([*(tmp_path / "cache/bases").iterdir()]) == 1


def test_figures_tell_accuracy_and_calls_by_the_calls_that_tasks_need(tmp_path):
    rules, tasks = load_recipe("recipes/lab.yaml").episode, list(generate("test", 27, 5, tmp_path))
    played = [e.trajectory() for e in expert_episodes(tasks, rules, tmp_path, 1.0, 0.0, 0)]
    figures = score([Item(t.task, (Answer(t),)) for t in played])
    for needs, n in enumerate((9, 11, 7)):
        assert figures[f"accuracy_by_needs/{needs}"].value == 1.0
        assert figures[f"calls_by_needs/{needs}"].value == needs
        assert figures[f"calls_by_needs/{needs}"].n == n


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.world=pocket"], "base: is for model.path: pocket with data.world: lab"),
        (["data.world=pocket", "base=null"], "the pocket world has neither"),
        (["data.idle_share=0.9"], "at most 1 together"),
        (["data.world=lob"], "lab"),
    ],
    ids=["base elsewhere", "transfer elsewhere", "shares", "no such world"],
)
def test_settings_of_the_lab_world_that_fit_nothing_are_named(overrides, said):
    with pytest.raises(ArmliteError, match=said):
        load_recipe("recipes/lab.yaml", overrides)
