"""Options that several commands have."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from armlite.errors import ArmliteError
from armlite.imports import run_imports


def _run(names: list[str] | None) -> list[str]:
    run_imports(names or [])
    return names or []


ImportOption = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="FILE|MODULE",
        help="Run a Python file or module with tools, rewards or models of your own; may be repeated.",
        callback=_run,
        is_eager=True,
        show_default=False,
    ),
]
"""Run before the command itself begins, so the command need not look at it."""

RulesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN|FILE",
        help="Judge by the rules of this run, model folder or file: for a served judge that armlite trained.",
        show_default="what the model's folder brings",
    ),
]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint",
        metavar="KEY=VALUE",
        help="To a server: a field of each request (null leaves it out), header.NAME, api_key, timeout, retries or "
        "patience; env:NAME takes a value from the environment. May be repeated; see `armlite docs servers`.",
        show_default=False,
    ),
]
MaxTokensOption = Annotated[
    int | None, typer.Option(min=1, help="Tokens of a turn.", show_default="by the rules, else 2048")
]
NoProbeOption = Annotated[
    bool, typer.Option("--no-probe", help="Send a server no request to see what it makes of one.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", "--batch", min=1, help="In flight at once.", show_default="server 8, local 32"),
]


def model_options(
    model: str | None,
    rules: Path | None = None,
    endpoint: list[str] | None = None,
    max_tokens: int | None = None,
    no_probe: bool = False,
    workers: int | None = None,
) -> dict[str, Any]:
    """What the options above say, as keywords of `Judge.load`.

    Raises:
        ArmliteError: `--endpoint` is not readable, or the model is no server's.
    """
    from armlite.models import asked_at_once, model_prefix
    from armlite.models.endpoint import endpoint_options
    from armlite.pocket.knowledge import is_pocket

    if model is None:
        return {}
    if is_pocket(model):  # its products are so small that a second thread costs more than it does
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    options: dict[str, Any] = {"rules": rules, "max_new_tokens": max_tokens, **asked_at_once(model, workers)}
    if model_prefix(model) == "openai":
        return {**options, "probe": not no_probe, **endpoint_options(endpoint or ())}
    if endpoint:
        raise ArmliteError(f"--endpoint is for a server (openai:MODEL@URL), which {model} is not")
    return options
