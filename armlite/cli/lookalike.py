"""`armlite data lookalike`: ARMBench-VL-style tracks out of converted tasks."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def lookalike(
    track: Annotated[str, typer.Argument(help="perception, documents or instructions")],
    tasks: Annotated[Path, typer.Option(help="tasks of V* or HR-Bench, MMLongBench-Doc, or MM-IFEval")],
    out: Annotated[Path, typer.Option(help="task file to write")],
    responses: Annotated[Path | None, typer.Option(help="instructions: JSONL of id and response")] = None,
    seed: Annotated[int, typer.Option(help="of wrong answers and places")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print what was made as JSON")] = False,
) -> None:
    """Build a track in the style of ARMBench-VL, which is not this benchmark.

    Example: armlite data lookalike perception --tasks vstar/tasks.jsonl --out style/perception.jsonl
    """
    from armlite.data.tasks import moved, read_tasks, write_tasks
    from armlite.errors import ArmliteError, nearest
    from armlite.evals import lookalike as build

    if track not in build.TRACKS:
        hint = nearest(track, build.TRACKS)
        raise ArmliteError(f"there is no track {track!r}.{hint} Tracks: {', '.join(build.TRACKS)}")
    if (track == "instructions") != (responses is not None):
        raise ArmliteError("--responses goes with the track instructions, and only with it")
    if out.exists():
        raise ArmliteError(f"{out} exists; give another --out")
    given = read_tasks(tasks)
    if responses is not None:
        made = build.instructions(given, build.read_responses(responses))
    elif track == "documents":
        made = build.documents(given, seed)
    else:
        made = build.perception(given, seed)
    if not made.tasks:
        why = "; ".join(f"{reason} ({n})" for reason, n in made.left_out.items())
        raise ArmliteError(f"nothing in {tasks} fits the track {track}: {why}")
    write_tasks(out, [moved(task, tasks.parent, out.parent) for task in made.tasks])
    shapes, left_out = build.summary(made.tasks), dict(made.left_out)
    if as_json:
        done = {"file": str(out), "track": track, "seed": seed, "tasks": len(made.tasks)}
        sys.stdout.write(json.dumps(done | {"shapes": shapes, "left_out": left_out}) + "\n")
        return
    words = ", ".join(f"{n} {name}" for name, n in shapes.items())
    sys.stdout.write(f"{len(made.tasks)} ARMBench-VL-style tasks in {out}: {words}\n")
    sys.stdout.writelines(f"left out: {n}: {reason}\n" for reason, n in left_out.items())
