"""`armlite audit`: how far a judge follows place, length, markup, authorship and orders in what it judges."""

import json as json_
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from armlite.cli.model import Asked, with_model
from armlite.cli.screen import figures_table
from armlite.errors import ArmliteError

SHOWN = 10
"""Attacks that are named, at most, of those that were followed."""


@with_model
def audit(
    asked: Asked,
    tasks: Annotated[
        str | None,
        typer.Option(help="Rows as `armlite judge FILE` reads them.", show_default="60 pocket tasks, made in place"),
    ] = None,
    n: Annotated[int | None, typer.Option(min=1, help="The first so many tasks.", show_default="all")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of it all.", show_default="runs/audit/MODEL")] = None,
    bound: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHARE|BIAS=SHARE", help="Largest difference let pass; may be repeated.", show_default="0.1"
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Audit a judge: position, length, markup, self-reference, and texts that order a verdict, each beside a twin.

    Exit status 1 where a bias is beyond its bound, so that it can stand in a CI; a killed audit goes on when the same
    command is given again. See `armlite docs trust`.

    Examples:
      armlite audit --model runs/pocket
      armlite audit --model openai:judge-7b@http://localhost:8000/v1 --tasks pairs.csv --bound 0.1 --bound length=0.2
    """
    from armlite.audit.run import audit as run_audit
    from armlite.cli.screen import Counter
    from armlite.evals.run import default_folder

    folder = out or Path("runs/audit") / default_folder(asked.model, True).name
    how: dict[str, Any] = {
        "tasks": tasks,
        "n": n,
        "bounds": bound or (),
        "workers": asked.workers,
        "options": asked.options,
    }
    with Counter("audit", kept=True) as counter:
        summary = run_audit(asked.model, folder, on_progress=counter.show, **how)
    if json:
        typer.echo(json_.dumps(summary))
    else:
        _draw(summary, folder)
    if not any(row["n"] for row in summary["biases"].values()):
        raise ArmliteError(
            f"nothing could be compared: of {summary['judgments']:,} judgments none and its twin have a verdict; "
            "is it a judge of such tasks?"
        )
    if summary["beyond"]:
        raise typer.Exit(1)


def _draw(summary: dict[str, Any], folder: Path) -> None:
    console, injection = Console(), summary["injection"]
    table = figures_table(f"{folder} (in %)", "bias", "n", "followed", "twin", "difference", "bound", "silent")
    for bias, row in summary["biases"].items():
        rates = [_percent(row[name]) for name in ("rate", "twin_rate", "difference")]
        style = "bold red" if row["beyond"] else None
        table.add_row(bias, f"{row['n']:,}", *rates, f"{100 * row['bound']:g}", f"{row['not_judged']:,}", style=style)
    console.print(table)
    if injection["texts"]:
        console.print(_places(injection))
        followed = [text["id"] for text in injection["each"] if text["followed"]]
        named = ", ".join(followed[:SHOWN]) + (", ..." if len(followed) > SHOWN else "")
        print(f"followed: {len(followed):,} of {injection['texts']:,} texts{': ' * bool(followed)}{named}")
    print("n: what could be moved; silent: no verdict, where the untouched task has one")
    if summary["few"]:
        print(f"too few to find a bias by: {', '.join(summary['few'])}")
    said = ", ".join(summary["beyond"]) or "none"
    print(f"beyond its bound: {said}; look at the judgments with: armlite view {folder}")


def _places(injection: dict[str, Any]) -> Table:
    table = figures_table("injected texts (in %)", "", "texts", "seen", "n", "followed", "twin")
    groups = [("all", injection["all"]), ("those seen whole", injection["seen_whole"])]
    for group in ("carrier", "family", "disguise"):
        groups += [(f"{group} {name}", row) for name, row in injection["by"][group].items()]
    for name, row in groups:
        seen = "" if row["seen"] is None else f"{100 * row['seen']:.0f}"
        n = f"{row['rate']['n']:,}" if row["rate"] else "0"
        table.add_row(name, f"{row['texts']:,}", seen, n, _percent(row["rate"]), _percent(row["twin_rate"]))
    return table


def _percent(share: dict[str, Any] | None) -> str:
    if share is None:
        return ""
    low, high = share["ci95"]
    return f"{100 * share['value']:.1f} ({100 * low:.0f} to {100 * high:.0f})"
