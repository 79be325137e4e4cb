"""A build and the training after it, and a run in the lab world that makes its base, killed five times at random
moments, end with the data and weights of one that was not. `python tests/test_kills.py SEED FOLDER` does it with other
moments, and keeps what it made.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

SOURCES = [{"set": "pocket", "rows": 24}, {"name": "made", "set": "pocket", "split": "validation", "rows": 16}]
DATA = {
    "seed": 1,
    "sources": [SOURCES[0], {**SOURCES[1], "make": "pairs"}],
    "held_out": {"share": 0.2},
    "filter": {"k": 2},
    "traces": {"k": 4, "rounds": 2, "family_ratio": 99},
}
"""A build of 40 rows."""
PIXELS = {"image_max_pixels": 1764, "crop_max_pixels": 3136, "sheet_max_pixels": 784, "page_max_pixels": 784}
SFT = {
    "adapter": "none",
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 8,
    "gradient_checkpointing": False,
    "max_length": 512,
}
GRPO = {
    "steps": 2,
    "learning_rate": 1e-3,
    "num_generations": 4,
    "tasks_per_step": 2,
    "per_device_train_batch_size": 8,
    "gradient_checkpointing": False,
    "max_new_tokens": 48,
    "max_context": 512,
    "save_steps": 1,
}
COMMON = {
    "threads": 1,
    "episode": {
        "max_calls": 2,
        "limits": {**PIXELS, "pages_per_query": 1, "page_max_characters": 60, "shown_characters": 24},
    },
    "lora": {"r": 4},
    "engine": {"max_slots": 32},
    "evaluation": {"max_new_tokens": 48, "max_context": 512},
}
BASE = {
    **COMMON,
    "model": {"path": "pocket"},
    "data": {"n_traces": 800, "n_evaluation": 3, "expert_share": 1.0},
    "stages": {"sft": {**SFT, "train_vision": True, "steps": 80, "learning_rate": 3e-3}},
}
"""A judge that calls tools, and guesses what they show."""
RUN = {
    **COMMON,
    "model": {"path": "base/checkpoints/sft"},
    "data": {"build": "data.yaml", "n_evaluation": 4},
    "stages": {"sft": {**SFT, "steps": 3, "save_steps": 1}, "grpo1": GRPO, "grpo2": GRPO},
}
LAB = str(Path(__file__).parents[1] / "recipes" / "lab.yaml")
SMALL = """
data.n_traces=60 data.n_tasks=12 data.n_evaluation=9 data.n_transfer=9 base.n_traces=60 base.steps=6 base.save_steps=1
stages.sft.steps=4 stages.sft.save_steps=1 stages.grpo1.steps=2 stages.grpo1.tasks_per_step=2 stages.grpo1.save_steps=1
stages.grpo2.steps=2 stages.grpo2.tasks_per_step=2 stages.grpo2.save_steps=1 stages.grpo2.filter_rollouts=0
stages.grpo1.num_generations=4 stages.grpo1.per_device_train_batch_size=8 stages.grpo1.max_new_tokens=24
stages.grpo2.num_generations=4 stages.grpo2.per_device_train_batch_size=8 stages.grpo2.max_new_tokens=24
evaluation.max_new_tokens=24
""".split()
KILLS = 5


def start(folder: Path, *words: str) -> subprocess.Popen:
    command, own = [sys.executable, "-m", "armlite", "train", *words], f"{words[words.index('--output') + 1]}-cache"
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        command, cwd=folder, text=True, env={**os.environ, "ARMLITE_CACHE": str(folder / own)}, **pipes
    )


def train(folder: Path, *words: str) -> float:
    """Seconds from the first line to the end."""
    process = start(folder, *words)
    said = process.stderr.readline()
    begun = time.monotonic()
    said += process.communicate()[1]
    assert process.returncode == 0, said
    return time.monotonic() - begun


def kill_again_and_again(folder: Path, words: Sequence[str], seed: int, seconds: float) -> list[str]:
    """Kill a run five times, each time so many seconds after its first line; gives what was told of the moments."""
    rng, told = random.Random(seed), []
    for number in range(KILLS):
        wait = rng.uniform(0.2, 1.1) * seconds / KILLS  # in all most of the run, and its end is not met before
        again = ["--resume"] if (folder / "killed").exists() else []
        process = start(folder, *words, "--output", "killed", *again)
        first = process.stderr.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        said = [first, *process.communicate()[1].splitlines()][-1].strip()
        told.append(f"kill {number + 1} after {wait:.2f} s (status {process.returncode}), last heard: {said}")
        print(told[-1], flush=True)
    train(folder, *words, "--output", "killed", "--resume")
    return told


def contents(run: Path) -> dict[str, bytes]:
    """What is learnt from, and the weights."""
    data = [run / "data" / name for name in ("tasks.jsonl", "held_out.jsonl", "traces.jsonl", "traces-2.jsonl")]
    data += [run / "data" / "rejects.jsonl", run / "data" / "build.json"]
    made = ("base/*.safetensors", "checkpoints/*/*.safetensors", "eval/*/greedy.jsonl", "eval/*/transfer.jsonl")
    files = [*filter(Path.is_file, data), *(file for pattern in made for file in sorted(run.glob(pattern)))]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def both(folder: Path, words: Sequence[str], seed: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What a whole run makes, and one that was killed."""
    seconds = train(folder, *words, "--output", "whole")
    print(f"not killed it takes {seconds:.0f} s; seed {seed}", flush=True)
    assert sum("status -9" in line for line in kill_again_and_again(folder, words, seed, seconds)) >= 3
    return contents(folder / "whole"), contents(folder / "killed")


def build(folder: Path) -> list[str]:
    """The words of a run that builds its data, and what it needs in place."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, plain in {"base.yaml": BASE, "run.yaml": RUN, "data.yaml": DATA}.items():
        (folder / name).write_text(yaml.safe_dump(plain))
    if not (folder / "base").is_dir():
        train(folder, "base.yaml", "--output", "base")
    return ["run.yaml"]


def lab(folder: Path) -> list[str]:
    """The words of a run in the lab world."""
    folder.mkdir(parents=True, exist_ok=True)
    return [LAB, *SMALL]


RUNS = {"build": (build, 11), "lab": (lab, 10)}
"""Name -> its words, and the fewest files it makes."""


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_killed_five_times_ends_with_the_same_data_and_weights(tmp_path, name):
    words, fewest = RUNS[name]
    whole, killed = both(tmp_path, words(tmp_path), seed=0)
    assert len(whole) >= fewest and {name for name in whole if whole[name] != killed.get(name)} == set()
    assert set(whole) == set(killed)


if __name__ == "__main__":
    differ = []
    for name, (words, _) in RUNS.items():
        place = Path(sys.argv[2]) / name
        one, other = both(place, words(place), int(sys.argv[1]))
        differ += [f"{name}/{file}" for file in sorted({*one, *other}) if one.get(file) != other.get(file)]
    print("\n".join(["the same" if not differ else "not the same:", *differ]))
    sys.exit(bool(differ))
