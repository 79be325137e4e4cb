"""`armlite view`: look at trajectories."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    path: Annotated[Path | None, typer.Argument(help="A .jsonl file of trajectories or a run directory.")] = None,
    where: Annotated[str | None, typer.Option(help="Only those that fit, as status=failed and tool=zoom.")] = None,
    search: Annotated[str, typer.Option(help="Only those that hold this text, in capitals or not.")] = "",
    sort: Annotated[str, typer.Option(help="A field to sort by; -reward: the largest first.")] = "",
    n: Annotated[int | None, typer.Option(help="So many at most.")] = None,
    compare: Annotated[tuple[str, str] | None, typer.Option(help="Tasks after two stages, as sft grpo2.")] = None,
    index: Annotated[int | None, typer.Option(help="Only the trajectory with this number, from 1.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Only the trajectories of this task.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print trajectories as JSON lines.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained HTML page.")] = None,
    split: Annotated[bool, typer.Option("--split", help="With --html FOLDER: whole pictures beside the page.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show the page at a local address; it grows as PATH does.")
    ] = False,
    port: Annotated[int, typer.Option(help="With --serve; 0: any that is free.")] = 8123,
    demo: Annotated[bool, typer.Option("--demo", help="Show a scripted judgment; needs no model and no file.")] = False,
) -> None:
    """Page through judgments: what the judge thought, which tools it called, what it saw, and how it was scored.

    Keys: n next, p previous, / search, ? all keys, q quit. Images: ARMLITE_IMAGES=kitty|sixel|blocks|none.

    Examples:
      armlite view --demo
      armlite view runs/pocket --where "status=failed and stage=grpo1" --sort probability
      armlite view runs/pocket --html pocket.html
      armlite view runs/pocket --serve
      armlite view runs/pocket/eval --id zoom-17 --json
    """
    from armlite.view.selection import Selection, gather

    if serve:
        from contextlib import suppress

        from armlite.errors import ArmliteError
        from armlite.view.live import open_server

        if path is None:
            raise ArmliteError("--serve follows a file or a run directory: name it")
        with open_server(path, port) as server:
            typer.echo(f"{path} is at {server.url} (this machine only, read-only; Ctrl-C ends)", err=True)
            with suppress(KeyboardInterrupt):
                server.serve_forever()
        return
    chosen = gather(path, demo, Selection(where or "", search, sort, n), compare, index, id)
    if html is not None:
        from armlite.view.page import write

        count = write(html, chosen, title=str(path or "demo"), beside=compare[0] if compare else "", split=split)
        typer.echo(f"wrote {html} ({count} of {len(chosen.everything)} trajectories)", err=True)
    for entry in chosen.entries if json else ():
        typer.echo(entry.row.to_json())
    if not json and html is None:
        from armlite.view.pager import page
        from armlite.view.terminal import open_console

        page(open_console(), chosen)
