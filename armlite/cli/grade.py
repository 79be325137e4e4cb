"""A grade by a rubric on the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from armlite.rubric import Grade
from armlite.view import text as words
from armlite.view.text import STATUSES

if TYPE_CHECKING:
    from armlite.types import Verdict


def draw_grade(console: Console, grade: Grade) -> None:
    """Draw a line for each criterion, with what it rests on and why, and the total."""
    table = Table(show_header=True, header_style="bold", expand=False)
    for name in ("criterion", "weight", "choice", "score", "why"):
        table.add_column(name, justify="right" if name in ("weight", "score") else "left")
    for graded in grade.criteria:
        verdict, criterion = graded.verdict, graded.criterion
        tools = ", ".join(dict.fromkeys(item.tool for item in verdict.evidence))
        why = words.literal(verdict.rationale.strip())
        choice = Text(STATUSES[verdict.status], style="red") if graded.choice is None else Text(graded.choice)
        score = "" if graded.score is None else f"{graded.score:.2f}"
        table.add_row(
            Text(criterion.name), f"{criterion.weight:g}", choice, score, Text(f"{why}\n[{tools}]" if tools else why)
        )
    console.print(table)
    if grade.total is None:
        lost = ", ".join(g.criterion.name for g in grade.criteria if g.score is None and g.criterion.weight)
        console.print(Text(f"no total: {lost} could not be judged", style="bold red"))
    else:
        console.print(Text(f"total: {grade.total:.3f} of 1", style="bold green"))


def verdicts_of(found: "Verdict | Grade") -> "list[Verdict]":
    """The verdicts that a judgment is made of."""
    return [graded.verdict for graded in found.criteria] if isinstance(found, Grade) else [found]


def save_all(found: "Verdict | Grade", folder: Path) -> Path:
    """Add the trajectories to a folder that `armlite view` reads; returns the file."""
    from armlite.judge import save

    return [save(verdict, folder) for verdict in verdicts_of(found)][-1]
