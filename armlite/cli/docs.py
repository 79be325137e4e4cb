"""`armlite docs`: the pages that are shipped with the package, from `armlite/docs`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from armlite.errors import ArmliteError, nearest

FOLDER = Path(__file__).parents[1] / "docs"


def docs(
    page: Annotated[str | None, typer.Argument(help="name of a page  [default: list them]", show_default=False)] = None,
    path: Annotated[bool, typer.Option("--path", help="print where the page's file is")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print names, titles and paths as JSON")] = False,
) -> None:
    """List the pages about armlite, or read one: Markdown, drawn on a terminal and plain in a pipe.

    Example: armlite docs design
    """
    files = {file.stem: file for file in sorted(FOLDER.glob("*.md"))}
    if page is not None and page not in files:
        raise ArmliteError(f"there is no page {page!r}.{nearest(page, files)} Pages: {', '.join(files)}")
    chosen = {page: files[page]} if page is not None else files
    if as_json:
        sys.stdout.write(json.dumps([_about(file) for file in chosen.values()]) + "\n")
    elif path:
        sys.stdout.write("".join(f"{file}\n" for file in chosen.values()))
    elif page is None:
        for row in map(_about, files.values()):
            sys.stdout.write(f"{row['name']}: {row['title']}. {row['about']}\n")
    else:
        _print(files[page].read_text(encoding="utf-8"))


def _about(file: Path) -> dict[str, str]:
    """A page's name, its heading, the first sentence below it (a paragraph of its own), and its path."""
    heading, about = file.read_text(encoding="utf-8").split("\n\n", 2)[:2]
    title = heading.removeprefix("# ")
    return {"name": file.stem, "title": title, "about": " ".join(about.split()), "path": str(file)}


def _print(text: str) -> None:
    if not sys.stdout.isatty():
        sys.stdout.write(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
