"""`armlite eval`: judge tasks or benchmarks and report figures with intervals; `armlite eval compare`: two runs."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from armlite.cli.options import ImportOption
from armlite.errors import ArmliteError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
BENCH_ONLY = ("path", "votes", "order", "workers", "max_calls", "skip_missing")
TASKS_ONLY = ("batch", "swap")


@app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="run directory, checkpoint, hub id, or openai:MODEL@URL; not for retrieval")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="pocket, or a JSONL file of tasks  [default: pocket]")] = None,
    bench: Annotated[str | None, typer.Option(help="benchmarks instead of tasks, as vstar,hr-bench-4k")] = None,
    path: Annotated[
        Path | None, typer.Option(help="folder of the benchmark's published files (of several: one folder each)")
    ] = None,
    n: Annotated[int | None, typer.Option(min=1, help="number of tasks; pocket: 300 if not given")] = None,
    seed: Annotated[int, typer.Option(help="of the pocket tasks, the presented orders and the sampling")] = 0,
    no_tools: Annotated[bool, typer.Option("--no-tools", help="show the model no tools")] = False,
    temperature: Annotated[float, typer.Option(min=0, help="0: greedy")] = 0.0,
    swap: Annotated[bool, typer.Option(help="tasks: judge pairs in both orders, for the swap consistency")] = True,
    batch: Annotated[int, typer.Option(min=1, help="tasks: episodes in flight")] = 64,
    votes: Annotated[int, typer.Option(min=1, help="benchmarks: judgments of each presented order")] = 1,
    order: Annotated[
        str | None, typer.Option(help="benchmarks: as_published, hash, lenparity or both  [default: the official one]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="benchmarks: episodes in flight  [default: server 8, local 32]")
    ] = None,
    max_calls: Annotated[int | None, typer.Option(min=0, help="benchmarks: tool calls of a judgment")] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="benchmarks: leave out items whose image files are not there")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="folder for all results  [default: benchmarks: runs/eval/MODEL]")
    ] = None,
    imports: ImportOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Evaluate a judge on tasks with gold answers, or on published benchmarks.

    A benchmark run that was interrupted goes on when the same command is given again, and makes failed judgments again.

    Example: armlite eval --model runs/pocket --tasks pocket --n 300 --no-tools

    Example: armlite eval --model openai:judge-7b@http://localhost:8000/v1 --bench vl-rewardbench --path data/vlrb

    Example: armlite eval --bench retrieval --path data/mmlongbench-doc
    """
    if context.invoked_subcommand is not None:
        return
    _check(context, bench, model, tasks)
    if bench is None:
        summary = _tasks(str(model), tasks or "pocket", n, seed, not no_tools, temperature, swap, batch, out)
        _print(summary, as_json)
        return
    from armlite.cli.benchmarks import run_benches

    options: dict[str, Any] = {
        "n": n,
        "seed": seed,
        "tools": not no_tools,
        "temperature": temperature,
        "votes": votes,
        "order": order,
        "workers": workers,
        "max_calls": max_calls,
        "skip_missing": skip_missing,
    }
    run_benches(_names(bench), model, path, out, as_json, options)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="folder of a benchmark run, or of several")],
    b: Annotated[Path, typer.Argument(help="the other")],
    paper: Annotated[bool, typer.Option("--paper", help="lay the paper's numbers beside both")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the comparison as JSON")] = False,
) -> None:
    """Compare two benchmark runs: differences with intervals, and a paired test over the items that both have.

    Example: armlite eval compare runs/eval/judge-7b runs/eval/judge-7b-no-tools --paper
    """
    from armlite.cli.benchmarks import print_comparison
    from armlite.evals.compare import compare_folders

    compared = compare_folders(a, b, paper)
    if as_json:
        sys.stdout.write(json.dumps(compared, allow_nan=False) + "\n")
    else:
        print_comparison(compared)


def _check(context: typer.Context, bench: str | None, model: str | None, tasks: str | None) -> None:
    """Options that do not go together.

    Raises:
        ArmliteError: some of them.
    """
    given = {name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"}
    if bench is not None and tasks is not None:
        raise ArmliteError("--bench and --tasks are two evaluations: give one of them")
    if bench is not None:
        from armlite.cli.benchmarks import check_names

        check_names(_names(bench))
    if model is None and bench != "retrieval":
        raise ArmliteError("say what is to be evaluated: --model (only --bench retrieval needs none)")
    wrong = sorted(given.intersection(TASKS_ONLY if bench else BENCH_ONLY))
    if wrong:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ArmliteError(f"{named}: for {'--tasks' if bench else '--bench'} only")


def _names(bench: str) -> list[str]:
    return [name.strip() for name in bench.split(",")]


def _tasks(
    model: str,
    tasks: str,
    n: int | None,
    seed: int,
    tools: bool,
    temperature: float,
    swap: bool,
    batch: int,
    out: Path | None,
) -> dict[str, Any]:
    from armlite.cli.screen import Counter
    from armlite.evals.run import evaluate_tasks

    if out is not None and (out / "summary.json").exists():
        raise ArmliteError(f"{out} holds an evaluation already; give another --out")
    with Counter("judging") as counter:
        return evaluate_tasks(model, tasks, n, seed, tools, temperature, swap, batch, out, on_batch=counter.show)


def _print(summary: dict[str, Any], as_json: bool) -> None:
    from armlite.cli.screen import print_summary

    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        print_summary(summary)
