"""Judgments that end in every way, on disk with their pictures, to be exported as traces."""

import json
from pathlib import Path

from PIL import Image

from armlite import store
from armlite.episode import EpisodeSettings
from armlite.loop import Reply
from armlite.models.scripted import ScriptedModel
from armlite.runner import Job, run_jobs
from armlite.store import Saved
from armlite.types import Task
from armlite.view.demo import demo

ANSWER = "<think>It is plain.</think>\n<answer>Overall Judgment: %s</answer>"
ZOOM = {"name": "image_zoom_in_tool", "arguments": {"image": "original_image", "bbox_2d": [0, 0, 500, 500]}}


def call(name: str, arguments: dict[str, object]) -> str:
    return f"<think>I look.</think>\n<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


SCRIPTS: dict[str, list[str | Reply]] = {
    "looked": [call(**ZOOM), Reply(ANSWER % "Answer 1 is better.", tokens=12, prompt_tokens=340)],  # type: ignore[arg-type]
    "wrong": [ANSWER % "Answer 2 is better."],
    "tool-error": [
        call("image_zoom_in_tool", {"image": "nowhere", "bbox_2d": [0, 0, 9, 9]}),
        ANSWER % "Answer 1 is better.",
    ],
    "unknown-tool": [call("telescope", {}), ANSWER % "Answer 1 is better."],
    "bad-call": ["<think>x</think><tool_call>{</tool_call>", ANSWER % "Answer 1 is better."],
    "no-answer": ["I would rather not say."],
    "cut": [Reply("<think>Well, ", "length", tokens=64)],
    "away": [Reply("the server does not answer", "error")],
    "rating": [ANSWER % "7"],
    "check": [ANSWER % "True"],
}
"""Task id -> the judge's turns."""


def make(folder: Path) -> Path:
    """Play them all; returns the file of trajectories, in the order of `SCRIPTS`, the demo's last."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.radial_gradient("L").convert("RGB").resize((80, 60)).save(folder / "photo.png")
    tasks = []
    for name in SCRIPTS:
        kind = {"rating": "rating", "check": "pointwise"}.get(name, "pairwise")
        responses = ("one", "two <b>") if kind == "pairwise" else ("one",)
        gold = None if name in ("rating", "unknown-tool") else True if kind == "pointwise" else 1
        tasks.append(
            Task(id=name, kind=kind, question="Wélche?", images=("photo.png",), responses=responses, gold=gold)  # type: ignore[arg-type]
        )
    lost = Task(id="lost", kind="pairwise", question="Which?", images=("gone.png",), responses=("a", "b"), gold=1)
    model = ScriptedModel(lambda c: SCRIPTS[c.task_id][min(c.turns, len(SCRIPTS[c.task_id]) - 1)], "m")
    played = list(run_jobs([Job(task, EpisodeSettings(), folder) for task in (*tasks, lost)], model))
    row, images = demo()
    rows = [Saved(trajectory=o.trajectory, seconds=1.5) for o in sorted(played, key=lambda o: o.task.id)]
    pixels = {name: image for outcome in played for name, image in outcome.images.items()}
    store.save(folder / "trajectories.jsonl", [*rows, row], {**pixels, **images})
    return folder / "trajectories.jsonl"
