"""What stands beside a trajectory in a terminal: another one, and the other judgments of its task as a table."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from armlite.store import Saved
from armlite.view import text as words
from armlite.view.entries import Entry
from armlite.view.images import Protocol
from armlite.view.selection import RowPixels
from armlite.view.terminal import OUTCOMES, SHOWN, draw_trajectory

NARROW = 80
"""Columns below which two trajectories stand one below the other."""


def groups(found: Sequence[Entry]) -> dict[tuple[object, ...], list[Entry]]:
    """The judgments of each task in each file: a group of rollouts, or the votes of a verdict."""
    together: dict[tuple[object, ...], list[Entry]] = {}
    for entry in found:
        together.setdefault(group_key(entry), []).append(entry)
    return together


def group_key(entry: Entry) -> tuple[object, ...]:
    """What a group has in common."""
    return entry.row.path, entry.row.trajectory.task.id


def draw_group(console: Console, entry: Entry, group: Sequence[Entry]) -> None:
    """Under one head all judgments of a task, with reward parts and advantages where they are known."""
    if len(group) < 2:
        return
    said = Counter(_decision(e) for e in group)
    tally = ", ".join(f"{count} × {decision}" for decision, count in said.most_common())
    what = (
        f"rollouts of this task in step {entry.first('step'):g}" if "step" in entry.fields else "judgments of this task"
    )
    console.print(Text(f"\n{len(group)} {what}: {tally}", style="bold"))
    names = [n for n in dict.fromkeys(name for e in group for name in e.fields) if n.startswith("reward.")]
    names += [n for n in ("reward", "advantage", "probability") if any(n in e.fields for e in group)]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "decision", "calls", *("total" if n == "reward" else n.removeprefix("reward.") for n in names)):
        table.add_column(words.literal(name), overflow="fold")
    for one in group:
        mark, colour = OUTCOMES[str(one.first("outcome"))]
        here = "bold" if one is entry else ""
        head = Text(f"{mark[0] if mark[0] in '✓✗' else '·'} #{one.row.trajectory.rollout}", style=colour)
        cells = [f"{v:.3g}" if isinstance(v := one.first(name, "–"), float) else str(v) for name in names]
        table.add_row(head, _decision(one), f"{one.first('calls'):g}", *cells, style=here)
    console.print(table)


def draw_pair(
    console: Console, pair: tuple[Entry, Entry], pixels: RowPixels, protocol: Protocol | None, places: tuple[str, str]
) -> None:
    """Two trajectories side by side, or below each other where the terminal is narrow.

    Pictures of kitty and sixel take whole rows: they are drawn in half blocks here.
    """
    half = (console.width - 3) // 2
    if console.width < NARROW:
        for entry, place in zip(pair, places, strict=True):
            draw_row(console, entry.row, pixels, protocol, place)
        return
    kind: Protocol | None = "blocks" if protocol in ("kitty", "sixel") else protocol
    columns = [_lines(console, half, entry, pixels, kind, place) for entry, place in zip(pair, places, strict=True)]
    for number in range(max(map(len, columns))):
        left, right = (Text.from_ansi(lines[number] if number < len(lines) else "") for lines in columns)
        console.print(Text.assemble(left, " " * (half - left.cell_len), " │ ", right), soft_wrap=True)


def draw_row(
    console: Console, row: Saved, pixels: RowPixels, protocol: Protocol | None, place: str, shown: int | None = SHOWN
) -> None:
    """A row's trajectory."""
    draw_trajectory(console, row.trajectory, row.score, lambda info: pixels(row, info), protocol, place, shown)
    console.print()


def place_of(entry: Entry, number: str = "") -> str:
    """`grpo1 · GRPO step 2 · 3 of 12`."""
    return " · ".join([*entry.where, *([number] if number else [])])


def _lines(
    console: Console, width: int, entry: Entry, pixels: RowPixels, protocol: Protocol | None, place: str
) -> list[str]:
    options: Mapping[str, object] = {"force_terminal": console.is_terminal, "color_system": console.color_system}
    drawn = Console(file=io.StringIO(), width=width, highlight=False, **options)  # type: ignore[arg-type]
    draw_row(drawn, entry.row, pixels, protocol or ("none" if not console.is_terminal else None), place)
    return drawn.file.getvalue().split("\n")  # type: ignore[attr-defined]


def _decision(entry: Entry) -> str:
    return words.decision_words(entry.row.trajectory.task, entry.row.trajectory.decision)
