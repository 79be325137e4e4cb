"""`armlite view`: look at trajectories."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    path: Annotated[Path | None, typer.Argument(help="A .jsonl file of trajectories or a run directory.")] = None,
    index: Annotated[int | None, typer.Option(help="Only the trajectory with this number, from 1.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Only the trajectories of this task.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print trajectories as JSON lines.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained HTML page.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Show a scripted judgment; needs no model and no file.")] = False,
) -> None:
    """Page through judgments: what the judge thought, which tools it called, what it saw, and how it was scored.

    Keys: n next, p previous, a number and Enter, q quit. Images: ARMLITE_IMAGES=kitty|sixel|blocks|none.

    Examples:
      armlite view --demo
      armlite view runs/pocket --html pocket.html
      armlite view runs/pocket/eval --id zoom-17 --json
    """
    from armlite.view.selection import choose, load

    everything, pixels = load(path, demo)
    rows = choose(everything, index, id)
    if html is not None:
        from armlite.store import write_atomic
        from armlite.view.html import to_html

        write_atomic(html, to_html(rows, pixels, title=str(path or "demo")))
        typer.echo(f"wrote {html} ({len(rows)} of {len(everything)} trajectories)", err=True)
    for row in rows if json else ():
        typer.echo(row.to_json())
    if not json and html is None:
        from armlite.view.pager import page
        from armlite.view.terminal import open_console

        page(open_console(), rows, pixels)
