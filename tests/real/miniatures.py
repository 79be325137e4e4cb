"""True-width miniatures on a CPU: `python tests/real/miniatures.py --tokenizer FOLDER [--write]`; 25 to 40 minutes.

Two layers of text and two of vision of Qwen2.5-VL-7B, Qwen2.5-VL-3B (tied head) and Qwen3-VL-4B, with their true
widths, heads and vocabularies, random weights, and the real tokenizer of a folder that is given. Each plays one whole
step of the cold start and of both GRPO stages in a scaled shape, in NF4 and in bfloat16, and forward alone in float16,
each in a process of its own. So no shape, head count, tied weight or type is met for the first time on a user's card:
the command fails where a library or we warn, where a fast way is off, where a gradient is none, or where memory differs
by more than a tenth from what `armlite plan` says.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODELS = ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen3-VL-4B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct")
WAYS = {"bfloat16": ("none", "bfloat16"), "float16": ("none", "float16"), "nf4": ("4bit", "bfloat16")}
"""How weights are stored -> `model.quantize` and `model.dtype`."""
WITHIN = 0.1
EXACT = ("weights", "adapters", "optimizer", "cache")
"""Parts of memory that are to agree with the plan; what passes keep is told beside them."""
FIGURES = ("tokens", "prompt_tokens", "tokens_updated", "gradient_norm", "rss_gib")
RECIPE = "recipes/qwen2.5-vl-7b-24gb.yaml"
NOISE = ("CPUAllocator.cpp", "Memory block of unknown size")
"""Of what PyTorch's profiler says when memory is freed that was there before it: of no interest, and expected."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--tokenizer", type=Path, required=True, help="folder with the tokenizer of a Qwen2.5-VL")
    words.add_argument("--folder", type=Path, default=ROOT / ".real/miniatures", help="of results, not played again")
    words.add_argument("--only", nargs="*", default=[], help="words such as 3B, nf4 or '3B nf4'")
    words.add_argument("--write", action="store_true", help="keep the figures in tests/real/committed")
    words.add_argument("--one", nargs=2, metavar=("MODEL", "WAY"), help="used by this command itself")
    asked = words.parse_args()
    if asked.one:
        json.dump(play(*asked.one, asked.tokenizer, asked.folder), sys.stdout)
        return
    from kit import keep, say, today

    found: dict[str, Any] = {}
    left: list[str] = []
    for way in WAYS:
        for model in MODELS:
            name = f"{model.rpartition('/')[2].removesuffix('-Instruct')} {way}"
            if not asked.only or any(word in name for word in asked.only):
                file = asked.folder / f"{name.replace(' ', '-')}.json"  # what is there is not played again
                if not file.is_file():
                    played = _played(model, way, asked)
                    file.write_text(json.dumps(played), "utf-8")
                found[name] = json.loads(file.read_text("utf-8"))
                say(f"{name}: {json.dumps(found[name])}")
            else:
                left.append(name)
    faults = [f"{name}: {fault}" for name, one in found.items() for fault in faults_of(one)]
    from armlite.train.provenance import environment

    minutes = sum(one["processor_seconds"] for one in found.values()) / 60  # of one core, whatever else it did
    about = {"date": today(), "versions": environment()["versions"], "minutes": minutes}
    if asked.write:
        keep("miniatures.json", {**about, "within": WITHIN, "played": found, "not_played": left})
    if faults:
        raise SystemExit("\n".join(faults))


def faults_of(one: dict[str, Any]) -> list[str]:
    """What is wrong with what was played."""
    faults = [f"said {line!r}" for line in one["said"]]
    if "finite" in one and not one["finite"]:
        faults.append("logits are not finite")
    for stage, row in one.get("stages", {}).items():
        if not row["gradient_norm"] > 0:
            faults.append(f"{stage} has no gradient")
        wrong = {part: row["memory"][part]["error"] for part in EXACT if part in row["memory"]}
        faults += [f"{stage}: {part} off by {e:+.0%}" for part, e in wrong.items() if abs(e) > WITHIN]
    return faults


def _played(model: str, way: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Play in another process; what it says on stderr is a warning.

    Raises:
        SystemExit: it failed.
    """
    # -P: not with the folder of this file, whose modules have names that libraries look for.
    command = [
        sys.executable,
        "-P",
        __file__,
        "--one",
        model,
        way,
        "--tokenizer",
        asked.tokenizer,
        "--folder",
        asked.folder,
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false", "TRL_EXPERIMENTAL_SILENCE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{model} in {way} failed:\n{done.stderr[-6000:]}")
    said = [line for line in done.stderr.splitlines() if line.strip() and not all(word in line for word in NOISE)]
    return {**json.loads(done.stdout.splitlines()[-1]), "said": said}


def play(name: str, way: str, tokenizer: Path, folder: Path) -> dict[str, Any]:
    """One miniature in one way: of each stage its memory and gradient, or of float16 a forward."""
    from armlite.models.loading import without_developers_warnings

    warnings.simplefilter("always")
    with without_developers_warnings():
        return {**_play(name, way, tokenizer, folder), "processor_seconds": time.process_time()}


def _play(name: str, way: str, tokenizer: Path, folder: Path) -> dict[str, Any]:
    import torch

    from armlite.bench.folders import MINIATURE, write_folder
    from armlite.bench.models import of_recipe
    from armlite.bench.run import run
    from armlite.recipe import load_recipe

    quantize, dtype = WAYS[way]
    made = write_folder(name, tokenizer, folder / name.rpartition("/")[2])
    # Paged states are CUDA's; on a CPU the optimizer says so in a warning.
    words = (
        f"model.path={made}",
        f"model.quantize={quantize}",
        f"model.dtype={dtype}",
        "stages.grpo2.optim=adamw_8bit",
    )
    recipe = load_recipe(RECIPE, words)
    measured = of_recipe(recipe, random_weights=True, layers=MINIATURE)
    if way == "float16":
        return {"model": measured.name, "finite": _forward(measured, torch)}
    stages = {}
    for stage, work in shapes().items():
        (row,) = run(measured, [work], recipe, repetitions=0, parts=True)
        figures = {key: value["median"] for key, value in row["ours"].items()}
        kept = {key: figures[key] for key in FIGURES if key in figures}
        stages[stage] = {**kept, "memory": row["memory"]}
    return {"model": measured.name, "stages": stages}


def shapes() -> dict[str, Any]:
    """Of each stage its step: two rollouts of two turns with one crop, and prompts whose text is the tools'.

    All turns are of one length: bitsandbytes takes ten times as long for one row as for two on a CPU.
    """
    from armlite.bench.workloads import Workload

    shape = Workload("grpo2", "", group=2, image_tokens=64, prompt_tokens=256, crops=(64,), turn_tokens=62, spread=0.0)
    cold = replace(shape, id="sft", play="sft", group=1)
    return {"sft": cold, "grpo1": replace(shape, id="grpo1", reward="encourage_tools"), "grpo2": shape}


def _forward(measured: Any, torch: Any) -> bool:
    """Whether the logits of a picture and some words are finite."""
    from PIL import Image

    side = 8 * measured.cell
    processor, text = measured.processor, "<|vision_start|><|image_pad|><|vision_end|>" + " Which is right?" * 40
    inputs = processor(text=[text], images=[Image.effect_noise((side, side), 60).convert("RGB")], return_tensors="pt")
    with torch.no_grad():
        return bool(measured.model(**inputs).logits.isfinite().all())


if __name__ == "__main__":
    main()
