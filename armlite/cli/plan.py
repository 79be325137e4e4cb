"""`armlite plan`: what a recipe will take on a card, before anything is loaded."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from armlite.cli.options import ImportOption


def plan(
    recipe: Annotated[Path, typer.Argument(help="YAML file, for example recipes/qwen2.5-vl-7b-24gb.yaml")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, for example engine.max_slots=4")] = None,
    gpu: Annotated[
        str | None, typer.Option(help="24gb, rtx4090, or the GiB that are free as 20gib; else this one")
    ] = None,
    fit: Annotated[str | None, typer.Option(help="write the largest recipe like this one that fits the card")] = None,
    out: Annotated[Path | None, typer.Option(help="where --fit writes; else stdout")] = None,
    imports: ImportOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the plan as JSON")] = False,
) -> None:
    """Predict memory and time of a recipe; exits 1 where it does not fit. Needs no weights and no GPU.

    Example: armlite plan recipes/qwen2.5-vl-7b-24gb.yaml --gpu 24gb
    """
    from armlite.plan import make_plan, write_fitted
    from armlite.plan.hours import hours
    from armlite.plan.seconds import read_profile
    from armlite.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    if fit is not None:
        write_fitted(loaded, fit, out, recipe)
        return
    made = make_plan(loaded, gpu, read_profile(recipe.with_suffix(".bench.json")))
    made["hours"] = hours(loaded, made["rates"]["by"]) if made["rates"] else None
    if as_json:
        sys.stdout.write(json.dumps(made) + "\n")
    else:
        _show(made)
    raise typer.Exit(int(made["fits"] is False))


def _show(made: dict[str, Any]) -> None:
    from rich.console import Console

    from armlite.cli.screen import figures_table

    console = Console(highlight=False)
    stages = made["stages"]
    columns = (f"{name} ({stage['moment']})" for name, stage in stages.items())
    table = figures_table(f"{made['recipe']}: predicted peak, GiB", "part", *columns)
    for part in dict.fromkeys(p for stage in stages.values() for p in stage["parts"]):
        table.add_row(part, *(f"{s['parts'][part]:.2f}" if part in s["parts"] else "" for s in stages.values()))
    table.add_section()
    table.add_row("in all", *(f"{s['gib']:.1f}" for s in stages.values()))
    if any(s["seconds"] for s in stages.values()):
        table.add_row(
            "seconds a step", *(f"{s['seconds']['step']:.3g}" if s["seconds"] else "" for s in stages.values())
        )
    console.print(table)
    if made["hours"]:
        console.print(_hours(made["hours"]))
    for line in made["notes"]:
        console.print(line, soft_wrap=True)


def _hours(found: dict[str, Any]) -> Any:
    from armlite.cli.screen import figures_table

    table = figures_table("hours of a whole run, at most", "part", "work", "hours")
    for row in found["parts"]:
        table.add_row(row["part"], row["work"], "not known" if row["hours"] is None else f"{row['hours']:.1f}")
    table.add_section()
    table.add_row("in all", "" if found["whole"] else "of what is known", f"{found['total']:.1f}")
    return table
