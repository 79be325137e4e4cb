"""Options that several commands have."""

from typing import Annotated

import typer

from armlite.imports import run_imports


def _run(names: list[str] | None) -> list[str]:
    run_imports(names or [])
    return names or []


ImportOption = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="FILE|MODULE",
        help="Run a Python file or module with tools, rewards or models of your own; may be repeated.",
        callback=_run,
        is_eager=True,
        show_default=False,
    ),
]
"""Run before the command itself begins, so the command need not look at it."""
