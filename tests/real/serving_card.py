"""What serving a model of a true size costs on a card: random weights that say what a script has them say.

    python tests/real/serving_card.py --recipe recipes/qwen2.5-vl-7b-24gb.yaml [model.path=FOLDER ...] [--write]

Without a recipe: the pocket model. Repetitions of both in one process: all judgments as one batch, and asked over
HTTP by 32 clients in a process of their own. Each judgment has an image of 768 tokens in a prompt of 1,218, one crop of
as many, and two turns of 100 tokens; images have been encoded by the repetition that warms up. Each served verdict must
be that of the batch.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kit import keep, today
from serving_speed import CLIENTS, at_once, differences

REPETITIONS = 3


def clients(url: str, bodies: Path, answers: Path) -> None:
    """Ask for all bodies, in this process; keeps seconds and answers."""
    seconds, found = asyncio.run(at_once(url, json.loads(bodies.read_text())))
    answers.write_text(json.dumps({"seconds": seconds, "answers": [answer.decode() for answer in found]}))


def main() -> None:
    """Measure, print, and see that it is as it should be."""
    if sys.argv[1:2] == ["clients"]:
        clients(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, help="of the model")
    parser.add_argument("--n", type=int, default=32, help="tasks")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--write", action="store_true", help="keep the figures in tests/real/committed")
    options, overrides = parser.parse_known_args()
    with TemporaryDirectory(prefix="armlite-serving-") as folder:
        report = measured(options, overrides, Path(folder))
    if options.write:
        keep("serving_card.json", report)
    if report["median"]["share"] < 0.9 or any(row["different"] for row in report["repetitions"]):
        raise SystemExit("not as it should be: at least 0.9 of a batch, no verdict different")


def scripted(options: argparse.Namespace, overrides: list[str], folder: Path) -> tuple[str, Any, list[Any], Path]:
    """What the model is, a judge that it is, and the tasks that it is asked, whose pictures are below the last."""
    from armlite.bench.models import of_recipe, small
    from armlite.bench.script import write_play
    from armlite.bench.workloads import TABLE
    from armlite.judge import TOP_LOGPROBS, Judge
    from armlite.models.engine.vision import VisionCache
    from armlite.models.engine.vocabulary import Vocabulary
    from armlite.models.local import EngineSettings, LocalModel, Sampling
    from armlite.recipe import load_recipe

    work, engine = replace(TABLE["W2"], id="served", prompts=options.n, group=1), EngineSettings()
    if options.recipe is None:
        model, work = small("pocket"), work.scaled()
    else:
        recipe = load_recipe(options.recipe, overrides)
        model, engine = of_recipe(recipe, random_weights=True), recipe.engine
    words = Vocabulary(model.processor.tokenizer, model.model.config.get_text_config().vocab_size)
    play = write_play(work, VisionCache(model.model, model.processor), words, folder / "tasks", model.cell, 0)
    engine = engine.model_copy(update={"max_slots": CLIENTS})
    sampling = Sampling(max_new_tokens=play.longest_turn + 1, max_context=4096, top_logprobs=TOP_LOGPROBS)
    local = LocalModel(model.model, model.processor, sampling, engine, script=play.script, name="random")
    tasks = [task.model_copy(update={"gold": None}) for task in play.tasks]
    return model.name, Judge(local, play.settings), tasks, play.root


def measured(options: argparse.Namespace, overrides: list[str], folder: Path) -> dict[str, Any]:
    """Serve from this thread, and measure from another one, which then stops the server."""
    from armlite.serve.run import serve
    from armlite.serve.settings import ServeSettings
    from armlite.train.provenance import environment

    name, judge, tasks, root = scripted(options, overrides, folder)
    bodies = folder / "bodies.json"
    bodies.write_text(json.dumps([json.loads(task.to_json()) for task in tasks]))
    rows: list[dict[str, float]] = []
    faults: list[BaseException] = []

    def served(url: str, number: int) -> tuple[float, list[bytes]]:
        answers = folder / f"answers-{number}.json"
        subprocess.run([sys.executable, __file__, "clients", url, bodies, answers], check=True)
        found = json.loads(answers.read_text())
        return found["seconds"], [answer.encode() for answer in found["answers"]]

    def measure(url: str) -> None:
        try:
            for number in range(options.repetitions + 1):  # the first one warms up
                start = time.perf_counter()
                verdicts = judge.judge_many(tasks, root=root)
                batch = time.perf_counter() - start
                seconds, answers = served(url, number)
                row = {"batch": len(tasks) / batch, "served": len(tasks) / seconds, "share": batch / seconds}
                row |= {"different": differences(verdicts, answers)}
                rows.append({name: round(value, 4) for name, value in row.items()})
                print(f"{number}: {rows[-1]}", flush=True)
                if any(verdict.status != "judged" for verdict in verdicts):
                    raise SystemExit("a scripted judgment did not end in a verdict")
        except BaseException as error:
            faults.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def listening(line: str) -> None:
        print(line, flush=True)
        if line.startswith("listening on "):
            threading.Thread(target=measure, args=(line.split()[-1],)).start()

    with (folder / "access.log").open("w") as log, redirect_stderr(log):  # a line a request
        serve(judge, ServeSettings(files=root), "127.0.0.1", 0, listening)
    if faults:
        print((folder / "access.log").read_text()[-2000:])
        raise faults[0]
    rows = rows[1:]
    middle = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    about = environment()
    device = about["gpu"] or f"{os.cpu_count()} cores"
    batch, asked = (middle[name] for name in ("batch", "served"))
    print(f"median: {middle['share']:.3f} of a batch, {asked:.2f} judgments a second of {batch:.2f}")
    what = {"model": name, "device": device, "date": today(), "versions": about["versions"]}
    return {**what, "tasks": len(tasks), "clients": CLIENTS, "median": middle, "repetitions": rows}


if __name__ == "__main__":
    main()
