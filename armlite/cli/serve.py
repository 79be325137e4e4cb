"""`armlite serve`: a judge for many clients at once, over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from armlite.cli.judge import MaxCallsOption, SeedOption, TemperatureOption
from armlite.cli.model import Asked, with_model


@with_model
def serve(
    asked: Asked,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0: for other machines, too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8765,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable that holds the key clients have to show.")
    ] = None,
    files: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder below which requests may name pictures and documents.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Add the trajectories to this folder, for `armlite view`.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="queue=128 (requests that may wait), seconds=600 (of a request), body_mib=32, megapixels=64, "
            "pages=500, batch=256 (tasks of a request), judgments=1024 (of a request); may be repeated.",
            show_default=False,
        ),
    ] = None,
    max_calls: MaxCallsOption = None,
    temperature: TemperatureOption = 0.0,
    seed: SeedOption = 0,
) -> None:
    """Serve a judge: /v1/judge, /v1/chat/completions (OpenAI's), /v1/systemone (decision models'), /metrics, /health.

    Requests join the running batch and leave it as they end. `armlite docs serve` has an example of each.

    Examples:
      armlite serve --model runs/pocket
      armlite serve --model runs/pocket --host 0.0.0.0 --api-key-env JUDGE_KEY --files pictures
    """
    from armlite.judge import Judge
    from armlite.models import asked_at_once
    from armlite.models.endpoint import shown
    from armlite.serve.run import key_of, name_of, read_limits, say
    from armlite.serve.run import serve as run
    from armlite.serve.settings import ServeSettings

    own = {
        "name": name_of(asked.model),
        "key": key_of(api_key_env),
        "files": files,
        "save": save,
        "workers": asked.workers,
    }
    settings = ServeSettings(**own, **read_limits(limit or ()))
    how = {"temperature": temperature, "seed": seed, "max_calls": max_calls, **asked.options}
    judge = Judge.load(asked.model, **how, **asked_at_once(asked.model, asked.workers))
    say(f"loading {shown(asked.model)}")
    run(judge, settings, host, port, say)
