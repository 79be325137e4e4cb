"""Rows for the viewer's tests, one of them hostile in every word, and a console to draw them on."""

import io
import re

from rich.console import Console

from armlite import store
from armlite.errors import ArmliteError
from armlite.store import Saved
from armlite.types import Call, Observation, Score, Step, StopReason, Task, Trajectory, Turn
from armlite.view.demo import demo
from armlite.view.entries import entries
from armlite.view.selection import Chosen

HOSTILE = (
    "\x1b[2J\" onclick=1 <script>alert(1)</script></script><img src=x onerror=alert(2)> ' & [red]mark[/red] "
    "[link=file:///]up[/] :smile: \x1b]0;title\x07 \x9b2J \x7f \u202etxt.exe \ud800 two\r\nlines"
)


def new_console():
    file = io.StringIO()
    return Console(file=file, width=100, height=60, force_terminal=True, color_system="truecolor", highlight=False)


def output_of(console):
    return console.file.getvalue()


def plain_words(ansi):
    """Terminal output without colours and trailing blanks; fails on any other escape sequence."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", ansi)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", plain)
    return "\n".join(line.rstrip() for line in plain.split("\n"))


def hostile_row():
    """A task whose every text is an attack, answered wrongly after three bad turns."""
    turns = [
        Turn(text=HOSTILE, call=Call(name=HOSTILE, arguments={HOSTILE: [HOSTILE, 1]}), tokens=1),
        Turn(text="", fault="empty"),
        Turn(text=f"<think>x</think><answer>{HOSTILE}</answer>", think="x", answer=HOSTILE, well_formed=True),
    ]
    seen = [Observation(ok=False, text=HOSTILE, tool=HOSTILE), Observation(ok=False, text="Your turn was empty."), None]
    task = Task(
        id=HOSTILE,
        kind="listwise",
        question=HOSTILE,
        responses=(HOSTILE, "b", "c"),
        constraints=(HOSTILE,),
        document=HOSTILE,
        gold=(1, 3),
        source=HOSTILE,
    )
    trajectory = Trajectory(
        task=task,
        prompt=HOSTILE,
        steps=tuple(Step(turn=t, observation=o) for t, o in zip(turns, seen, strict=True)),
        stop=StopReason.ANSWERED,
        decision=2,
        model=HOSTILE,
        rollout=3,
    )
    return Saved(trajectory=trajectory, score=Score(parts={HOSTILE: -0.5, "format": 0.25}))


def no_pixels(info):
    raise ArmliteError(f"image {info.id} is missing")


def demo_rows(count):
    row, images = demo()
    rows = []
    for i in range(1, count + 1):
        task = row.trajectory.task.model_copy(update={"id": f"task-{i}"})
        rows.append(Saved(trajectory=row.trajectory.model_copy(update={"task": task}), score=row.score))
    return rows, images


def chosen_rows(rows, images):
    found = entries(rows)
    return Chosen(found, found, [], lambda _, info: images[info.file], "")


def small_run(folder):
    """A run directory: evaluations of two stages, a round at temperature, and a group of four rollouts of step 2."""
    row, images = demo()
    answers = {"answer": 0.7, "format": 0.3}

    def made(number=0, **scored):
        trajectory = row.trajectory.model_copy(update={"rollout": number, **scored})
        return Saved(
            trajectory=trajectory, score=Score(parts=answers if scored.get("decision", 2) == 2 else {"format": 0.3})
        )

    files = {
        "eval/sft/greedy.jsonl": [made(decision=1)],
        "eval/grpo1/greedy.jsonl": [made(probabilities={"1": 0.25, "2": 0.75})],
        "eval/grpo1/rollout.jsonl": [made(decision=None, stop=StopReason.TURN_BUDGET)],
        "rollouts/grpo1/step_000002.jsonl": [made(0), made(1, decision=1), made(2), made(3)],
    }
    for name, rows in files.items():
        store.save(folder / name, rows, images)
    (folder / "metrics.jsonl").write_text('{"stage": "sft", "step": 1}\n', "utf-8")
    return folder
