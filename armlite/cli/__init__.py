"""The command line: the table of commands, and what the user sees of each kind of error.

A command is one file, imported when it is called; anything heavy is imported inside its function.
"""

import errno
import io
import logging
import os
import sys
import traceback
import warnings
from importlib import import_module
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup

from armlite.errors import ArmliteError, nearest

COMMANDS = {
    "judge": "armlite.cli.judge:judge",
    "chat": "armlite.cli.chat:chat",
    "serve": "armlite.cli.serve:serve",
    "view": "armlite.cli.view:view",
    "tools": "armlite.cli.tools:app",
    "train": "armlite.cli.train:train",
    "eval": "armlite.cli.eval:app",
    "data": "armlite.cli.data:app",
    "export": "armlite.cli.export:app",
    "agree": "armlite.cli.agree:agree",
    "calibrate": "armlite.cli.calibrate:calibrate",
    "audit": "armlite.cli.audit:audit",
    "label": "armlite.cli.label:label",
    "plan": "armlite.cli.plan:plan",
    "doctor": "armlite.cli.doctor:doctor",
    "bench": "armlite.cli.bench:bench",
    "docs": "armlite.cli.docs:docs",
}
"""Name -> where its function, or its typer app of further commands, is."""


class LazyCommands(TyperGroup):
    """The commands of an app and those of a table, which are imported when they are called."""

    table: ClassVar[dict[str, str]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *self.table]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.table:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.table[cmd_name].partition(":")
        target = getattr(import_module(module), attribute)
        if not isinstance(target, typer.Typer):
            function, target = target, typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            target.command(cmd_name)(function)
        command = typer.main.get_command(target)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args[0] not in known:
            ctx.fail(f"There is no command {args[0]!r}.{nearest(args[0], known)}")
        return super().resolve_command(ctx, args)


class Commands(LazyCommands):
    """All commands, and the end of every error that is not ours."""

    table = COMMANDS

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a full disk or a closed pipe may show only now
            return result
        except (ArmliteError, OSError, KeyboardInterrupt) as error:
            if ctx.params.get("debug") and not isinstance(error, BrokenPipeError):
                traceback.print_exc()
            raise SystemExit(report(error)) from error


def report(error: BaseException) -> int:
    """Say what went wrong in one line on stderr, where there is something to say; returns the exit status.

    Raises:
        BaseException: the error again, where it is a bug of ours.
    """
    if isinstance(error, KeyboardInterrupt):
        return getattr(error, "status", 130)
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone; what is left in the buffer must not be missed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        print(f"error: cannot write {error.filename or 'the output'}: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    if isinstance(error, ArmliteError):
        print(f"error: {error}", file=sys.stderr)
        return 2
    raise error


def _version(wanted: bool) -> None:
    if wanted:
        from armlite import __version__

        typer.echo(f"armlite {__version__}")
        raise typer.Exit


app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def armlite(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Judges that check before they judge: zoom into the picture, look the page up, count the words; then decide.

    Begin with `armlite view --demo`, a judgment to look at that needs no model.
    """


def _one_line(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
    parts = filename.replace("\\", "/").rpartition("site-packages/")[2].split("/")
    whose = "" if "armlite" in parts else f" ({parts[0]})"
    print(f"warning{whose}: {' '.join(str(message).split())}", file=sys.stderr)


def main(args: list[str] | None = None) -> None:
    """Run a command line and exit: 0 done, 1 ran and failed, 2 a mistake of the user, 130 interrupted."""
    args = sys.argv[1:] if args is None else args
    args = sorted(args, key=lambda word: word != "--debug")  # it may stand anywhere
    if args[:1] != ["--debug"] and not sys.warnoptions:
        # Of what libraries say their users' warnings count, a line each and once; not what they tell developers.
        warnings.simplefilter("ignore")
        warnings.simplefilter("once", UserWarning)
        warnings.showwarning = _one_line
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if sys.platform == "linux" and "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        # Sizes differ from step to step: segments that grow leave fewer holes in a card's memory. Read by torch 2.9 on.
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    if "OMP_WAIT_POLICY" not in os.environ:
        # torch's CPU threads wait for each other after every product. Spinning while they wait, beside another busy
        # program they keep the cores from whoever is to arrive: over twenty times slower, measured on two cores, where
        # with a third of libgomp's own count it is four times. With a tenth of that, training on a quiet machine is
        # nearly twice as slow. Read by libgomp when torch is imported.
        os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of few letters is no reason to fail
    try:
        typer.main.get_command(app)(args, prog_name="armlite")
    except KeyboardInterrupt:
        sys.exit(130)
