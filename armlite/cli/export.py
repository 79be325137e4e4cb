"""`armlite export`: a judge as a plain model folder, to be served."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="run directory, checkpoint, adapter or model folder, or hub id")],
    out: Annotated[Path, typer.Option(help="folder to make")],
) -> None:
    """Write a judge as a plain model folder that other programs serve: adapters merged, our chat template, its rules.

    Example: armlite export runs/pocket --out judge
    """
    from armlite.train.export import export_model

    ruled = export_model(model, out)
    typer.echo(f"{out}: serve it, and judge with --model openai:NAME@URL{f' --rules {out}' if ruled else ''}")
