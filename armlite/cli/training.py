"""What `armlite train` shows while it runs: a screen at a terminal, else a line a minute, on stderr."""

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

EVERY = 60.0
"""Seconds between two lines of a log."""
LEVELS = "▁▂▃▄▅▆▇█"
ENDS = ("evaluated", "benchmark", "note")
"""Events that something has ended with."""
SPARK = 24
"""Columns of a curve."""
KEPT = 400
"""Steps that a curve goes back."""
CURVES = {name: name for name in ("loss", "entropy", "reward", "accuracy")} | {"tools/call_frequency": "calls"}
"""Figures of a step that are shown -> their names; the parts of the reward stand below it."""


def make_display() -> "Display":
    """What goes with standard error: a screen at a terminal, else a log."""
    console = Console(stderr=True, highlight=False)
    return TrainingScreen(console) if console.is_terminal else TrainingLog(sys.stderr)


class Display(Protocol):
    """Shows the events of a run; a context manager around it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: Any) -> None: ...

    def notify(self, event: str, values: dict[str, Any]) -> None:
        """Show one event (see `armlite.train.run.Notify`)."""


COUNTED = ("step", "building", "filter", "evaluation")
"""Events that tell how much is done."""


@dataclass
class Work:
    """Something that is counted: a stage's steps, a filter, a round of an evaluation."""

    name: str
    total: int | None = None
    done: int = 0
    began: float = field(default_factory=lambda: time.monotonic())
    before: int | None = None
    """What was done when it began (here)."""

    def move(self, done: int, total: int | None = None) -> None:
        """So much is done now."""
        self.before = done if self.before is None else self.before
        self.done, self.total = done, total if total is not None else self.total

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def left(self) -> float | None:
        """Seconds to its end, at the pace so far."""
        made = self.done - (self.before or 0)
        if not made or not self.total:
            return None
        return self.seconds / made * (self.total - self.done)

    def count(self) -> str:
        """`420 of 1,000`."""
        return f"{self.done:,}" + (f" of {self.total:,}" if self.total else "")


def name_of(event: str, values: dict[str, Any]) -> str:
    """What an event counts."""
    if event == "building":
        return f"data {values['step']}"
    stage: str = values["stage"]
    if event == "filter":
        return f"{stage} filter"
    return f"{stage} {values['round']}" if event == "evaluation" else stage


def of_step(stage: Work | None, name: str) -> Work:
    """A stage's work from its first step on: what came between (a filter) does not count for its pace."""
    if stage is None or stage.name != name:
        return Work(name)
    work = Work(name, stage.total)
    work.move(stage.done)
    return work


def figures_of(row: dict[str, Any]) -> dict[str, float]:
    """The figures of a step that are shown, by their names, parts of the reward behind it."""
    found: dict[str, float] = {}
    for key, name in CURVES.items():
        if isinstance(row.get(key), int | float):
            found[name] = float(row[key])
        if key == "reward":
            for part, value in row.items():
                if part.startswith("rewards/") and part.endswith("/mean") and isinstance(value, int | float):
                    found[f"  {part.split('/')[1]}"] = float(value)
    return found


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def memory() -> str:
    """What the process has held at most: of a GPU where one is used, else of the machine; nothing where nobody says."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_reserved():
        return f"{torch.cuda.max_memory_reserved() / 2**30:.1f} GiB on the GPU"
    if sys.platform == "win32":
        return ""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{peak / 2**30:.1f} GiB"


def ended(values: dict[str, Any]) -> str:
    """A stage's evaluation, or what it took and used, in a line."""
    if "round" in values:
        from armlite.evals.figures import Figure
        from armlite.evals.report import shown

        summary, name = values["summary"], values["summary"]["main"]
        figure = shown(name, Figure.model_validate(summary["figures"][name]))
        took = duration(values["seconds"])
        return f"{values['stage']}: {values['round']} {name} {figure}, {summary['items']} tasks ({took})"
    if "summary" in values:
        from armlite.train.report import percent

        summary = values["summary"]
        rounds = ", ".join(f"{name.replace('_', ' ')} {percent(summary[name], 'accuracy')}" for name in summary)
        return f"{values['stage']}: accuracy {rounds} ({duration(values['seconds'])})"
    rest = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in values.items() if k not in ("stage", "seconds"))
    took = f" in {duration(values['seconds'])}" if "seconds" in values else ""
    return f"{values['stage']}: done{took}" + (f"; {rest}" if rest else "")


def say(text: str, out: TextIO) -> None:
    """A line of a log, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=out, flush=True)


class TrainingLog:
    """A line when something begins or ends, and one a minute between: for nohup, Slurm, Docker and CI.

    Args:
        out: where to.
        every: seconds between two lines of the same work.
    """

    def __init__(self, out: TextIO, every: float = EVERY):
        self._out, self._every = out, every
        self._work: Work | None = None
        self._stage: Work | None = None
        self._said = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        """Nothing is open."""

    def notify(self, event: str, values: dict[str, Any]) -> None:
        """Say it, if it is time."""
        if event == "data":
            self._say(values["line"])
        elif event == "stage":
            self._stage = Work(values["stage"], values["steps"])
            self._stage.move(values["done"])
            self._work = self._stage
            begun = f", after step {values['done']:,}" if values["done"] else ""
            self._say(f"{values['stage']}: {values['steps']:,} steps{begun}")
        elif event in ENDS:
            self._say(ended(values))
            self._work = None
        elif event == "health":
            self._say(values["line"])
        elif event in COUNTED:
            name = name_of(event, values)
            if self._work is None or self._work.name != name:
                self._work = of_step(self._stage, name) if event == "step" else Work(name)
            work = self._work
            work.move(values["step"] if event == "step" else values["done"], values.get("total"))
            last = event == "step" and work.done == work.total
            if last or time.monotonic() - self._said >= self._every:
                self._say(self._line(work, values))

    def _line(self, work: Work, values: dict[str, Any]) -> str:
        parts = [f"{work.name} {work.count()}"]
        if work.left:
            parts.append(f"{duration(work.left)} left")
        parts += [f"{name.strip()} {value:.3g}" for name, value in figures_of(values).items()]
        return ", ".join(filter(None, [*parts, memory()]))

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        say(text, self._out)


class TrainingScreen:
    """The work at hand with a bar, and the curves of its figures; what is done moves up as a line.

    Args:
        console: of the terminal.
    """

    def __init__(self, console: Console):
        self._console = console
        self._work: Work | None = None
        self._stage: Work | None = None
        self._curves: dict[str, deque[float]] = {}
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._live.stop()

    def notify(self, event: str, values: dict[str, Any]) -> None:
        """Show it."""
        if event == "data":
            self._work = None
            self._console.print(values["line"], highlight=False, markup=False)
        elif event == "stage":
            self._stage, self._curves = Work(values["stage"], values["steps"]), {}
            self._stage.move(values["done"])
            self._work = self._stage
        elif event == "data":
            self._console.print(values["line"], highlight=False, markup=False)
        elif event in ENDS:
            self._work = None
            self._console.print(ended(values), highlight=False)
        elif event == "health":
            self._console.print(Text(values["line"], style="yellow"))
        elif event in COUNTED:
            name = name_of(event, values)
            if self._work is None or self._work.name != name:
                self._work = of_step(self._stage, name) if event == "step" else Work(name)
                self._curves = self._curves if event == "step" else {}
            self._work.move(values["step"] if event == "step" else values["done"], values.get("total"))
            for figure, value in figures_of(values).items() if event == "step" else ():
                self._curves.setdefault(figure, deque(maxlen=KEPT)).append(value)

    def _draw(self) -> RenderableType:
        work = self._work
        if work is None:
            return Text("")
        left = "" if work.left is None else f"{duration(work.left)} left"
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=work.total or 1, completed=min(work.done, work.total or 0), width=24)
        head.add_row(Text(work.name, style="bold"), bar, Text(work.count()), Text(duration(work.seconds)), Text(left))
        curves = Table.grid(padding=(0, 1))
        for name, values in self._curves.items():
            curves.add_row(Text(f"  {name}", style="dim"), sparkline(list(values)), f"{values[-1]:.3g}")
        return Group(head, curves)


def sparkline(values: Sequence[float], width: int = SPARK) -> str:
    """A curve in one line: means of as many parts as there are columns, from the lowest to the highest of them."""
    if len(values) > width:
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(values), max(values)
    span = high - low if high - low > 1e-9 * abs(high) else 1.0  # means of equal figures may differ in their last digit
    return "".join(LEVELS[min(int((v - low) / span * len(LEVELS)), len(LEVELS) - 1)] for v in values)


def draw_end(folder: Path) -> None:
    """The closing table, on standard output."""
    from armlite.train.needed import ROUNDS
    from armlite.train.report import percent, summaries, value_of

    table = Table(title=str(folder), title_justify="left")
    for column in ("checkpoint", *ROUNDS.values(), "calls per task", "format"):
        table.add_column(column)
    for name, summary in summaries(folder).items():
        s = summary["rollout"]
        accuracies = [percent(summary[key], "accuracy") for key in ROUNDS]
        table.add_row(name, *accuracies, f"{value_of(s, 'tool_calls_per_task'):.2f}", percent(s, "format_rate"))
    Console().print(table)
    sys.stdout.write(f"report: {folder / 'report.md'}\n")
