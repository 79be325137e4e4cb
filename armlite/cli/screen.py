"""What `armlite train` shows: the plan, one progress bar a stage on stderr, a table at the end on stdout."""

import sys
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from armlite.errors import ArmliteError
from armlite.recipe import Recipe


def print_plan(recipe: Recipe) -> None:
    """The resolved recipe as YAML and each stage's work as comments, so that the output is a recipe again."""
    from armlite.train.run import plan

    sys.stdout.write(recipe.to_yaml())
    for row in plan(recipe):
        values = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in row.items() if k != "stage")
        sys.stdout.write(f"# {row['stage']}: {values}\n")


class Bars:
    """Progress bars on stderr, where that is a terminal. Use as a context manager.

    Args:
        label: what stands before a bar.
        behind: columns behind the times.
    """

    def __init__(self, label: str, *behind: ProgressColumn):
        self.console = Console(stderr=True)
        columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), *behind
        silent = not self.console.is_terminal
        self._progress = Progress(TextColumn(label), *columns, console=self.console, disable=silent)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()


class TrainingScreen(Bars):
    """Shows the events of a run. Use as a context manager around it."""

    def __init__(self) -> None:
        super().__init__("{task.description:<22}", TextColumn("{task.fields[figures]}"))
        self._tasks: dict[str, Any] = {}

    def notify(self, event: str, values: dict[str, Any]) -> None:
        """Show one event."""
        if event == "stage":
            self._bar(values["stage"], values["done"], values["steps"], "")
        elif event == "step":
            self._bar(values["stage"], values["step"], None, _figures(values))
        elif event == "filter":
            self._bar(f"{values['stage']} filter", values["done"], values["total"], "")
        elif event == "evaluation":
            self._bar(f"{values['stage']} {values['round']}", values["done"], values["total"], "")
        elif event == "evaluated":
            from armlite.train.report import percent

            s = values["summary"]
            figures = ", ".join(f"{k} {percent(s[k], 'accuracy')}" for k in s)
            self.console.print(f"{values['stage']}: accuracy {figures} ({values['seconds']} s)", highlight=False)
        elif event == "note":
            rest = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in values.items() if k != "stage")
            self.console.print(f"{values['stage']}: {rest}", highlight=False)

    def _bar(self, name: str, done: int, total: int | None, figures: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, figures="")
        self._progress.update(self._tasks[name], completed=done, figures=figures)

    def finish(self, folder: Path) -> None:
        """The closing table."""
        from armlite.train.report import ROUNDS, percent, summaries, value_of

        table = Table(title=str(folder), title_justify="left")
        for column in ("checkpoint", *ROUNDS.values(), "calls per task", "format"):
            table.add_column(column)
        for name, summary in summaries(folder).items():
            s = summary["rollout"]
            accuracies = [percent(summary[key], "accuracy") for key in ROUNDS]
            table.add_row(name, *accuracies, f"{value_of(s, 'tool_calls_per_task'):.2f}", percent(s, "format_rate"))
        Console().print(table)
        sys.stdout.write(f"report: {folder / 'report.md'}\n")


def figures_table(title: str, first: str, *others: str) -> Table:
    """A table whose columns behind the first hold numbers."""
    return Table(first, *(Column(name, justify="right") for name in others), title=title, title_justify="left")


def numbers(text: str) -> list[int]:
    """`0,1,2` as a list.

    Raises:
        ArmliteError: something else.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ArmliteError(f"--seeds {text!r} is not a list of whole numbers like 0,1,2") from error


def _figures(row: dict[str, Any]) -> str:
    """The few figures of a step that fit beside the bar."""
    shown = {"loss": "loss", "reward": "reward", "accuracy": "accuracy", "tools/call_frequency": "calls"}
    return " ".join(f"{label} {row[key]:.3f}" for key, label in shown.items() if isinstance(row.get(key), int | float))


class Counter(Bars):
    """One progress bar on stderr; use as a context manager.

    Args:
        kept: what is done stays (a journal), which whoever interrupts it is told.
    """

    def __init__(self, name: str, kept: bool = False):
        super().__init__(name)
        self._task, self._kept = self._progress.add_task(name, total=None), kept

    def __exit__(self, kind: Any = None, *_: Any) -> None:
        super().__exit__()
        if self._kept and kind is KeyboardInterrupt:
            print("stopped; what is done is kept, and the same command goes on", file=sys.stderr)

    def show(self, done: int, total: int | None) -> None:
        """Move the bar; a total of None: not known."""
        self._progress.update(self._task, completed=done, total=total)
