"""A run that two processes share: the same rollouts, losses and weights as one process alone, and each file once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from test_run import TINY

from armlite.errors import ArmliteError
from armlite.stages import SftSettings
from armlite.store import read
from armlite.train import processes
from armlite.train.metrics import MetricsFile
from armlite.train.sharding import prepare_sharding

STAGES = {name: {**stage, "save_steps": stage["steps"]} for name, stage in TINY["stages"].items()}
RECIPE = {**TINY, "lora": {"r": 4, "dropout": 0.0}, "stages": STAGES}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
FSDP = {
    "ACCELERATE_USE_CPU": "true",
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
}
"""What `accelerate launch --use_fsdp --fsdp_version 2` sets."""


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


def launch(folder, *options, several=("armlite",)):
    """Train the recipe, `several` being the module that runs the command line; returns the run directory."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    words = ["train", str(folder / "tiny.yaml"), "--output", str(folder / "run"), *options]
    command = [sys.executable, "-m", *several, *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT}, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "stderr").write_text(done.stderr)
    return folder / "run"


def same_runs(one, two):
    """Both have learnt the same from the same rollouts, and something; and have written the same files."""
    assert {p.name for p in two.iterdir()} == {p.name for p in one.iterdir()}
    losses = [
        {(r["stage"], r["step"]): r["loss"] for r in MetricsFile(run / "metrics.jsonl").read()} for run in (one, two)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=2e-4)
    assert all(losses[0].values()), "a loss of 0 would show nothing"
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


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    several = ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    several += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "armlite"]
    same_runs(launch(tmp_path / "one"), launch(tmp_path / "two", several=several))


@pytest.mark.slow
def test_two_processes_with_half_the_weights_each_learn_what_one_learns(tmp_path, monkeypatch):
    one = launch(tmp_path / "one")
    launch(tmp_path / "two", "--stage", "sft")  # trains the vision tower, which sharded weights do not allow
    for name, value in FSDP.items():
        monkeypatch.setenv(name, value)
    script = Path(__file__).parent / "fsdp_on_cpu.py"
    several = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    same_runs(one, launch(tmp_path / "two", "--resume", several=several))
    assert "sharded weights" in (tmp_path / "two" / "stderr").read_text()


@pytest.mark.parametrize(
    ("environment", "stage", "words"),
    [
        ({"FSDP_VERSION": "1"}, {}, "--fsdp_version 2"),
        ({"FSDP_TRANSFORMER_CLS_TO_WRAP": "Qwen2_5_VLVisionBlock"}, {}, "Qwen2_5_VLDecoderLayer alone"),
        ({"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}, {}, "Qwen2_5_VLDecoderLayer alone"),
        ({}, {"adapter": "none", "train_vision": True}, "train_vision: false"),
    ],
)
def test_what_does_not_work_with_sharded_weights_is_told(environment, stage, words, monkeypatch):
    settings = SftSettings(**stage)
    prepare_sharding(settings, "Qwen2_5_VLDecoderLayer")
    for name, value in (FSDP | {"FSDP_TRANSFORMER_CLS_TO_WRAP": "Qwen2_5_VLDecoderLayer"} | environment).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArmliteError, match=words):
        prepare_sharding(settings, "Qwen2_5_VLDecoderLayer")
