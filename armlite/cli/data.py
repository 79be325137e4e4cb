"""`armlite data`: published sets and the pocket world as tasks, and what is made of tasks."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from armlite.cli import LazyCommands
from armlite.errors import nearest

ELSEWHERE = {
    "build": "armlite.cli.building:build",
    "pairs": "armlite.cli.making:pairs",
    "filter": "armlite.cli.making:filter_",
    "traces": "armlite.cli.making:traces",
    "mix": "armlite.cli.making:mix",
    "lookalike": "armlite.cli.lookalike:lookalike",
}
"""Commands with a file of their own, imported when they are called."""
SHOWN = 20
"""Problems that `check` prints; `--json` has them all."""

Name = Annotated[str, typer.Argument(metavar="SET", help="name of the set, as `armlite data list` shows it")]
Place = Annotated[Path | None, typer.Option("--path", help="folder with the set's files; else from the hub")]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]


class DataCommands(LazyCommands):
    """The commands of this file, and those of the table."""

    table = ELSEWHERE


app = typer.Typer(cls=DataCommands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _data() -> None:
    """Get tasks to judge: from published sets, from the pocket world, or made of other tasks."""


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the published sets that can be read.

    Example: armlite data list
    """
    from armlite.evals.benchmarks import get_set, set_names

    keys = ("name", "title", "use", "licence", "hub", "revision", "config", "split", "mirrors", "counts", "files")
    sets = [get_set(name) for name in set_names()]
    if as_json:
        rows = [{key: getattr(one, key) for key in (*keys, "seen", "notes")} for one in sets]
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    for one in sets:
        rows = one.counts.get("all")
        sys.stdout.write(f"{one.name:<24}{one.use:<11}{rows or '?':>7}  {one.hub or 'not on a hub'}\n")
        sys.stdout.write(f"    licence: {one.licence}\n    reader tried on: {one.seen}\n")


@app.command()
def check(name: Name, path: Place = None, as_json: AsJson = False) -> None:
    """Compare a download of a set, row by row, with its schema and the published counts.

    Example: armlite data check vstar --path downloads/vstar_bench
    """
    from armlite.cli.screen import Counter
    from armlite.data.check import check as run
    from armlite.data.convert import missing_words
    from armlite.evals.benchmarks import get_set

    dataset = get_set(name)
    with Counter("checking") as counter:
        report = run(dataset, path, lambda rows: counter.show(rows, dataset.counts.get("all")))
    if as_json:
        sys.stdout.write(json.dumps(asdict(report), ensure_ascii=False) + "\n")
    else:
        kinds = ", ".join(f"{n} {kind}" for kind, n in report.kinds.items()) or "none"
        lines = [f"{name}: {report.rows} rows, {report.bad} bad, {report.missing_images} files missing; tasks: {kinds}"]
        lines += [f"{p['file']}, row {p['row']}, field {p['field']}: {p['why']}" for p in report.problems[:SHOWN]]
        if report.bad > SHOWN:
            lines.append(f"... and {report.bad - SHOWN} bad rows more; --json lists them")
        if report.missing:
            lines.append(f"missing: {missing_words(tuple(map(Path, report.missing)), path)}")
        lines += [f"differs from what is published: {text}" for text in report.differs]
        lines += [f"template {template}: {n}" for template, n in report.templates.items()]
        sys.stdout.write("\n".join(lines) + "\n")
    if report.bad:
        raise typer.Exit(1)


@app.command()
def convert(
    name: Name,
    out: Annotated[Path, typer.Option(help="task file to write; images go to images/ beside it")],
    path: Place = None,
    n: Annotated[int | None, typer.Option(min=1, help="stop after so many tasks")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first bad row; no task file")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a published set into a file of tasks. Rows that cannot be read are left out, counted and told apart.

    Example: armlite data convert vl-rewardbench --path downloads/vl-rewardbench --out vl/tasks.jsonl
    """
    from armlite.cli.screen import Counter
    from armlite.data.convert import MISSING, REJECTS, missing_words
    from armlite.data.convert import convert as run
    from armlite.errors import ArmliteError
    from armlite.evals.benchmarks import get_set

    dataset = get_set(name)
    if out.exists():
        raise ArmliteError(f"{out} exists; give another --out")
    with Counter("converting") as counter:
        done = run(dataset, path, out, n, strict, lambda rows: counter.show(rows, dataset.counts.get("all")))
    if as_json:
        result = {**asdict(done), "missing": [str(file) for file in done.missing], "file": str(out)}
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(f"{done.tasks} tasks of {done.rows} rows in {out} (licence of the rows: {dataset.licence})\n")
    if done.bad or done.incomplete:
        left = f"{done.bad} bad rows and {done.incomplete} rows with missing files"
        sys.stdout.write(f"left out: {left}; {out.parent / REJECTS} says why\n")
    if done.lost_documents:
        sys.stdout.write(
            f"{done.lost_documents} tasks have lost their document, which is not below {path or 'the set'}/documents: "
            "they have a picture of its pages, and no tool for them\n"
        )
    if done.missing:
        where = out.parent / MISSING
        sys.stdout.write(f"missing files, all in {where}: {missing_words(done.missing, path)}\n")


@app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(help="zip, tar, tar.gz, or a part of a split one (.tar.gz.part_aa)")],
    out: Annotated[Path, typer.Option(help="folder to unpack into")],
    max_gib: Annotated[float, typer.Option(min=0, help="most GiB to write")] = 256.0,
    max_ratio: Annotated[float, typer.Option(min=1, help="most times the archive's size to write")] = 100.0,
    as_json: AsJson = False,
) -> None:
    """Unpack the images of a set; an archive that would write outside the folder is refused.

    Example: armlite data unpack downloads/images.zip --out downloads
    """
    from armlite.cli.screen import Counter
    from armlite.data.archives import unpack as run

    with Counter("unpacking") as counter:
        files = run(archive, out, max_gib, max_ratio, lambda done: counter.show(done, None))
    result = {"files": files, "out": str(out)}
    sys.stdout.write(json.dumps(result) + "\n" if as_json else f"{files} files in {out}\n")


@app.command()
def pocket(
    out: Annotated[Path, typer.Option(help="folder for tasks.jsonl, images/ and documents/")],
    split: Annotated[str, typer.Option(help="train, validation or test: disjoint streams of tasks")] = "train",
    n: Annotated[int, typer.Option(min=1, help="number of tasks")] = 300,
    seed: Annotated[int, typer.Option(help="another seed, other tasks")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print what was made as JSON")] = False,
) -> None:
    """Make tasks of the pocket world.

    Example: armlite data pocket --split test --n 300 --out pocket-test
    """
    from armlite.data.tasks import write_tasks
    from armlite.errors import ArmliteError
    from armlite.pocket.world import SPLITS, generate

    if split not in SPLITS:
        raise ArmliteError(f"there is no split {split!r}.{nearest(split, SPLITS)} Splits: {', '.join(SPLITS)}")
    file = out / "tasks.jsonl"
    if file.exists():
        raise ArmliteError(f"{file} exists; give another --out")
    made = write_tasks(file, generate(split, n, seed, out))
    result = {"tasks": made, "file": str(file), "split": split, "seed": seed}
    sys.stdout.write(json.dumps(result) + "\n" if as_json else f"{made} tasks in {file}\n")
