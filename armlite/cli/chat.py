"""`armlite chat`: a session at a terminal or through a pipe; what lines mean is in `armlite.chat`."""

import sys
import traceback
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from armlite.cli.judge import (
    DeviceOption,
    MaxCallsOption,
    ModelOption,
    OfflineOption,
    QuantizeOption,
    SeedOption,
    TemperatureOption,
)
from armlite.cli.options import (
    EndpointOption,
    ImportOption,
    MaxTokensOption,
    NoProbeOption,
    RulesOption,
    WorkersOption,
    model_options,
)
from armlite.errors import ArmliteError

if TYPE_CHECKING:
    from rich.console import Console

    from armlite.chat import Chat, Said
    from armlite.episode import Episode
    from armlite.types import Step

PROMPT = "> "


def chat(
    model: ModelOption,
    max_calls: MaxCallsOption = None,
    temperature: TemperatureOption = 0.0,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    quantize: QuantizeOption = None,
    rules: RulesOption = None,
    endpoint: EndpointOption = None,
    max_tokens: MaxTokensOption = None,
    no_probe: NoProbeOption = False,
    workers: WorkersOption = None,
    imports: ImportOption = None,
    offline: OfflineOption = False,
    json: Annotated[bool, typer.Option("--json", help="Print verdicts as JSON lines, all else on stderr.")] = False,
) -> None:
    """Judge interactively: set a question, add responses, watch the judge look, change something, judge again.

    Through a pipe it reads lines until they end. /help lists the commands.

    Examples:
      armlite chat --model runs/pocket
      armlite chat --model runs/pocket < session.txt
    """
    from armlite.chat import Chat
    from armlite.judge import Judge
    from armlite.models.endpoint import shown
    from armlite.view.terminal import open_console

    console = open_console(stderr=json)
    typer.echo(f"loading {shown(model)}", err=True)
    how = {"device": device, "quantize": quantize, "temperature": temperature, "seed": seed, "max_calls": max_calls}
    how |= model_options(model, rules, endpoint, max_tokens, no_probe, workers)
    judge = Judge.load(model, **how).prepare()  # a session should not begin with a model that is not there
    talk(Chat(judge, offline=offline), console, json)


def talk(session: "Chat", console: "Console", json: bool = False) -> None:
    """Read lines until they end or someone quits, and draw what they lead to. No error ends the session."""
    from armlite.chat import INTRODUCTION

    session.on_step = partial(_draw, console, session)
    human = sys.stdin.isatty()
    if human:
        console.print(INTRODUCTION, style="dim")
    for line in _lines(human):
        try:
            said = session.hear(line)
        except ArmliteError as error:
            typer.echo(f"error: {error}", err=True)
        except KeyboardInterrupt:
            typer.echo("interrupted; the case is as it was", err=True)
        except BrokenPipeError:
            raise
        except Exception:  # a bug of ours is shown whole, but takes no work with it
            traceback.print_exc()
        else:
            _say(console, said, json)
            if said.over:
                return


def _lines(human: bool) -> Iterator[str]:
    """Lines of the user; one that ends with a backslash goes on in the next."""
    if human:
        from contextlib import suppress

        with suppress(ImportError):
            import readline  # noqa: F401 - gives `input` its line editing and history
    parts: list[str] = []
    while True:
        try:
            line = input(("  " if parts else PROMPT) if human else "")
        except EOFError:
            break
        except KeyboardInterrupt:
            parts = []
            typer.echo("  (/quit leaves)", err=True)
            continue
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield "\n".join(parts)
            parts = []
    if parts:
        yield "\n".join(parts)
    if human:
        typer.echo()


def _draw(console: "Console", session: "Chat", episode: "Episode", step: "Step") -> None:
    """One step of a judgment."""
    from armlite.cli.verdict import whose
    from armlite.view.terminal import draw_step

    memory, number = episode.memory, len(episode.steps)
    if session.several:
        console.print(f"\n{whose(episode).removesuffix(', ')}", style="bold", end="")
    draw_step(console, step, memory.infos, lambda info: memory.images[info.id], number=number)


def _say(console: "Console", said: "Said", json: bool) -> None:
    from rich.text import Text

    from armlite.cli.verdict import draw_verdict
    from armlite.view.text import literal

    if said.text:
        console.print(Text(literal(said.text), style="dim"), soft_wrap=True)
    if said.verdict is None:
        return
    draw_verdict(console, said.verdict, evidence=False)
    if json:
        typer.echo(said.verdict.to_json())
