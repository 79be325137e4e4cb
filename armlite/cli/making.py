"""`armlite data pairs | filter | traces | mix`: making judge data. Interrupted, each goes on when called again."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from collections.abc import Callable

    from armlite.data.making.output import Counts

Tasks = Annotated[Path, typer.Option(help="JSONL file of tasks")]
Seed = Annotated[int, typer.Option(help="of all randomness: the same command makes the same file")]
Json = Annotated[bool, typer.Option("--json", help="print the counts as JSON")]
Model = Annotated[str, typer.Option(help="run directory, checkpoint, hub id, or openai:MODEL@URL")]


def pairs(
    tasks: Annotated[Path, typer.Option(help="JSONL file of tasks with a good answer: a gold, or meta.positive")],
    out: Annotated[Path, typer.Option(help="JSONL file of pairwise tasks to make")],
    model: Annotated[
        str | None, typer.Option(help="who writes the flawed answers: a hub id, a folder, or openai:MODEL@URL")
    ] = None,
    inject: Annotated[
        bool, typer.Option("--inject", help="no model: change one known fact of the good answer")
    ] = False,
    benchmarks: Annotated[
        list[Path] | None, typer.Option(help="JSONL file of tasks that must not be trained on; may be repeated")
    ] = None,
    max_similarity: Annotated[
        float, typer.Option(min=0, max=1, help="drop a pair with this share of like words and no other fact")
    ] = 0.95,
    temperature: Annotated[float, typer.Option(min=0, help="of the model")] = 0.7,
    seed: Seed = 0,
    workers: WorkersOption = None,
    rules: RulesOption = None,
    endpoint: EndpointOption = None,
    max_tokens: MaxTokensOption = None,
    no_probe: NoProbeOption = False,
    imports: ImportOption = None,
    as_json: Json = False,
) -> None:
    """Make preference pairs: to each good answer a related one with one flaw.

    Example: armlite data pairs --tasks good.jsonl --inject --benchmarks test.jsonl --out pairs.jsonl
    """
    from armlite.cli.screen import Counter
    from armlite.data.making.pairs import make_pairs
    from armlite.data.tasks import check_tasks
    from armlite.errors import ArmliteError
    from armlite.judge import Judge
    from armlite.models.endpoint import place_free

    if inject == (model is not None):
        raise ArmliteError("give either --model, who writes the flawed answers, or --inject")
    check_tasks(tasks)
    options = model_options(model, rules, endpoint, max_tokens, no_probe, workers)
    judge = Judge.load(model, temperature=temperature, seed=seed, top_logprobs=0, **options) if model else None
    with Counter("pairs", kept=True) as counter:
        counts = make_pairs(
            tasks,
            out,
            judge.model if judge else None,
            name=place_free(model) if model else "",
            benchmarks=benchmarks or (),
            max_similarity=max_similarity,
            seed=seed,
            temperature=temperature if model else 0.0,
            limits=judge and judge.settings.limits,
            in_flight=workers,
            on_task=counter.show,
        )
    _print(counts, out, as_json)


def filter_(
    tasks: Tasks,
    model: Model,
    out: Annotated[Path, typer.Option(help="JSONL file of the tasks that are left")],
    k: Annotated[int, typer.Option(min=1, help="rollouts of each task")] = 5,
    drop_always_wrong: Annotated[
        bool, typer.Option("--drop-always-wrong", help="drop what is never right, too")
    ] = False,
    temperature: Annotated[float, typer.Option(min=0, help="of the rollouts")] = 1.0,
    seed: Seed = 0,
    workers: WorkersOption = None,
    rules: RulesOption = None,
    endpoint: EndpointOption = None,
    max_tokens: MaxTokensOption = None,
    no_probe: NoProbeOption = False,
    imports: ImportOption = None,
    as_json: Json = False,
) -> None:
    """Drop the tasks that a model gets right in every rollout; the others keep their pass rate.

    Example: armlite data filter --tasks pairs.jsonl --model runs/pocket/checkpoints/sft --out hard.jsonl
    """
    from armlite.data.making.filter import filter_tasks

    how = {
        "k": k,
        "drop_always_wrong": drop_always_wrong,
        "temperature": temperature,
        "seed": seed,
        "in_flight": workers,
    }
    options = model_options(model, rules, endpoint, max_tokens, no_probe, workers)
    _print(_played("rollouts", filter_tasks, tasks, (model, options), out, how), out, as_json)


def traces(
    tasks: Tasks,
    model: Model,
    out: Annotated[Path, typer.Option(help="JSONL file of trajectories; their images go to images/ beside it")],
    n: Annotated[int | None, typer.Option(min=1, help="judge only the first so many tasks")] = None,
    k: Annotated[int, typer.Option(min=1, help="rollouts of each task")] = 1,
    messages: Annotated[Path | None, typer.Option(help="write the traces as plain conversations, too")] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0: greedy")] = 0.0,
    seed: Seed = 0,
    workers: WorkersOption = None,
    rules: RulesOption = None,
    endpoint: EndpointOption = None,
    max_tokens: MaxTokensOption = None,
    no_probe: NoProbeOption = False,
    imports: ImportOption = None,
    as_json: Json = False,
) -> None:
    """Let a strong model judge with the tools; keep what has the format, is right, and was helped by a tool.

    Example: armlite data traces --tasks pairs.jsonl --model runs/pocket --out traces.jsonl
    """
    from armlite.data.making.traces import make_traces

    how = {"n": n, "k": k, "messages": messages, "temperature": temperature, "seed": seed, "in_flight": workers}
    options = model_options(model, rules, endpoint, max_tokens, no_probe, workers)
    _print(_played("traces", make_traces, tasks, (model, options), out, how), out, as_json)


def mix(
    recipe: Annotated[Path, typer.Argument(help="YAML file: seed, total, sources (path, n or weight, cap, kinds)")],
    out: Annotated[Path, typer.Option(help="JSONL file of tasks")],
    as_json: Json = False,
) -> None:
    """Mix task files by weights and caps, no task twice.

    Example: armlite data mix mix.yaml --out tasks.jsonl
    """
    from armlite.cli.screen import Counter
    from armlite.data.making.mix import load_mix, mix_tasks

    with Counter("mix", kept=True) as counter:
        counts = mix_tasks(load_mix(recipe), out, counter.show)
    _print(counts, out, as_json)


def _played(
    what: str,
    make: "Callable[..., Counts]",
    tasks: Path,
    model: tuple[str, dict[str, Any]],
    out: Path,
    how: dict[str, Any],
) -> "Counts":
    """Make something of the rollouts of a model, given with its options."""
    from armlite.cli.screen import Counter
    from armlite.data.tasks import check_tasks
    from armlite.judge import Judge
    from armlite.models.endpoint import place_free

    check_tasks(tasks)  # before the hub is asked for a judge
    name, options = model
    judge = Judge.load(name, temperature=how["temperature"], seed=how["seed"], top_logprobs=0, **options)
    with Counter(what, kept=True) as counter:
        return make(tasks, judge.model, judge.settings, out, place_free(name), on_task=counter.show, **how)


def _print(counts: "Counts", out: Path, as_json: bool) -> None:
    """The counts on stdout: what went in is what was kept and every reason together."""
    from armlite.cli.screen import figures_table
    from armlite.data.making.output import rejects_of

    files = {"file": str(out), "rejects": str(rejects_of(out))}
    if as_json:
        sys.stdout.write(json.dumps({**counts.as_json(), **files}) + "\n")
        return
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    table = figures_table(str(out), "", "count")
    table.add_row("in", str(counts.taken_in))
    for why, number in counts.rejected.most_common():
        table.add_row(f"  rejected: {why}", str(number))
    table.add_row("kept", str(counts.kept))
    console.print(table)
    for name, value in counts.more.items():
        if isinstance(value, list):
            rows = Table(*(Column(str(key), overflow="fold") for key in value[0]), title=name, title_justify="left")
            for row in value:
                rows.add_row(*("-" if cell is None else str(cell) for cell in row.values()))
            console.print(rows)
        else:
            shown = value.items() if isinstance(value, dict) else [("", value)]
            console.print(f"{name}: {', '.join(f'{key} {number}'.strip() for key, number in shown)}", highlight=False)
    sys.stdout.write(f"why each was rejected: {files['rejects']}\n")
