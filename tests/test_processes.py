"""A run that two processes share: the same rollouts, losses and weights as one process alone, and each file once."""

import json
import os
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file
from test_run import TINY

from armlite.errors import ArmliteError
from armlite.store import read
from armlite.train import processes
from armlite.train.metrics import MetricsFile

STAGES = {name: {**stage, "save_steps": stage["steps"]} for name, stage in TINY["stages"].items()}
RECIPE = {**TINY, "lora": {"r": 4, "dropout": 0.0}, "stages": STAGES}


@pytest.mark.parametrize(
    ("count", "batch", "accumulation", "shared"),
    [(1, 4, 2, (4, 2)), (2, 4, 2, (4, 1)), (2, 4, 1, (2, 1)), (4, 4, 2, (1, 2)), (2, 1, 16, (1, 8))],
)
def test_a_step_is_shared_out_by_passes_and_else_by_sequences(monkeypatch, count, batch, accumulation, shared):
    monkeypatch.setenv("WORLD_SIZE", str(count))
    assert processes.share(batch, accumulation) == shared


def test_a_step_that_cannot_be_shared_evenly_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ArmliteError, match="multiple of 3"):
        processes.share(4, 2)


def launch(folder, count):
    """Train the recipe with so many processes; returns the run directory."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    words = ["armlite", "train", str(folder / "tiny.yaml"), "--output", str(folder / "run")]
    several = ["accelerate.commands.launch", "--cpu", "--num_processes", str(count), "--num_machines", "1"]
    several += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", *([] if count == 1 else several), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run"


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = launch(tmp_path / "one", 1), launch(tmp_path / "two", 2)
    assert {p.name for p in two.iterdir()} == {p.name for p in one.iterdir()}
    losses = [
        {(r["stage"], r["step"]): r["loss"] for r in MetricsFile(run / "metrics.jsonl").read()} for run in (one, two)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=2e-4)
    for stage in ("sft", "grpo1", "grpo2"):
        [file] = (one / "checkpoints" / stage).glob("*.safetensors")
        alone, shared = load_file(file), load_file(two / "checkpoints" / stage / file.name)
        assert alone.keys() == shared.keys()
        for name, weight in alone.items():
            assert torch.allclose(shared[name], weight, atol=2e-3), (stage, name)
    for stage in ("grpo1", "grpo2"):
        texts = [
            sorted(
                (row.trajectory.task.id, row.trajectory.rollout, *(s.turn.text for s in row.trajectory.steps))
                for row in read(run / "rollouts" / stage)
            )
            for run in (one, two)
        ]
        assert texts[0] == texts[1]
    summaries = [json.loads((run / "eval" / "base" / "summary.json").read_text()) for run in (one, two)]
    assert summaries[0] == summaries[1]
