"""What commands show of long work: a bar at a terminal, else a line a minute, on stderr; and tables of figures."""

import sys
import time
from typing import TYPE_CHECKING, Any, Self

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

from armlite.cli.training import EVERY, Work, duration, say
from armlite.errors import ArmliteError

if TYPE_CHECKING:
    from armlite.recipe import Recipe


def print_plan(recipe: "Recipe") -> None:
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


class Counter(Bars):
    """One progress bar on stderr; use as a context manager.

    Args:
        kept: what is done stays (a journal), which whoever interrupts it is told.
    """

    def __init__(self, name: str, kept: bool = False):
        super().__init__(name)
        self._task, self._kept = self._progress.add_task(name, total=None), kept
        self._work, self._said = Work(name), time.monotonic()

    def __exit__(self, kind: Any = None, *_: Any) -> None:
        super().__exit__()
        if self._kept and kind is KeyboardInterrupt:
            print("stopped; what is done is kept, and the same command goes on", file=sys.stderr)

    def show(self, done: int, total: int | None) -> None:
        """Move the bar; a total of None: not known."""
        self._progress.update(self._task, completed=done, total=total)
        self._work.move(done, total)
        if not self.console.is_terminal and time.monotonic() - self._said >= EVERY:
            self._said, left = time.monotonic(), self._work.left
            rest = "" if left is None else f", {duration(left)} left"
            say(f"{self._work.name} {self._work.count()}{rest}", sys.stderr)
