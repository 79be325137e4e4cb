"""A trajectory drawn in a terminal with rich: the task, each step as it happened, and how it ended.

`draw_step` is what `armlite chat` calls while the judge works; `draw_trajectory` is made of the same parts. All text is
passed through `armlite.view.text` first, and never read as markup.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from armlite.errors import ArmliteError
from armlite.types import ImageInfo, Score, Step, Trajectory
from armlite.view import text as words
from armlite.view.images import Gallery, Picture, Protocol, choose_protocol, forced

Pixels = Callable[[ImageInfo], Image.Image]
"""Opens the pixels of an image; raises ArmliteError where they are gone, which is then shown in the picture's place."""

LABEL = 11
"""Columns of the labels on the left; text starts at `INDENT`."""
INDENT = LABEL + 2
WIDTH = 112
"""Widest that text is set, in columns, however wide the terminal is."""
SHOWN = 1200
"""Characters shown of a response or an observation; the HTML page and `--json` hold the whole."""
LABELS = {
    "think": "magenta",
    "said": "yellow",
    "call": "cyan",
    "answer": "bold green",
    "fault": "bold red",
    "result": "green",
    "failed": "red",
    "notice": "yellow",
}
OUTCOMES = {"right": ("✓ right", "green"), "wrong": ("✗ wrong", "red"), "unknown": ("no gold answer", "dim")}


def open_console(environ: Mapping[str, str] = os.environ, **options: Any) -> Console:
    """A console on stdout that never highlights on its own, and colours a pipe only where pictures are forced."""
    return Console(highlight=False, force_terminal=True if forced(environ) else None, **options)


def draw_trajectory(
    console: Console,
    trajectory: Trajectory,
    score: Score | None,
    pixels: Pixels,
    protocol: Protocol | None = None,
    place: str = "",
    shown: int | None = SHOWN,
) -> None:
    """Draw all of a trajectory.

    Args:
        console: where to.
        trajectory: what.
        score: its rewards, where it was scored.
        pixels: opens an image of the trajectory.
        protocol: how to show pictures; None: as the environment says.
        place: a few words for the right of the title, such as `3 of 12`.
        shown: characters of a response or an observation; None: all of them.
    """
    images = {info.id: info for info in trajectory.images}
    draw_task(console, trajectory, pixels, protocol, place, shown)
    for number, step in enumerate(trajectory.steps, 1):
        draw_step(console, step, images, pixels, number=number, protocol=protocol, shown=shown)
    draw_end(console, trajectory, score)


def draw_task(
    console: Console,
    trajectory: Trajectory,
    pixels: Pixels,
    protocol: Protocol | None = None,
    place: str = "",
    shown: int | None = SHOWN,
) -> None:
    """Draw what is judged: question, images, responses with the right one marked where it is known.

    Args:
        shown: characters of a response; None: all of them. For the rest see `draw_trajectory`.
    """
    task = trajectory.task
    images = {info.id: info for info in trajectory.images}
    title = Text(words.literal(task.id), style="bold")
    about = list(dict.fromkeys((task.kind.replace("_", " "), words.group(task))))
    about += [f"rollout {trajectory.rollout}"] if trajectory.rollout else []
    title.append(f"  {' · '.join(about)}", style="not bold dim")
    side = Text(place, style="dim")
    gap = _width(console) - title.cell_len - side.cell_len - 6
    # Nothing is cut: a title without room beside it has the place below, as far as it is wide.
    head = Text.assemble(title, " " * gap if gap > 0 else "\n" if place else "", side)
    _print(console, Rule(style="bright_black", characters="━"))
    _print(console, Padding(head, (0, 0, 0, 3)))
    _print(console, Rule(style="bright_black", characters="━"))
    console.print()
    _line(console, "question", "bold", Text(words.literal(task.question), style="bold"))
    for letter, option in task.options.items():
        mark = "  ★" if letter == task.gold else ""
        _line(console, letter, "dim", Text.assemble(words.literal(option), (mark, "yellow")))
    for constraint in task.constraints:
        _line(console, "must", "dim", Text(words.literal(constraint.text)))
    if task.document is not None:
        _line(console, "document", "dim", Text(words.literal(task.document)))
    if trajectory.prompt_images:
        _gallery(console, trajectory.prompt_images, images, pixels, protocol, 60, 16)
        console.print()
    _responses(console, trajectory, shown)


def draw_step(
    console: Console,
    step: Step,
    images: Mapping[str, ImageInfo],
    pixels: Pixels,
    *,
    number: int = 1,
    protocol: Protocol | None = None,
    shown: int | None = SHOWN,
) -> None:
    """Draw one step: thought, call, observation with its images; live in a chat, or from a record.

    Args:
        console: where to.
        step: what.
        images: image id -> its record, those of earlier steps included (`Memory.infos` while an episode runs).
        pixels: opens an image (`lambda info: memory.images[info.id]` while an episode runs).
        number: the step's number, from 1.
        protocol: how to show pictures; None: as the environment says.
        shown: characters of an observation; None: all of them.
    """
    console.print()
    title = f"step {number}" + (f" · {words.count(step.turn.tokens, 'token')}" if step.turn.tokens else "")
    _print(console, Rule(Text(title, style="dim"), style="bright_black", align="left"))
    for label, body in words.turn_parts(step.turn):
        _line(console, label, LABELS[label], _turn_text(label, body))
    if step.observation is None:
        return
    label = words.result_label(step)
    said = words.literal(step.observation.text)
    _line(console, label, LABELS[label], Text(said if shown is None else words.shorten(said, shown)))
    _gallery(console, step.observation.images, images, pixels, protocol, 46, 14)


def draw_end(console: Console, trajectory: Trajectory, score: Score | None = None) -> None:
    """Draw the verdict, why the episode stopped, and the reward parts."""
    task, outcome = trajectory.task, words.outcome(trajectory)
    mark, colour = OUTCOMES[outcome]
    verdict = Text(words.decision_words(task, trajectory.decision), style="bold")
    shown = {n: name for n, _, name in words.responses(trajectory)}
    name = shown.get(trajectory.decision) if isinstance(trajectory.decision, int) else None
    if name and task.kind in ("pairwise", "listwise"):
        verdict.append(f", shown to the judge as {name}", style="not bold dim")
    verdict.append(f"   {mark}", style=f"not bold {colour}")
    if outcome == "wrong":
        verdict.append(f", gold: {words.gold_words(task)}", style=f"not bold {colour}")
    ended = Text(f"{words.STOPS[trajectory.stop]} · {words.tally(trajectory)}", style="dim")
    if trajectory.model:
        ended.append(f" · {words.literal(trajectory.model)}")
    if trajectory.probabilities:
        likely = ", ".join(f"{words.literal(key)} {share:.2f}" for key, share in trajectory.probabilities.items())
        ended.append(f"\nhow likely each answer was to the model: {likely}")
    parts: list[RenderableType] = [verdict, ended]
    if trajectory.fault is not None:
        parts.append(Text(words.literal(trajectory.fault.reason), style="red"))
    if score is not None:
        parts += [Text(), _rewards(score, max(6, min(24, _width(console) - 30)))]
    console.print()
    border = colour if outcome != "unknown" else "bright_black"
    _print(console, Panel(Group(*parts), title="verdict", title_align="left", border_style=border, padding=(0, 2)))


def _turn_text(label: str, body: str) -> Text:
    if label == "call":
        name, _, arguments = body.partition("(")
        return Text.assemble((name, "bold cyan"), ("(", "cyan"), arguments.removesuffix(")"), (")", "cyan"))
    return Text(body, style={"think": "italic", "answer": "bold", "fault": "red"}.get(label, ""))


def _responses(console: Console, trajectory: Trajectory, most: int | None) -> None:
    for number, text, shown in words.responses(trajectory):
        notes = [Text("★ right", style="yellow")] if words.is_gold(trajectory.task, number) else []
        notes += [Text(f"shown as {shown}", style="dim")] if shown else []
        body = Text((text if most is None else words.shorten(text, most)) or "(empty)")
        if notes and (len(text) > 60 or "\n" in text):
            body = Text("\n").join([Text("  ").join(notes), body])
        else:
            body = Text("  ").join([body, *notes])
        label = f"response {number}" if len(trajectory.task.responses) > 1 else "response"
        _line(console, label, "bright_blue", body)
    gold = words.gold_words(trajectory.task)
    if gold and not any(words.is_gold(trajectory.task, n) for n in range(1, len(trajectory.task.responses) + 1)):
        _line(console, "gold", "yellow", Text(gold))


def _rewards(score: Score, longest: int) -> Table:
    """One bar a part, of so many columns at most; the longest is the largest part, losses are red."""
    table = Table.grid(padding=(0, 2))
    for name, value in score.parts.items():
        bar = "━" * round(longest * score.shares[name])
        table.add_row(Text(words.literal(name)), f"{value:g}", Text(bar or "·", style="red" if value < 0 else "green"))
    table.add_row(Text("total", style="bold"), Text(f"{score.total:g}", style="bold"), "")
    return table


def _gallery(
    console: Console,
    ids: tuple[str, ...],
    images: Mapping[str, ImageInfo],
    pixels: Pixels,
    protocol: Protocol | None,
    columns: int,
    rows: int,
) -> None:
    if not ids:
        return
    protocol = protocol or choose_protocol(os.environ, console.is_terminal)
    pictures = []
    for info, crop in words.pictured(ids, images):
        image, note = None, ""
        if protocol != "none":
            try:
                image = pixels(info)
            except ArmliteError as e:
                note = f"({words.literal(str(e))})"
        pictures.append(Picture(words.caption(info), image, crop.box if crop else None, note))
    if protocol != "none":
        console.print()
    _print(console, Gallery(pictures, protocol, INDENT, columns, rows))


def _line(console: Console, label: str, style: str, body: Text) -> None:
    """A label on the left, its text wrapped on the right."""
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=LABEL, justify="right", no_wrap=True)
    row.add_column(ratio=1, overflow="fold")
    row.expand = True
    row.add_row(Text(label, style=style), body)
    _print(console, row)


def _width(console: Console) -> int:
    return min(console.width, WIDTH)


def _print(console: Console, what: RenderableType) -> None:
    console.print(what, width=_width(console))
