"""A build and the training after it, killed five times at random moments, end with the data and weights of one that was
not. `python tests/test_kills.py SEED FOLDER` does it with other moments, and keeps what it made.
"""

import random
import signal
import subprocess
import sys
import time
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
KILLS = 5


def start(folder: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "armlite", "train", *words]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def train(folder: Path, *words: str) -> float:
    """Seconds from the first line to the end."""
    process = start(folder, *words)
    said = process.stderr.readline()
    begun = time.monotonic()
    said += process.communicate()[1]
    assert process.returncode == 0, said
    return time.monotonic() - begun


def kill_again_and_again(folder: Path, seed: int, seconds: float) -> list[str]:
    """Kill a run five times, each time so many seconds after its first line; gives what was told of the moments."""
    rng, told = random.Random(seed), []
    for number in range(KILLS):
        wait = rng.uniform(0.2, 1.1) * seconds / KILLS  # in all most of the run, and its end is not met before
        again = ["--resume"] if (folder / "killed").exists() else []
        process = start(folder, "run.yaml", "--output", "killed", *again)
        first = process.stderr.readline()
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        said = [first, *process.communicate()[1].splitlines()][-1].strip()
        told.append(f"kill {number + 1} after {wait:.2f} s (status {process.returncode}), last heard: {said}")
        print(told[-1], flush=True)
    train(folder, "run.yaml", "--output", "killed", "--resume")
    return told


def contents(run: Path) -> dict[str, bytes]:
    """What is learnt from, and the weights."""
    data = [run / "data" / name for name in ("tasks.jsonl", "held_out.jsonl", "traces.jsonl", "traces-2.jsonl")]
    data += [run / "data" / "rejects.jsonl", run / "data" / "build.json"]
    files = [*data, *sorted(run.glob("checkpoints/*/*.safetensors")), *sorted(run.glob("eval/*/greedy.jsonl"))]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def both(folder: Path, seed: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What a whole run makes, and one that was killed."""
    for name, plain in {"base.yaml": BASE, "run.yaml": RUN, "data.yaml": DATA}.items():
        (folder / name).write_text(yaml.safe_dump(plain))
    if not (folder / "base").is_dir():
        train(folder, "base.yaml", "--output", "base")
    seconds = train(folder, "run.yaml", "--output", "whole")
    print(f"not killed it takes {seconds:.0f} s; seed {seed}", flush=True)
    assert sum("status -9" in line for line in kill_again_and_again(folder, seed, seconds)) >= 3
    return contents(folder / "whole"), contents(folder / "killed")


@pytest.mark.slow
def test_a_build_and_its_training_that_are_killed_five_times_end_with_the_same_data_and_weights(tmp_path):
    whole, killed = both(tmp_path, seed=0)
    assert len(whole) > 10 and {name for name in whole if whole[name] != killed.get(name)} == set()
    assert set(whole) == set(killed)


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    one, other = both(place, int(sys.argv[1]))
    differ = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    print("\n".join(["the same" if not differ else "not the same:", *differ]))
    sys.exit(bool(differ))
