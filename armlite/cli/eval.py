"""`armlite eval`: judge a benchmark and report figures with intervals; `armlite eval compare`: two runs."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

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

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _renamed(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> None:
    """`--bench` and `--tasks` of earlier versions."""
    if value is not None:
        raise ArmliteError(f"--{parameter.name} is called --benchmark now: write --benchmark {value}")


Renamed = Annotated[str | None, typer.Option(hidden=True, callback=_renamed)]


@app.callback(invoke_without_command=True)
def evaluate(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="run directory, checkpoint, hub id, or openai:MODEL@URL; not for retrieval")
    ] = None,
    benchmark: Annotated[
        str, typer.Option(help="pocket, a JSONL file of tasks, or benchmarks by name, as vstar,hr-bench-4k")
    ] = "pocket",
    path: Annotated[
        Path | None, typer.Option(help="folder of the benchmark's published files (of several: one folder each)")
    ] = None,
    n: Annotated[int | None, typer.Option(min=1, help="number of items  [default: all; pocket: 300]")] = None,
    seed: Annotated[int, typer.Option(help="random seed of pocket tasks, seeded orders and sampling")] = 0,
    no_tools: Annotated[bool, typer.Option("--no-tools", help="show the model no tools")] = False,
    temperature: Annotated[float, typer.Option(min=0, help="0: greedy")] = 0.0,
    votes: Annotated[int, typer.Option(min=1, help="judgments of each presented order")] = 1,
    order: Annotated[
        str | None,
        typer.Option(
            help="as_published, hash, lenparity, md5_swap, both, seeded or seeded_both  [default: the benchmark's own]"
        ),
    ] = None,
    swap: Annotated[
        bool | None, typer.Option("--swap/--no-swap", help="judge pairs in both orders or in one  [default: by order]")
    ] = None,
    workers: WorkersOption = None,
    rules: RulesOption = None,
    endpoint: EndpointOption = None,
    max_tokens: MaxTokensOption = None,
    no_probe: NoProbeOption = False,
    max_calls: Annotated[int | None, typer.Option(min=0, help="tool calls of a judgment")] = None,
    like: Annotated[
        str | None,
        typer.Option(help="reference: prompts, tools, pixels and budgets as ARM-Thinker was evaluated"),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="a single rule, such as crop_max_pixels=12845056; may be repeated"),
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="leave out items whose image files are not there")
    ] = False,
    faithfulness: Annotated[
        bool,
        typer.Option(
            "--faithfulness", help="then swap observations, and say how often verdicts follow; local models only"
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="folder for all results  [default: runs/eval/MODEL]")] = None,
    imports: ImportOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
    bench: Renamed = None,
    tasks: Renamed = None,
) -> None:
    """Evaluate a judge on tasks with gold answers: the pocket world's, a file of your own, or published benchmarks.

    A run that was interrupted goes on when the same command is given again, and makes failed judgments again.

    Example: armlite eval --model runs/pocket --benchmark pocket --n 300 --no-tools

    Example: armlite eval --model openai:judge-7b@http://localhost:8000/v1 --benchmark vl-rewardbench --path data/vlrb

    Example: armlite eval --model openai:arm-thinker@http://localhost:8000/v1 --benchmark vstar --like reference

    Example: armlite eval --benchmark retrieval --path data/mmlongbench-doc
    """
    if context.invoked_subcommand is not None:
        return
    from armlite.cli.evaluation import RETRIEVAL, check_benchmarks, run_all
    from armlite.models import model_prefix

    names = [name.strip() for name in benchmark.split(",")]
    check_benchmarks(names)
    if model is None and benchmark != RETRIEVAL:
        raise ArmliteError("say what is to be evaluated: --model (only --benchmark retrieval needs none)")
    options = {
        "n": n,
        "seed": seed,
        "tools": not no_tools,
        "temperature": temperature,
        "votes": votes,
        "order": order,
        "swap": swap,
        "workers": workers,
        "max_calls": max_calls,
        "skip_missing": skip_missing,
        "options": model_options(model, rules, endpoint, max_tokens, no_probe),
        "like": like,
        "rule": rule or (),
    }
    if faithfulness and (model_prefix(model or "") is not None or RETRIEVAL in names):
        raise ArmliteError(f"--faithfulness needs a model on this machine that judges, not {model or RETRIEVAL}")
    run_all(names, model, path, out, as_json, options, faithfulness)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="folder of an evaluation, or of several")],
    b: Annotated[Path, typer.Argument(help="the other")],
    paper: Annotated[bool, typer.Option("--paper", help="lay the paper's numbers beside both")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the comparison as JSON")] = False,
) -> None:
    """Compare two evaluations: differences with intervals, and a paired test over the items that both have.

    Example: armlite eval compare runs/eval/judge-7b runs/eval/judge-7b-no-tools --paper
    """
    from armlite.cli.evaluation import print_comparison
    from armlite.evals.compare import compare_folders

    compared = compare_folders(a, b, paper)
    if as_json:
        sys.stdout.write(json.dumps(compared, allow_nan=False) + "\n")
    else:
        print_comparison(compared)
