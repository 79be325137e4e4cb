"""`armlite bench`: measure steps, and compare with TRL's own loop."""

import json
import sys
from dataclasses import replace
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
    size: Annotated[
        str | None,
        typer.Option(
            help="without a recipe: pocket (1 M parameters) or middle (27 M); miniature: 2 layers of a recipe's",
            show_default="pocket",
        ),
    ] = None,
    work: Annotated[str, typer.Option(help="default, or W1,W2,...; scaled down for a small model")] = "default",
    repetitions: Annotated[int, typer.Option(min=1, help="of which the median is reported")] = 3,
    operators: Annotated[
        bool, typer.Option("--operators", help="count what a decode step asks of a card, of PEFT's modules and of ours")
    ] = False,
    sharing: Annotated[
        Path | None,
        typer.Option(help="a run's (or checkpoint's) folder: what its rollouts have in common, in --repetitions steps"),
    ] = None,
    card: Annotated[
        bool,
        typer.Option("--card", help="W1 to W9 in order of worth, as time allows; goes on from --out"),
    ] = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="of one call of --card")] = 9,
    parts: Annotated[
        bool, typer.Option("--parts", help="memory part by part, beside what `armlite plan` predicts")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="JSON file, written anew after each workload; of --card the folder")
    ] = None,
    imports: ImportOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
) -> None:
    """Measure what a step takes: a scripted policy, real tools, a real optimizer step.

    Example: armlite bench --card --minutes 9 --out card
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
    words = (recipe, overrides or [], random_weights, cap, against, size or "", work, repetitions, out, parts)
    if card:
        from armlite.bench.card import measure_card

        report = measure_card(Wanted(*words), minutes, notify=tell)
        typer.echo("\n".join(report["summary"]), err=as_json)
    else:
        report = measure(replace(Wanted(*words), size=size or "pocket"), on_row=show, notify=tell)
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
