"""The whole way in small, through the hub's own clients: `python tests/real/mini.py`; about a quarter of an hour.

A hub on this machine (`tests/hub.py`) has the pocket world in the layouts of published sets, and an untaught pocket
judge. `armlite train recipes/mini.yaml` goes from their ids to a trained and evaluated judge: build, sft, grpo1, grpo2,
two benchmarks. The judge is folded, pushed, loaded from the hub, and served by `transformers serve`, whose verdicts
must be the local engine's.

    --kills 5    again into another folder, killed so many times, of a hub that fails one request in ten: the same data,
                 weights and verdicts must come out
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving import evaluate, make_environment, serving  # isort: skip  (kit puts the folder of another one first)
from kit import ROOT, keep, say, today  # isort: skip
from hub import TOKEN, Hub, environment, serve_hub  # isort: skip
from published.pocket_world import add_all, write_all  # isort: skip

BASE, JUDGE = "armlite/pocket-base", "armlite/pocket-mini"
"""Ids on the hub: the model that `recipes/mini.yaml` begins with, and the judge that comes of it."""
PORT = 18311


class Clock:
    """Seconds of each part, as they end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def stop(self, part: str) -> None:
        now = time.monotonic()
        self.seconds[part] = round(now - self._last, 1)
        self._last = now
        say(f"{part}: {self.seconds[part]:.0f} s")


def armlite(hub: Hub, home: Path, *words: str | Path) -> str:
    """A command as a user of the hub gives it; what it says on stdout.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", "armlite", *map(str, words)]
    done = subprocess.run(command, env=variables(hub, home), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout


def variables(hub: Hub, home: Path) -> dict[str, str]:
    """The environment of a process that asks this hub and has its own cache."""
    return os.environ | {"PYTHONPATH": str(ROOT)} | environment(hub, home, TOKEN)


def make_base(folder: Path, given: Path | None, hub: Hub) -> None:
    """Put a pocket judge after a short cold start on the hub: it knows the format and calls tools badly."""
    out = folder / "base"
    if not (out / "config.json").is_file():
        run = given or folder / "base-run"
        if given is None:
            short = ("stages.sft.steps=400", "data.expert_share=0.5", "data.n_evaluation=60", "--stage", "sft")
            armlite(hub, folder / "home", "train", "recipes/pocket.yaml", *short, "--output", run, "--force")
        shutil.rmtree(out, ignore_errors=True)
        armlite(hub, folder / "home", "export", "weights", run / "checkpoints/sft", "--out", out)
    hub.add(f"models/{BASE}", out)


def train(hub: Hub, home: Path, out: Path) -> None:
    """The recipe, from the beginning."""
    shutil.rmtree(out, ignore_errors=True)
    say(armlite(hub, home, "train", "recipes/mini.yaml", "--dry-run"))
    say(armlite(hub, home, "train", "recipes/mini.yaml", "--output", out))


def train_killed(hub: Hub, home: Path, out: Path, kills: int, seconds: float, seed: int) -> list[float]:
    """The recipe, killed again and again; after how many seconds each time."""
    shutil.rmtree(out, ignore_errors=True)
    chance, killed = random.Random(seed), []
    words: Sequence[str] = ("train", "recipes/mini.yaml", "--output", str(out))
    while True:
        process = subprocess.Popen(
            [sys.executable, "-m", "armlite", *words], cwd=ROOT, env=variables(hub, home), start_new_session=True
        )
        try:
            if len(killed) == kills:
                process.wait()
                break
            wait = chance.uniform(0.05, 0.4) * seconds
            process.wait(timeout=wait)
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed.append(round(wait, 1))
            say(f"killed after {wait:.1f} s")
        if (out / "recipe.yaml").is_file():
            words = ("train", str(out), "--resume")
    if process.returncode:
        raise SystemExit(f"the run that was killed {len(killed)} times ended with {process.returncode}")
    return killed


def made(out: Path) -> dict[str, str]:
    """Digests of what a run has made, seconds aside: data, weights, verdicts."""
    files = [out / "data" / name for name in ("tasks.jsonl", "held_out.jsonl", "traces.jsonl")]
    files += sorted(file for file in (out / "checkpoints").glob("*/*.safetensors"))
    found = {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files}
    for file in sorted((out / "benchmarks").rglob("trajectories.jsonl")):
        rows = (json.loads(line) for line in file.open())
        said = sorted(json.dumps(_said(row.get("trajectory", row))) for row in rows)
        found[str(file.relative_to(out))] = hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
    return found


def _said(row: Any) -> list[Any]:
    return [row["task"]["id"], row["rollout"], row["decision"], [step["turn"]["text"] for step in row["steps"]]]


def counts(out: Path) -> dict[str, Any]:
    """What `build.json` counts, after a check that it adds up.

    Raises:
        SystemExit: it does not.
    """
    built = json.loads((out / "data/build.json").read_text())
    lines = {name: sum(1 for _ in (out / f"data/{name}.jsonl").open()) for name in ("tasks", "held_out", "traces")}
    totals = built["totals"]
    say(f"{totals}, lines {lines}")
    sums = [(step["in"], step["kept"] + sum(step["rejected"].values())) for step in built["table"]]
    sums += [(totals["tasks_of_rows"], totals["rejected_tasks"] + totals["held_out"] + totals["training_tasks"])]
    sums += [(totals["training_tasks"], lines["tasks"]), (totals["held_out"], lines["held_out"])]
    if wrong := [pair for pair in sums if pair[0] != pair[1]]:
        raise SystemExit(f"counts of {out / 'data/build.json'} do not add up: {wrong}")
    return {**totals, "traces": lines["traces"]}


def served(out: Path, folder: Path, given: Path | None, n: int) -> dict[str, Any]:
    """Verdicts of the exported judge through `transformers serve`, beside those of the run by the local engine."""
    steps = [["torch==2.14.1", "torchvision==0.29.1"], ["transformers[serving]==5.24.0", "pillow", "accelerate"]]
    python = make_environment(given, ROOT / ".real/transformers_serve", steps)
    merged = (folder / "judge").resolve()
    command = [python.with_name("transformers"), "serve", merged, "--port", str(PORT), "--device", "cpu"]
    local = evaluate(folder / "local", n, "--model", out)
    with serving(command, PORT, folder / "server.log") as tap:
        there = evaluate(folder / "served", n, "--model", f"openai:{merged}@{tap.url}", "--rules", merged)
    equal = sum(there[key]["decision"] == row["decision"] for key, row in local.items())
    return {"judgments": len(local), "equal": equal}


def main() -> None:
    """Go the way, print, and see that it is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".real/mini", help="everything goes here")
    parser.add_argument("--base", type=Path, help="a pocket run whose checkpoints/sft is the base; else one is trained")
    parser.add_argument("--kills", type=int, default=0, help="kill a second run so many times")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which it is killed")
    parser.add_argument("--environment", type=Path, help="one that has transformers serve; else it is made")
    parser.add_argument("--n", type=int, default=20, help="pocket tasks to be judged by the served judge")
    parser.add_argument("--write", action="store_true", help="keep the figures in tests/real/committed")
    options = parser.parse_args()
    folder = options.folder.resolve()
    clock, out, home = Clock(), folder / "run", folder / "home"
    about: dict[str, Any] = {"date": today(), "cores": os.cpu_count()}
    shutil.rmtree(home, ignore_errors=True)
    with serve_hub() as hub:
        add_all(hub, write_all(folder / "sets").items())
        clock.stop("sets")
        make_base(folder, options.base, hub)
        clock.stop("base")
        train(hub, home, out)
        clock.stop("train")
        about["counts"] = counts(out)
        shutil.rmtree(folder / "judge", ignore_errors=True)
        say(armlite(hub, home, "export", "weights", out, "--out", folder / "judge", "--push", JUDGE))
        clock.stop("export and push")
        task = json.loads((out / "data/held_out.jsonl").open().readline())
        words = ("--question", task["question"], *(w for r in task["responses"] for w in ("--response", r)))
        images = [w for image in task["images"] for w in ("--image", out / "data" / image)]
        shutil.rmtree(home)  # so that the judge comes from the hub
        say(armlite(hub, home, "judge", "--model", JUDGE, *words, *images))
        clock.stop("judged from the hub")
        about["served"] = served(out, folder, options.environment, options.n)
        clock.stop("served")
        about["seconds"] = dict(clock.seconds)
        if options.kills:
            hub.fail(0.1, seed=options.seed)
            about["killed"] = train_killed(
                hub, home, folder / "killed", options.kills, clock.seconds["train"], options.seed
            )
            about["hub_failed"] = len(hub.failed)
            one, other = made(out), made(folder / "killed")
            about["different"] = sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))
            clock.stop("killed")
    say(json.dumps(about, indent=1))
    if options.write:
        keep("mini.json", about)
    if about["served"]["equal"] < about["served"]["judgments"] or about.get("different"):
        raise SystemExit("not as it should be: served verdicts, or what a killed run makes, are others")


if __name__ == "__main__":
    main()
