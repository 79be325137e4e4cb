"""The way from ids on a hub to a judge on the hub, in a minute; `tests/real/mini.py` goes the whole of it."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from hub import TOKEN, environment, serve_hub
from published.pocket_world import add_all, write_all

RECIPE = """
seed: 0
threads: 1
model: {path: me/base}
lora: {r: 4, alpha: 8}
data: {build: data.yaml}
stages:
  sft: {steps: 2, learning_rate: 1.0e-4, max_length: 2048, gradient_checkpointing: false}
  grpo1: &grpo
    {reward: encourage_tools, steps: 1, learning_rate: 1.0e-4, num_generations: 2, tasks_per_step: 2,
    per_device_train_batch_size: 4, gradient_checkpointing: false, max_new_tokens: 16, max_context: 2048}
  grpo2: {<<: *grpo, reward: hierarchical}
evaluation:
  max_new_tokens: 16
  max_context: 2048
  benchmarks: [{name: vl-rewardbench, n: 2}, {name: rewardbench-2, n: 2}]
"""
DATA = """
sources:
  - {set: llava-critic, kinds: [pairwise], rows: 6}
  - {set: deepeyes, make: pairs, rows: 6}
  - {set: mmif-23k, rows: 4}
  - {set: mp-docvqa, make: pairs, rows: 4}
held_out: {share: 0.2}
"""


@pytest.mark.slow
def test_hub_ids_become_a_judge_on_the_hub_with_a_report(pocket, process, tmp_path):
    process.script()
    traces = {"model": process.model, "k": 1}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({**yaml.safe_load(DATA), "traces": traces}))
    (tmp_path / "mini.yaml").write_text(RECIPE)
    with serve_hub() as hub:
        add_all(hub, write_all(tmp_path / "sets", rows=12).items())
        hub.add("models/me/base", pocket.folder)

        def armlite(*words, home="home"):
            command = [sys.executable, "-m", "armlite", *words]
            told = os.environ | environment(hub, tmp_path / home, TOKEN)
            done = subprocess.run(command, env=told, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
            return done.stdout

        armlite("train", "mini.yaml", "--output", "run")
        armlite("export", "weights", "run", "--out", "judge", "--push", "me/judge")
        case = ("--question", "Which?", "--response", "a", "--response", "b")
        said = armlite("judge", "--model", "me/judge", *case, "--json", home="another")
    assert json.loads(said)["status"] in ("judged", "no_answer", "budget")
    built = json.loads((tmp_path / "run/data/build.json").read_text())
    kept = built["totals"]["training_tasks"] + built["totals"]["held_out"]
    assert kept == built["totals"]["tasks_of_rows"] - built["totals"]["rejected_tasks"] == 20
    report = (tmp_path / "run/report.md").read_text()
    assert all(words in report for words in ("vl-rewardbench", "rewardbench-2", "67.8", "59.6"))  # the paper's figures
