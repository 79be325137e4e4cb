"""`armlite bench`: measure steps, and compare with TRL's own loop."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from armlite.cli.options import ImportOption


def bench(
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value of the recipe, as model.path=FOLDER")] = None,
    recipe: Annotated[Path | None, typer.Option(help="whose model and settings to measure; else a small model")] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="make the recipe's model from its configuration alone")
    ] = False,
    cap: Annotated[float | None, typer.Option(help="GiB of the card that may be used")] = None,
    against: Annotated[str | None, typer.Option(help="trl: TRL's own loop beside ours, in turns")] = None,
    size: Annotated[str, typer.Option(help="without a recipe: pocket (1 M parameters) or middle (27 M)")] = "pocket",
    work: Annotated[str, typer.Option(help="default, or W1,W2,...; scaled down for a small model")] = "default",
    repetitions: Annotated[int, typer.Option(min=1, help="of which the median is reported")] = 3,
    operators: Annotated[
        bool, typer.Option("--operators", help="count what a decode step asks of a card, of PEFT's modules and of ours")
    ] = False,
    sharing: Annotated[
        Path | None,
        typer.Option(help="a run's (or checkpoint's) folder: what its rollouts have in common, in --repetitions steps"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file, written anew after each workload")] = None,
    imports: ImportOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
) -> None:
    """Measure what a step takes: a scripted policy, real tools, a real optimizer step.

    Example: armlite bench --size middle --against trl --out middle.json
    """
    from armlite.bench.report import Wanted, count, measure, summary

    def show(row: dict) -> None:
        typer.echo(summary(row), err=as_json)

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    if sharing is not None:
        from armlite.bench.sharing import measure_sharing, sharing_lines

        figures = measure_sharing(sharing, repetitions)
        typer.echo(json.dumps(figures) if as_json else "\n".join(sharing_lines(figures)))
        return
    if operators:
        rows = count(recipe, overrides or [], show_lines=None if as_json else typer.echo)
        if as_json:
            sys.stdout.write(json.dumps(rows) + "\n")
        return
    words = (recipe, overrides or [], random_weights, cap, against, size, work, repetitions, out)
    report = measure(Wanted(*words), on_row=show, notify=tell)
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
