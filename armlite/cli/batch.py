"""What `armlite judge FILE` prints at its end."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def draw_summary(summary: dict[str, Any], out: Path) -> None:
    """The table of a batch: what was judged, who won, how consistent, how often as labelled."""
    table = Table(title=str(out), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows", f"{summary['rows']:,}")
    table.add_row("judged", f"{summary['judged']:,}")
    for status, count in summary["not_judged"].items():
        table.add_row(f"not judged: {status.replace('_', ' ')}", f"{count:,}")
    for name, count in summary["wins"].items():
        table.add_row("ties" if name == "tie" else f"{name.replace('_', ' ')} is better", f"{count:,}")
    for name, words in (("consistency", "same in both orders"), ("agreement", "as labelled, of those judged")):
        if (found := summary[name]) is not None:
            low, high = found["ci95"]
            shown = f"{100 * found['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f}, of {found['n']:,})"
            table.add_row(words, shown)
    for name, found in summary["rubric"].items():
        words = "mean total, 0 to 1" if name == "total" else f"mean of {name}"
        table.add_row(words, f"{found['mean']:.3f} (of {found['n']:,})")
    for name, found in summary.get("models", {}).items():
        table.add_row(f"{name} says the same", f"{found['as_the_verdict']:,} of {found['rows']:,}")
    if "judged_by_first" in summary:
        table.add_row("the first was sure", f"{summary['judged_by_first']:,}")
    table.add_row("tool calls", f"{summary['calls']:,}")
    table.add_row("tokens written", f"{summary['tokens']:,}")
    if summary["cost"] is not None:
        table.add_row("cost of these", f"{summary['cost']:,.4g}")
    if summary["cut_short"]:
        table.add_row("had to answer early", f"{summary['cut_short']:,}")
    table.add_row("preferences", f"{summary['preferences']:,}")
    Console().print(table)
    if summary["stopped"]:
        print(
            f"stopped: {summary['stopped']}; {summary['left']:,} judgments are left, and the same command with more "
            "goes on",
            file=sys.stderr,
        )
    print(f"verdicts: {out / 'verdicts.csv'}; look at them with: armlite view {out}")
