"""What keeping an evaluation costs, against the scripted server: `python tests/real/writing.py --write`; minutes.

Tasks with a photo each, judged in both orders: at a glance, and with a zoom whose crop is sent and kept. Once outcomes
are only counted, once everything is written down as `armlite eval` does.
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from serving import arguments, keep, say

sys.path.insert(0, str(Path(__file__).parents[1]))

from endpoint import Server

from armlite.episode import EpisodeSettings
from armlite.evals.folder import EvalSettings
from armlite.evals.run import jobs_of, judge_jobs
from armlite.journal import Journal
from armlite.models.openai import OpenAIModel
from armlite.runner import Job, run_jobs
from armlite.types import Task

ANSWER = "<think>I know.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>"
ZOOM = (
    '<think>I look.</think>\n<tool_call>\n{"name": "image_zoom_in_tool", "arguments": '
    '{"image": "original_image", "bbox_2d": [100, 100, 600, 600]}}\n</tool_call>'
)
SIZE = (640, 480)


def tasks(folder: Path, count: int) -> list[Task]:
    """Tasks with a JPEG each, of about 80 KB."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for number in range(count):
        if not (folder / f"{number}.jpg").exists():
            bands = [Image.effect_noise((160, 120), rng.randint(40, 90)).resize(SIZE) for _ in range(3)]
            Image.merge("RGB", bands).save(folder / f"{number}.jpg", quality=85)
    pair = {"kind": "pairwise", "question": "Which is right?", "responses": ("a cat", "a dog"), "gold": 1}
    return [Task(id=str(number), images=(f"{number}.jpg",), **pair) for number in range(count)]


def seconds(jobs: list[Job], server: Server, turns: list[str], written: bool) -> float:
    server.script(turns=turns)
    model = OpenAIModel("judge-7b", server.url, probe=False)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        if written:
            journal = Journal(Path(folder) / "run" / "trajectories.jsonl", {"of": "writing.py"})
            judge_jobs(jobs, model, journal, alone=True)
            done = len(journal.done)
        else:
            done = sum(outcome.fault is None for outcome in run_jobs(jobs, model))
        took = time.monotonic() - start
    if done != len(jobs):
        raise SystemExit(f"{len(jobs) - done} of {len(jobs)} judgments failed")
    return round(took, 1)


def main() -> None:
    options = arguments("writing")
    count = 2000 if options.tasks == 150 else options.tasks
    folder = options.folder / "photos"
    order = EvalSettings(benchmark="writing", model="scripted", order="seeded_both")
    jobs = jobs_of(tasks(folder, count), EpisodeSettings(), folder, order)
    server = Server()
    rows = {}
    for name, turns in (("at a glance", [ANSWER]), ("with a zoom", [ZOOM, ANSWER])):
        bare, kept = (seconds(jobs, server, turns, written) for written in (False, True))
        rows[name] = {"judgments": len(jobs), "seconds": bare, "seconds_written": kept, "ratio": round(kept / bare, 2)}
        say(f"{name}: {json.dumps(rows[name])}")
    server.close()
    row = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), **rows}
    if options.write:
        keep("writing.json", row, options.folder)


if __name__ == "__main__":
    main()
