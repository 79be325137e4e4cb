"""`armlite judge`: one judgment, in words or as JSON, or those on a file of rows."""

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
from armlite.errors import ArmliteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from armlite.asking import Asking
    from armlite.judge import Judge
    from armlite.rubric import Grade, Rubric
    from armlite.types import Verdict

ModelOption = Annotated[
    str, typer.Option(help="Hub id, model folder, adapter, run directory, or openai:MODEL@URL.", show_default=False)
]
DeviceOption = Annotated[str, typer.Option(help="Where a local model runs: auto, cpu, cuda, cuda:1, mps.")]
QuantizeOption = Annotated[
    str | None, typer.Option(help="none or 4bit.", show_default="as the run was trained, else none")
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Hub id, model folder, adapter, run directory, or openai:MODEL@URL; several are a panel.",
        show_default="for texts pocket-judge",
    ),
]
TemperatureOption = Annotated[float, typer.Option(min=0, help="0: the likeliest word, always.")]
SeedOption = Annotated[int, typer.Option(help="Of all randomness.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Fetch no picture from the web.")]
MaxCallsOption = Annotated[
    int | None, typer.Option(min=0, help="Tool calls before the judge has to answer.", show_default="the run's, else 5")
]


def judge(
    models: ModelsOption = None,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Judge the rows of a JSONL, JSON, CSV, TSV or parquet file; -: of JSONL from a pipe; "
            "hf:OWNER/NAME[@CONFIG][:SPLIT]: of a set on the hub."
        ),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="What the responses answer; @FILE or - reads it.", show_default=False)
    ] = None,
    response: Annotated[
        list[str] | None, typer.Option(help="A response; repeat for each; @FILE or - reads it.", show_default=False)
    ] = None,
    image: Annotated[list[str] | None, typer.Option(help="A picture: a file or URL; may be repeated.")] = None,
    document: Annotated[Path | None, typer.Option(help="A PDF file or a folder of page images.")] = None,
    constraint: Annotated[list[str] | None, typer.Option(help="What responses must satisfy; may be repeated.")] = None,
    rate: Annotated[bool, typer.Option("--rate", help="One response: rate it from 1 to 10.")] = False,
    rubric: Annotated[
        Path | None, typer.Option(help="Grade one response by a JSON, TOML or YAML file of criteria.")
    ] = None,
    rank: Annotated[bool, typer.Option("--rank", help="Put three or more responses in order, pair by pair.")] = False,
    swap: Annotated[bool, typer.Option("--swap", help="Judge in both presented orders.")] = False,
    votes: Annotated[int, typer.Option(min=1, help="Judge so many times; shows how sure the judge is.")] = 1,
    no_tools: Annotated[bool, typer.Option("--no-tools", help="Judge by eye.")] = False,
    first: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|no-tools", help="Judges first; --model only where it is unsure. no-tools: the same, by eye."
        ),
    ] = None,
    unless: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Probability from which --first is believed.", show_default="0.9"),
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
    save: Annotated[Path | None, typer.Option(help="Add the trajectories to this folder, for `armlite view`.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show what the judge writes while it does.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as one line of JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="With FILE: folder of the verdicts; the same command goes on.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="ROLE=COLUMN,...", help="With FILE: what its columns are, as question=prompt."),
    ] = None,
    n: Annotated[int | None, typer.Option(min=1, help="With FILE: the first so many rows.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR|off", help="With FILE: what was judged before.", show_default="the user's own"),
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, help="With FILE: begin no judgment after so many seconds.")
    ] = None,
    max_total_tokens: Annotated[
        int | None, typer.Option(min=1, help="With FILE: nor after so many tokens, read and written.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="With FILE: nor after such a cost, by --price.")] = None,
    price: Annotated[
        str | None,
        typer.Option(metavar="IN,OUT", help="With FILE: what a million tokens read and written cost."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With FILE: judge once more what failed before.")
    ] = False,
) -> None:
    """Judge responses: one is checked (or rated), of several the best is found (or all are ranked). Or a file of such.

    A file's columns are recognised by their names: question (prompt, query), response_1, response_2 ... or responses,
    response, chosen and rejected, messages, image(s), document, constraint(s), label; or Task records. Its folder gets
    verdicts.jsonl, verdicts.csv, preferences.jsonl and trajectories for `armlite view`.

    Not being able to judge is an answer too: exit status 0, and a `status` that says why.

    Examples:
      armlite judge --model runs/pocket --image race.jpg
        --question "Who is first?" --response "Ann" --response "Bo"
      armlite judge --model openai:judge-7b@http://localhost:8000/v1 --json
        --document report.pdf --question "What was sold?" --response "Tea"
      armlite judge pairs.csv --model runs/pocket --swap --out runs/pairs
      armlite judge pairs.csv --model runs/a --model runs/b --first no-tools --unless 0.95 --out runs/panel
      armlite judge answers.csv --model runs/pocket --rubric rubric.toml --out runs/graded
    """
    if unless is not None and first is None:
        raise ArmliteError("--unless says when --first is believed; give --first, too")
    if first == "no-tools" and no_tools:
        raise ArmliteError("--first no-tools goes on with tools; leave out --no-tools")
    sure = {} if unless is None else {"unless": unless}
    if file is not None:
        if not models:
            raise ArmliteError("give --model: a FILE of rows has no judge of its own")
        single = {"--question": question, "--response": response, "--image": image, "--document": document}
        single |= {"--constraint": constraint, "--save": save, "--stream": stream or None}
        how = {
            "rubric": _rubric(rubric, rate, rank, swap),
            "rate": rate,
            "rank": rank,
            "swap": swap,
            "votes": votes,
            "tools": not no_tools,
            "max_calls": max_calls,
        }
        how |= {
            "temperature": temperature,
            "seed": seed,
            "columns": columns or (),
            "n": n,
            "retry_failed": retry_failed,
            "cache": cache,
            "max_seconds": max_seconds,
            "max_total_tokens": max_total_tokens,
            "max_cost": max_cost,
            "price": price,
        }

        def options(model: str) -> dict[str, Any]:
            own = {"quantize": quantize, **model_options(model, rules, endpoint, max_tokens, no_probe)}
            return {"device": device, **own}

        _judge_file(file, (models, first, sure), out, single, json, {**how, "workers": workers, "options": options})
        return
    budgets = (max_seconds, max_total_tokens, max_cost, price)
    if any(given is not None for given in (out, columns, n, cache, *budgets)) or retry_failed:
        raise ArmliteError(
            "--out, --map, --n, --cache, --retry-failed, --price and budgets are for a FILE of rows; there is none"
        )
    question, response = _given(question, response)
    from armlite.cli.grade import draw_grade, save_all
    from armlite.cli.verdict import Progress, draw_verdict
    from armlite.cli.watching import Watching, watched
    from armlite.judge import Judge, check_folder
    from armlite.models.endpoint import shown
    from armlite.pocket.knowledge import SHIPPED, doubt, or_shipped
    from armlite.remote import refuse_urls
    from armlite.types import Verdict
    from armlite.view.terminal import open_console

    if save is not None:
        check_folder(save)
    if offline:
        refuse_urls(image or ())
    how = {"device": device, "quantize": quantize, "temperature": temperature, "seed": seed, "max_calls": max_calls}

    def load(model: str) -> Judge:
        return Judge.load(model, **how, **model_options(model, rules, endpoint, max_tokens, no_probe, workers))

    named = or_shipped(models or [], files=bool(image or document))
    judge = _several(load, named, first, sure)
    progress = Progress(several=votes > 1 or swap or rank or rubric is not None or len(named) > 1)
    if models:
        progress.say(f"judging with {' and '.join(map(shown, models))}")
    for warning in (None if models else SHIPPED, *(doubt(model, question) for model in named)):
        if warning:
            progress.console.print(warning, style="dim", soft_wrap=True)
    given = (image or (), document, constraint or ())
    with Watching(progress.console, text=stream) as watching:
        progress.watching = watching
        watched(judge, watching.on_wait)
        asked = {"votes": votes, "tools": () if no_tools else None, "on_step": progress}
        asked["on_text"] = watching.on_text if stream else None
        found = _ask(judge, question, response, given, (rate, rank, swap), asked, rubric)
    if json:
        typer.echo(found.to_json())
    elif isinstance(found, Verdict):
        draw_verdict(open_console(), found, seconds=watching.seconds)
    else:
        draw_grade(open_console(), found)
    if save is not None:
        progress.say(f"saved to {save_all(found, save)}; look at it with: armlite view {save}")


def _given(question: str | None, responses: list[str] | None) -> tuple[str, list[str]]:
    """The texts, read from files or standard input where that is asked for.

    Raises:
        ArmliteError: one is missing, a file cannot be read, or both are to be read from standard input.
    """
    if question is None or not responses:
        raise ArmliteError(f"give {'--response' if question else '--question'}, or a FILE of rows to judge")
    if [question, *responses].count("-") > 1:
        raise ArmliteError("standard input (-) can be read once only: give the other text as it is or as @FILE")
    return _read(question), [_read(text) for text in responses]


def _read(text: str) -> str:
    if text == "-":
        return sys.stdin.read().removesuffix("\n")
    if not text.startswith("@"):
        return text
    from armlite.chat.paths import read_text

    return read_text(text[1:])


def _several(
    load: "Callable[[str], Judge]", models: list[str], first: str | None, unless: dict[str, float]
) -> "Asking":
    """The judge that the models make: one, a panel, or either after a first one."""
    from armlite.panel import Cascade, Panel

    judges = [load(model) for model in models]
    judge: Asking = judges[0] if len(judges) == 1 else Panel(judges, keep=False)
    if first is None:
        return judge
    return Cascade(judges[0].without_tools() if first == "no-tools" else load(first), judge, **unless)


def _judge_file(
    file: Path,
    several: tuple[list[str], str | None, dict[str, float]],
    out: Path | None,
    single: dict[str, Any],
    as_json: bool,
    how: dict[str, Any],
) -> None:
    """Judge the rows of a file and print what came of it.

    Args:
        several: models, the first one, and `unless` where it is given.

    Raises:
        ArmliteError: an option of a single judgment, no `--out`, or as `judge_file`.
    """
    from json import dumps

    from armlite.batch.panel import judge_file_by
    from armlite.batch.run import judge_file
    from armlite.cli.batch import draw_summary
    from armlite.cli.screen import Counter
    from armlite.models.endpoint import shown

    if wrong := [name for name, value in single.items() if value is not None]:
        raise ArmliteError(f"{wrong[0]} is for a single judgment, not for a FILE of rows")
    if out is None:
        raise ArmliteError(f"give --out: the folder for the verdicts on {file}")

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    models, first, unless = several
    with Counter(file.stem or "rows", kept=True) as counter:
        how |= {"on_progress": counter.show, "say": say}
        if len(models) == 1 and first is None:
            say(f"judging {file} with {shown(models[0])}")
            summary = judge_file(file, models[0], out, **{**how, "options": how["options"](models[0])})
        else:
            how["on_model"] = lambda model: say(f"judging {file} with {shown(model)}")
            summary = judge_file_by(file, models, out, first=first, **unless, **how)
    if as_json:
        typer.echo(dumps(summary))
    else:
        draw_summary(summary, out)


def _rubric(file: Path | None, rate: bool, rank: bool, swap: bool) -> "Rubric | None":
    """The rubric of a file.

    Raises:
        ArmliteError: it cannot be read, or goes with another option.
    """
    if file is None:
        return None
    for name, given in (("--rate", rate), ("--rank", rank), ("--swap", swap)):
        if given:
            raise ArmliteError(f"--rubric grades single responses; leave out {name}")
    from armlite.rubric import read_rubric

    return read_rubric(file)


def _ask(
    judge: "Asking",
    question: str,
    responses: list[str],
    given: tuple[Any, ...],
    kind: tuple[bool, bool, bool],
    how: dict[str, Any],
    rubric: "Path | None",
) -> "Verdict | Grade":
    """The judgment that the flags (`kind`: rate, rank, swap) and the number of responses ask for."""
    rate, rank, swap = kind
    if (read := _rubric(rubric, *kind)) is not None:
        if len(responses) > 1 or given[2]:
            raise ArmliteError(
                "--rubric says what responses must satisfy; leave out --constraint"
                if given[2]
                else f"--rubric grades one response; there are {len(responses)}"
            )
        return judge.grade(question, responses[0], read, *given[:2], **how)
    if len(responses) == 1:
        if swap or rank:
            raise ArmliteError(f"--{'swap' if swap else 'rank'} needs two or more responses; there is one")
        return (judge.rate if rate else judge.check)(question, responses[0], *given, **how)
    if rate:
        raise ArmliteError(f"--rate rates one response; there are {len(responses)}")
    if rank and swap:
        raise ArmliteError("--rank judges every pair in both orders anyway; leave out --swap")
    if rank:
        return judge.rank(question, responses, *given, **how)
    return judge.compare(question, responses, *given, swap=swap, **how)
