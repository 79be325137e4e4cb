"""`armlite data build`: a data recipe's folder, made or brought up to date."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from armlite.cli.options import ImportOption, WorkersOption


def build(
    recipe: Annotated[Path, typer.Argument(metavar="FILE", help="data recipe, as recipes/data/self-made.yaml")],
    out: Annotated[Path | None, typer.Option(help="folder to make or to go on with; else runs/data/FILE")] = None,
    model: Annotated[
        str | None, typer.Option(help="what `base` in the recipe means: hub id, folder, run, or openai:MODEL@URL")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print what it will take: rows, downloads, model calls, hours, licences")
    ] = False,
    workers: WorkersOption = None,
    imports: ImportOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print build.json")] = False,
) -> None:
    """Build training tasks, a held-out part and traces as a data recipe says; killed, it goes on when called again.

    Example: armlite data build recipes/data/self-made.yaml --out data/self-made
    """
    from armlite.curation.build import Base
    from armlite.curation.build import build as run
    from armlite.curation.recipe import load_data_recipe

    loaded = load_data_recipe(recipe)
    if dry_run:
        from armlite.curation.plan import make_plan, plan_lines

        plan = make_plan(loaded, model)
        sys.stdout.write(json.dumps(plan) + "\n" if as_json else "\n".join(plan_lines(plan)) + "\n")
        return
    folder = out or Path("runs") / "data" / loaded.name
    with Steps() as steps:
        found = run(loaded, folder, Base(model) if model else None, workers, steps.say, steps.show)
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
        return
    print_build(found, folder)


class Steps:
    """A counter for each step, and a line on stderr for what becomes of it; use as a context manager."""

    def __init__(self) -> None:
        self._name = ""
        self._counter: Any = None

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._counter is not None:
            self._counter.__exit__(*error)

    def say(self, line: str) -> None:
        from armlite.cli.training import say

        self._end()
        say(line, sys.stderr)

    def show(self, step: str, done: int, total: int) -> None:
        from armlite.cli.screen import Counter

        if step != self._name or self._counter is None:
            self._end()
            self._name, self._counter = step, Counter(step, kept=True).__enter__()
        self._counter.show(done, total or None)

    def _end(self) -> None:
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._counter = None


def print_build(found: dict[str, Any], folder: Path) -> None:
    """The table of a build: what went into each step, what came out, and why the rest did not."""
    from rich.console import Console

    from armlite.cli.screen import figures_table
    from armlite.curation.rounds import round_rows

    table = figures_table(str(folder), "step", "in", "out", "rejected")
    for row in found["table"]:
        held = sum(row.get("held_out", {}).values())
        table.add_row(row["step"], str(row["in"]), str(row["kept"] - held), "")
        if held:
            table.add_row("  held out", "", str(held), "")
        for why, number in row["rejected"].items():
            table.add_row(f"  {why}", "", "", str(number))
    console = Console()
    console.print(table)
    for row in found["table"]:
        if "rates" in row:
            rates = ", ".join(f"{screen} {rate:.0%}" for screen, rate in row["rates"].items())
            console.print(f"passed the screens: {rates}", highlight=False)
    if (found["recipe"]["traces"] or {}).get("rounds", 1) > 1 and len(round_rows(found)) < 2:
        console.print("the second round of traces is made within armlite train, by the judge after grpo1")
    totals = found["totals"]
    train = totals["training_tasks"]
    sys.stdout.write(
        f"{totals['rows']} rows = {totals['rejected_rows']} rejected + those of {totals['tasks_of_rows']} tasks = "
        f"{totals['rejected_tasks']} rejected + {totals['held_out']} held out + {train} to train on\n"
        f"why each was rejected: {folder / 'rejects.jsonl'}; all counts: {folder / 'build.json'}\n"
    )
