"""`armlite doctor`: what is installed, which card, what conflicts, and the fix for each problem."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Look at this machine and this installation; exits 1 where something has to be mended.

    Example: armlite doctor
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from armlite.doctor import examine

    findings = examine()
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings]) + "\n")
    else:
        marks = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "problem": "[red]✗[/]"}
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in findings:
            fix = f"\n[bold]→ {escape(finding.fix)}[/]" if finding.fix else ""
            table.add_row(marks[finding.state], finding.name, escape(finding.text) + fix)
        Console(highlight=False).print(table)
    raise typer.Exit(int(any(finding.state == "problem" for finding in findings)))
