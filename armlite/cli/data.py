"""`armlite data`: make and look at tasks."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _data() -> None:
    """Make tasks to judge."""


@app.command()
def pocket(
    out: Annotated[Path, typer.Option(help="folder for tasks.jsonl, images/ and documents/")],
    split: Annotated[str, typer.Option(help="train, validation or test: disjoint streams of tasks")] = "train",
    n: Annotated[int, typer.Option(min=1, help="number of tasks")] = 300,
    seed: Annotated[int, typer.Option(help="another seed, other tasks")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print what was made as JSON")] = False,
) -> None:
    """Make tasks of the pocket world.

    Example: armlite data pocket --split test --n 300 --out pocket-test
    """
    from armlite.data.tasks import write_tasks
    from armlite.errors import ArmliteError, nearest
    from armlite.pocket.world import SPLITS, generate

    if split not in SPLITS:
        raise ArmliteError(f"there is no split {split!r}.{nearest(split, SPLITS)} Splits: {', '.join(SPLITS)}")
    file = out / "tasks.jsonl"
    if file.exists():
        raise ArmliteError(f"{file} exists; give another --out")
    made = write_tasks(file, generate(split, n, seed, out))
    result = {"tasks": made, "file": str(file), "split": split, "seed": seed}
    sys.stdout.write(json.dumps(result) + "\n" if as_json else f"{made} tasks in {file}\n")
