"""`armlite tools`: what tools there are, what the model reads about each, and any of them by hand on real files."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from armlite.cli.options import ImportOption

if TYPE_CHECKING:
    from armlite.memory import Memory
    from armlite.tools.tool import Tool
    from armlite.types import Observation

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
NEEDS = {
    "image": "To look closer at a picture",
    "document": "To find pages of a document",
    "constraints": "To check a response against its constraints",
    "nothing": "Always",
}
"""What a tool needs -> the heading it is listed under."""
Name = Annotated[str, typer.Argument(help="Name of the tool.", show_default=False)]
Words = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Text as it is, numbers and lists as JSON.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def tools() -> None:
    """List the judge's tools, read their manuals, run one by hand."""


@app.command("list")
def list_tools(imports: ImportOption = None, json: Json = False) -> None:
    """List all tools with what they need and where they come from.

    Example: armlite tools list --import my_tools.py
    """
    from armlite.imports import origin
    from armlite.tools import all_tools

    tools = sorted(all_tools().values(), key=lambda t: list(NEEDS).index(t.needs))
    rows = [{"name": t.name, "needs": t.needs, "origin": origin(t), "description": t.description} for t in tools]
    if json:
        typer.echo(jsonlib.dumps(rows, ensure_ascii=False))
        return
    from rich.padding import Padding
    from rich.text import Text

    from armlite.view.terminal import WIDTH, open_console

    console, needs = open_console(), ""
    for row in rows:
        if row["needs"] != needs:
            needs = row["needs"]
            console.print(Text(NEEDS[needs], style="bold"))
        whose = "" if row["origin"] == "shipped" else f"  from {row['origin']}"
        console.print(Text.assemble((f"  {row['name']}", "cyan"), (whose, "dim")), soft_wrap=True)
        console.print(Padding(Text(row["description"], style="dim"), (0, 0, 0, 6)), width=min(console.width, WIDTH))


@app.command()
def show(name: Name, imports: ImportOption = None, json: Json = False) -> None:
    """Show the manual of a tool as the model reads it.

    Example: armlite tools show image_zoom_in_tool
    """
    from armlite.tools import get_tool

    tool = get_tool(name)
    if json:
        typer.echo(jsonlib.dumps(tool.schema, ensure_ascii=False))
        return
    from rich.padding import Padding
    from rich.text import Text

    from armlite.view.terminal import WIDTH, open_console

    console = open_console()
    width = min(console.width, WIDTH)
    console.print(Text.assemble((tool.name, "bold cyan"), (f"  needs: {tool.needs}", "dim")))
    console.print(Text(tool.description), width=width)
    for parameter, about in tool.schema["function"]["parameters"]["properties"].items():
        optional = "" if parameter in tool.required else ", optional"
        console.print(Text.assemble("\n", (parameter, "bold"), (f"  {about['type']}{optional}", "dim")))
        console.print(Padding(Text(about["description"]), (0, 0, 0, 4)), width=width)
    console.print(Text(f"\n{tool.usage()}", style="dim"), width=width)


@app.command()
def run(
    name: Name,
    arguments: Words = None,
    image: Annotated[list[Path] | None, typer.Option(help="A picture: original_image; may be repeated.")] = None,
    document: Annotated[Path | None, typer.Option(help="A PDF file or a folder of page images.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A response: resp_1, resp_2, ...; may be repeated.")] = None,
    imports: ImportOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures that the tool makes.")] = None,
    json: Json = False,
) -> None:
    """Run a tool as a judge would. A tool that fails says what the model would read, with exit status 1.

    Examples:
      armlite tools run image_zoom_in_tool --image photo.jpg
        image=original_image "bbox_2d=[400, 400, 600, 600]" --out crops
      armlite tools run doc_page_retrieval_by_query --document paper.pdf
        filename=paper query="Table 2" --json
    """
    from armlite.errors import ToolError
    from armlite.tools import get_tool
    from armlite.types import Observation

    tool = get_tool(name)
    values = read_arguments(tool, arguments or [])
    memory = _memory(image or [], document, text or [])
    try:
        seen = tool(memory, **values)
    except ToolError as error:
        seen = Observation(ok=False, text=str(error), tool=name)
    files = _keep(memory, seen, out)
    if json:
        typer.echo(jsonlib.dumps(_as_json(memory, seen, files), ensure_ascii=False))
    else:
        _draw(memory, seen, files)
    if not seen.ok:
        raise typer.Exit(1)


def read_arguments(tool: "Tool", words: list[str]) -> dict[str, Any]:
    """Arguments of a tool from `key=value` words: text as it stands, everything else as JSON.

    Raises:
        ArmliteError: a word without `=`, or a value that is not JSON where the tool wants a number or a list.
    """
    from armlite.errors import ArmliteError

    values: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ArmliteError(f"argument {word!r} is not of the form key=value. {tool.usage()}")
        properties = tool.schema["function"]["parameters"]["properties"]
        kind = properties.get(key, {}).get("type", "any")
        try:
            values[key] = value if kind == "string" else jsonlib.loads(value)
        except ValueError as error:
            if kind == "any":
                values[key] = value
                continue
            raise ArmliteError(f"argument {word!r}: {key} is of type {kind}, as in JSON. {tool.usage()}") from error
    return values


def _memory(images: list[Path], document: Path | None, texts: list[str]) -> "Memory":
    from armlite.images import open_image
    from armlite.memory import Memory
    from armlite.tools.documents.pages import open_document

    return Memory([open_image(path) for path in images], texts, open_document(document) if document else None)


def _keep(memory: "Memory", seen: "Observation", out: Path | None) -> dict[str, Path]:
    """Write the observation's pictures; image id -> file."""
    if out is None:
        return {}
    from armlite.images import as_png
    from armlite.store import write_atomic

    files = {image: out / f"{memory.wire_name(image)}.png" for image in seen.images}
    for image, file in files.items():
        write_atomic(file, as_png(memory.images[image]))
    return files


def _as_json(memory: "Memory", seen: "Observation", files: dict[str, Path]) -> dict[str, Any]:
    """The observation with the tool's own figures beside it."""
    images = []
    for image in seen.images:
        info = memory.infos[image]
        about = {"name": memory.wire_name(image), "width": info.width, "height": info.height, "page": info.page}
        images.append({**about, "file": str(files[image]) if image in files else None})
    return {**seen.data, "ok": seen.ok, "tool": seen.tool, "text": seen.text, "images": images}


def _draw(memory: "Memory", seen: "Observation", files: dict[str, Path]) -> None:
    """What the tool says on stdout, with its pictures; a complaint on stderr."""
    import os

    from armlite.view import text as words
    from armlite.view.images import Gallery, Picture, choose_protocol
    from armlite.view.terminal import open_console

    if not seen.ok:
        typer.echo(words.literal(seen.text), err=True)
        return
    typer.echo(words.literal(seen.text))
    console = open_console()
    pictures = [
        Picture(words.caption(info), memory.images[info.id], crop.box if crop else None)
        for info, crop in words.pictured(seen.images, memory.infos)
    ]
    if pictures:
        console.print()
        console.print(Gallery(pictures, choose_protocol(os.environ, console.is_terminal), 0, 46, 20))
    for image in seen.images:
        if image in files:
            typer.echo(f"wrote {files[image]}", err=True)
    if pictures and not files:
        typer.echo("keep the pictures with --out FOLDER", err=True)
