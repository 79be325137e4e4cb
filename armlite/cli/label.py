"""`armlite label`: labels that a person gives, blind and by single keys."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from armlite.errors import ArmliteError


def label(
    file: Annotated[Path, typer.Argument(help="Rows as `armlite judge FILE` reads them.")],
    out: Annotated[Path, typer.Option(help="CSV or JSONL of the labels, appended to: id, label, rater, time ...")],
    rater: Annotated[str | None, typer.Option(help="Who labels.", show_default="the user's name")] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", metavar="ROLE=COLUMN,...", help="What the columns are.")
    ] = None,
    rate: Annotated[bool, typer.Option("--rate", help="Rate single responses from 1 to 10.")] = False,
    n: Annotated[int | None, typer.Option(min=1, help="The first so many rows.", show_default="all")] = None,
    seed: Annotated[int, typer.Option(help="Of the order in which responses are shown.")] = 0,
) -> None:
    """Label rows by hand, to compare a judge with: no known answers, no verdicts, responses in a shuffled order.

    Keys: 1, 2 ... for the better response, t tie; y, n for one response; 1 to 9 and 0 for 10 with --rate; s skip, b
    back, q quit, ? help. Every label is kept at once, and the same command goes on. Images: ARMLITE_IMAGES, as in view.

    Example: armlite label pairs.csv --out labels.csv --rater ann
    """
    import getpass
    from tempfile import TemporaryDirectory

    from armlite.batch.run import tasks_of
    from armlite.batch.source import open_source
    from armlite.label import KINDS, Labels, Session
    from armlite.view.keys import pressed, single_keys
    from armlite.view.terminal import open_console

    if not sys.stdin or not sys.stdin.isatty() or not sys.stdout.isatty():
        raise ArmliteError("labels are given by keys in a terminal, and this is none: run it without pipes")
    with TemporaryDirectory() as folder:
        source = open_source(file, Path(folder))
        given = list(tasks_of(source, Path(folder), {"columns": columns or (), "rate": rate, "n": n}))
        tasks = [task for task in given if task.kind in KINDS]
        if not tasks:
            raise ArmliteError(f"{file} has no row with a response to label")
        labels = Labels(out, rater or getpass.getuser())
        with single_keys(sys.stdin):
            tally = Session(open_console(), pressed(sys.stdin), labels, Path(folder), seed).run(tasks)
    typer.echo(f"\n{tally.labelled:,} labelled, {tally.skipped:,} skipped, {tally.left:,} left: {out}")
    if tally.unshown:
        typer.echo(f"{len(tally.unshown):,} rows cannot be shown: {tally.unshown[0]}", err=True)
    if not tally.left:
        typer.echo(f"compare a judge with them: armlite agree RUN --labels {out}")
