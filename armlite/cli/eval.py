"""`armlite eval`: judge tasks with gold answers and report figures with intervals."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[str, typer.Option(help="run directory, checkpoint, hub id, or openai:MODEL@URL")],
    tasks: Annotated[str, typer.Option(help="pocket, or a JSONL file of tasks")] = "pocket",
    n: Annotated[int | None, typer.Option(min=1, help="number of tasks; pocket: 300 if not given")] = None,
    seed: Annotated[int, typer.Option(help="of the pocket tasks, the presented orders and the sampling")] = 0,
    no_tools: Annotated[bool, typer.Option("--no-tools", help="show the model no tools")] = False,
    temperature: Annotated[float, typer.Option(min=0, help="0: greedy")] = 0.0,
    swap: Annotated[bool, typer.Option(help="judge pairs in both orders, for the swap consistency")] = True,
    batch: Annotated[int, typer.Option(min=1, help="episodes in flight")] = 64,
    out: Annotated[Path | None, typer.Option(help="folder for trajectories.jsonl, images/ and summary.json")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Evaluate a judge on tasks with gold answers.

    Example: armlite eval --model runs/pocket --tasks pocket --n 300 --no-tools
    """
    from armlite.cli.screen import Counter, print_summary
    from armlite.errors import ArmliteError
    from armlite.evals.run import evaluate_tasks

    if out is not None and (out / "summary.json").exists():
        raise ArmliteError(f"{out} holds an evaluation already; give another --out")
    with Counter("judging") as counter:
        summary = evaluate_tasks(
            model,
            tasks,
            n=n,
            seed=seed,
            with_tools=not no_tools,
            temperature=temperature,
            swap=swap,
            batch=batch,
            out=out,
            on_batch=counter.show,
        )
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        print_summary(summary)
