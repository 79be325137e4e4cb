"""`armlite agree`: how far verdicts agree with labels that people gave."""

import json as json_
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from armlite.cli.screen import figures_table
from armlite.errors import ArmliteError
from armlite.view.text import count as counted

WORDS = {"choice": "which response is better", "correct": "correct or not", "rating": "ratings"}


def agree(
    verdicts: Annotated[Path, typer.Argument(help="Folder that `armlite judge FILE --out` wrote.")],
    labels: Annotated[Path, typer.Option(help="CSV, TSV, JSON, JSONL or parquet: id, label and perhaps rater.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the disagreements, ready for `armlite view`.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare verdicts with labels: agreement, Cohen's kappa beside the base rate, the confusion table.

    Of several raters the majority counts, and Krippendorff's alpha says how far they agree among themselves.

    Example: armlite agree runs/pairs --labels labels.csv --out runs/pairs-wrong
    """
    from armlite.batch.agree import compare
    from armlite.batch.disagreements import keep, warn_of_age

    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArmliteError(f"--out {out} is not empty; give a folder for the disagreements that is")
    found = compare(verdicts, labels)
    typer.echo(warn_of_age(verdicts, labels), err=True)
    figures = {kind: agreement.figures() for kind, agreement in found.items()}
    if json:
        typer.echo(json_.dumps(figures))
    else:
        for kind, own in figures.items():
            _draw(kind, own)
    if out is not None:
        wrong = {name for own in found.values() for name, label, verdict in own.judged if label != verdict}
        count = keep(verdicts, wrong, out)
        typer.echo(f"{counted(count, 'judgment')} that disagree; look with: armlite view {out}", err=True)


def _draw(kind: str, figures: dict[str, Any]) -> None:
    table = Table(title=WORDS[kind], title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("labelled", f"{figures['n']:,}")
    table.add_row("not judged", f"{figures['not_judged']:,}")
    if figures["even"]:
        table.add_row("left out: people divided evenly", f"{figures['even']:,}")
    if (same := figures["agreement"]) is not None:
        low, high = same["ci95"]
        table.add_row("agree", f"{100 * same['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
        table.add_row("the commonest label", f"{100 * figures['base_rate']:.1f} %")
    if (kappa := figures.get("kappa", {})).get("value") is not None:
        around = f" ({kappa['ci95'][0]:.2f} to {kappa['ci95'][1]:.2f})" if kappa["ci95"] else ""
        table.add_row("Cohen's kappa", f"{kappa['value']:.2f}{around}")
    for name, words in (("mean_difference", "higher than labelled by"), ("mean_absolute_difference", "off by")):
        if figures.get(name) is not None:
            table.add_row(words, f"{figures[name]:.2f}")
    if figures.get("alpha") is not None:
        table.add_row(f"Krippendorff's alpha of {figures['raters']} raters", f"{figures['alpha']:.2f}")
    console = Console()
    console.print(table)
    if confusion := figures.get("confusion"):
        said = sorted({verdict for row in confusion.values() for verdict in row})
        console.print(_confusion(confusion, said))


def _confusion(table: dict[str, dict[str, int]], said: list[str]) -> Table:
    """Labels down, verdicts across."""
    named = {"0": "tie"}
    drawn = figures_table("labelled, and judged", "labelled", *(f"judged {named.get(v, v)}" for v in said))
    for label, row in table.items():
        drawn.add_row(named.get(label, label), *(f"{row.get(verdict, 0):,}" for verdict in said))
    return drawn
