"""`armlite export`: a judge as a plain model folder, to be served; `export traces`: judgments for other viewers."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from armlite.errors import ArmliteError, nearest

FORMATS = ("otel", "openinference", "inspect")


class ModelUnlessNamed(TyperGroup):
    """Words that begin with no command's name are about a model: `armlite export RUN --out FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and "--help" not in args:
            args = ["weights", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=ModelUnlessNamed, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def export() -> None:
    """Write a judge as a plain model folder that other programs serve (`weights`, which may be left out), or judgments
    as traces that other programs show.

    Examples:
      armlite export weights runs/pocket --out judge
      armlite export traces runs/pocket/eval --format otel --out traces.json
    """


@app.command("weights")
def weights(
    model: Annotated[str, typer.Argument(help="run directory, checkpoint, adapter or model folder, or hub id")],
    out: Annotated[Path, typer.Option(help="folder to make")],
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16", show_default="as the base is stored")
    ] = None,
    push: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="put it on the hub, too; private")] = None,
    public: Annotated[bool, typer.Option("--public", help="with --push: for everyone to see")] = False,
    gguf: Annotated[bool, typer.Option("--gguf", help="the way to llama.cpp, gone where its converter is")] = False,
    converter: Annotated[
        Path | None, typer.Option(help="llama.cpp's convert_hf_to_gguf.py", show_default="PATH")
    ] = None,
) -> None:
    """Write a judge as a plain model folder that other programs serve: adapters folded in, our chat template, the
    image processor, settings of generation, its rules, and a card made from the run.

    Example: armlite export weights runs/pocket --out judge
    """
    from armlite.train import push as hub
    from armlite.train.export import export_weights
    from armlite.train.gguf import write_gguf

    if public and push is None:
        raise ArmliteError("--public goes with --push OWNER/NAME")
    if push is not None:
        hub.check_push(push)
    done = export_weights(model, out, dtype, name=push)
    typer.echo(f"{out}: serve it, and judge with --model openai:NAME@URL{f' --rules {out}' if done.ruled else ''}")
    if gguf or converter is not None:
        typer.echo("\n".join(write_gguf(out, converter)))
    if push is not None:
        typer.echo(hub.push(out, push, public))


@app.command("traces")
def export_traces(
    path: Annotated[Path, typer.Argument(help="A .jsonl file of trajectories or a folder with some.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    form: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}")] = "otel",
    id: Annotated[str | None, typer.Option("--id", help="Only the trajectories of this task.")] = None,
) -> None:
    """Write judgments as OpenTelemetry traces (OTLP/JSON), with OpenInference's attributes, or as a log of Inspect.

    Only how long a judgment took is kept, not when it was: see `armlite docs trust`.

    Example: armlite export traces runs/pocket/eval --format inspect --out pocket.json
    """
    from armlite import __version__
    from armlite.telemetry.write import write_traces
    from armlite.view.selection import choose, load

    if form not in FORMATS:
        raise ArmliteError(f"--format {form!r} is not known.{nearest(form, FORMATS)} Formats: {', '.join(FORMATS)}")
    rows, _ = load(path, False)
    count = write_traces(choose(rows, None, id), form, path.stem, out, __version__)
    typer.echo(f"{out}: {count:,} judgments as {form}")
