"""`armlite chat`: a session at a terminal or through a pipe; what lines mean is in `armlite.chat`."""

import sys
import traceback
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlite.cli.judge import (
    DeviceOption,
    MaxCallsOption,
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
    from armlite.cli.prompt import Line
    from armlite.cli.watching import Watching
    from armlite.episode import Episode
    from armlite.types import Step


def chat(
    model: Annotated[
        str | None,
        typer.Option(
            help="Hub id, model folder, adapter, run directory, or openai:MODEL@URL.",
            show_default="for texts pocket-judge",
        ),
    ] = None,
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last session.")] = False,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Keep neither what is typed nor the session.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print verdicts as JSON lines, all else on stderr.")] = False,
) -> None:
    """Judge interactively: set a question, add responses, watch the judge look, change something, judge again.

    A paste is one text. Sessions and what was typed are kept below the user's state folder (ARMLITE_STATE).
    Through a pipe it reads lines until they end, and the first mistake ends it. /help lists the commands.

    Examples:
      armlite chat --model runs/pocket
      armlite chat --model runs/pocket < session.txt
    """
    from armlite.chat import Chat
    from armlite.chat.kept import Kept, sessions
    from armlite.cli.watching import reach
    from armlite.judge import Judge
    from armlite.models.endpoint import shown
    from armlite.pocket.knowledge import SHIPPED, TEXTS_ONLY, or_shipped
    from armlite.view.terminal import open_console

    human = sys.stdin.isatty()
    kept = None
    if resume:
        if not (earlier := sessions()):
            raise ArmliteError("there is no session to go on with")
        kept = Kept(earlier[-1])
    elif human and not no_history:
        kept = Kept()
    console = open_console(stderr=json)
    typer.echo(f"loading {shown(model)}" if model else SHIPPED, err=True)
    how = {"device": device, "quantize": quantize, "temperature": temperature, "seed": seed, "max_calls": max_calls}

    def load(name: str) -> Judge:
        options: dict[str, Any] = model_options(name, rules, endpoint, max_tokens, no_probe, workers)
        judge = Judge.load(name, **how, **options).prepare()  # no session begins with a judge that is not there
        reach(judge)
        return judge

    [named] = or_shipped([model] if model else [], files=False)
    session = Chat(load(named), offline=offline, kept=kept, load=load, edit=_editor if human else None)
    session.texts_only = None if model else TEXTS_ONLY
    if resume:
        _say(console, session.resume(), json)
    talk(session, console, json, remember=not no_history)


def talk(session: "Chat", console: "Console", json: bool = False, remember: bool = False) -> None:
    """Read lines until they end or someone quits, and draw what they lead to.

    At a terminal no error ends the session; through a pipe the first mistake does.

    Raises:
        ArmliteError: a mistake in what came through a pipe.
    """
    from armlite.chat import INTRODUCTION
    from armlite.cli.watching import Watching, watched

    human = sys.stdin.isatty()
    if human:
        console.print(INTRODUCTION, style="dim")
    for line in _lines(session, human, remember):
        watching = Watching(console)
        session.on_step = partial(_draw, console, session, watching)
        session.on_text = watching.on_text if human else None
        try:
            if human:
                watched(session.judge, watching.on_wait)
            with watching:
                said = session.hear(line.text, line.literal)
        except ArmliteError as error:
            if not human:
                raise
            typer.echo(f"error: {error}", err=True)
        except KeyboardInterrupt:
            typer.echo("interrupted; the case is as it was", err=True)
        except BrokenPipeError:
            raise
        except Exception:  # a bug of ours is shown whole, but takes no work with it
            traceback.print_exc()
        else:
            _say(console, said, json, watching.seconds)
            if said.over:
                break
    if not human:
        _say(console, session.end_of_input(), json)
    _leave(session)


def _leave(session: "Chat") -> None:
    """Say where judgments are that were not saved."""
    unsaved = len(session.history) - max(session.saved.values(), default=0)
    if session.kept is not None and session.kept.is_begun and unsaved:
        typer.echo(
            f"{unsaved} judgment{'s are' if unsaved > 1 else ' is'} kept in {session.kept.folder}: look with armlite "
            f"view {session.kept.folder}, go on with armlite chat --resume",
            err=True,
        )


def _lines(session: "Chat", human: bool, remember: bool) -> Iterator["Line"]:
    """Lines of the user; one that ends with a backslash goes on in the next."""
    if human:
        from armlite.chat.kept import state_folder
        from armlite.cli.prompt import entered

        yield from entered(session, state_folder() / "chat_history" if remember else None)
        return
    from armlite.cli.prompt import Line

    parts: list[str] = []
    for raw in sys.stdin:
        text = raw.removesuffix("\n")
        if session.block is not None:
            yield Line(text)
            continue
        parts.append(text.removesuffix("\\"))
        if not text.endswith("\\"):
            yield Line("\n".join(parts))
            parts = []
    if parts:
        yield Line("\n".join(parts))


def _editor(text: str) -> str:
    """A text as the user's editor leaves it.

    Raises:
        ArmliteError: it was left without saving, or there is none.
    """
    import click

    try:
        edited = click.edit(text)
    except click.ClickException as error:
        raise ArmliteError(f"the editor failed: {error.format_message()}; $EDITOR names another") from error
    if edited is None:
        raise ArmliteError("the editor saved nothing: the text is as it was")
    return edited


def _draw(console: "Console", session: "Chat", watching: "Watching", episode: "Episode", step: "Step") -> None:
    """One step of a judgment."""
    from armlite.cli.verdict import whose
    from armlite.view.terminal import draw_step

    memory, number = episode.memory, len(episode.steps)
    watching.ended(episode.task.id, episode.conversation.rollout)
    if session.several:
        console.print(f"\n{whose(episode).removesuffix(', ')}", style="bold", end="")
    draw_step(console, step, memory.infos, lambda info: memory.images[info.id], number=number)


def _say(console: "Console", said: "Said", json: bool, seconds: float | None = None) -> None:
    from rich.text import Text

    from armlite.cli.grade import draw_grade
    from armlite.cli.verdict import draw_verdict
    from armlite.view.text import literal

    if said.text:
        console.print(Text(literal(said.text), style="dim"), soft_wrap=True)
    if said.grade is not None:
        draw_grade(console, said.grade)
    for verdict in (said.verdict, said.other):
        if verdict is not None:
            draw_verdict(console, verdict, evidence=False, seconds=seconds)
            if json:
                typer.echo(verdict.to_json())
