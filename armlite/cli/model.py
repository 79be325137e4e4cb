"""The options that say which judge a command asks and how, for commands that take them as one record."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from armlite.cli.judge import DeviceOption, ModelOption, QuantizeOption
from armlite.cli.options import (
    EndpointOption,
    ImportOption,
    MaxTokensOption,
    NoProbeOption,
    RulesOption,
    WorkersOption,
    model_options,
)

OPTIONS: dict[str, tuple[Any, Any]] = {
    "model": (ModelOption, inspect.Parameter.empty),
    "device": (DeviceOption, "auto"),
    "quantize": (QuantizeOption, None),
    "rules": (RulesOption, None),
    "endpoint": (EndpointOption, None),
    "max_tokens": (MaxTokensOption, None),
    "no_probe": (NoProbeOption, False),
    "workers": (WorkersOption, None),
    "imports": (ImportOption, None),
}
"""Name of a parameter -> its option and its value unless given."""


@dataclass(frozen=True)
class Asked:
    """Which judge, and how it is loaded."""

    model: str
    workers: int | None
    options: dict[str, Any]
    """Keywords of `Judge.load`."""


def with_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first parameter is an `Asked`, the options that this is made of."""
    first, *own = inspect.signature(command, eval_str=True).parameters.values()

    @functools.wraps(command)
    def asked(**given: Any) -> None:
        words = {name: given.pop(name) for name in OPTIONS}
        words.pop("imports")  # run by now
        model, workers = words.pop("model"), words.pop("workers")
        place = {name: words.pop(name) for name in ("device", "quantize")}
        command(**{first.name: Asked(model, workers, {**place, **model_options(model, **words)})}, **given)

    plain = inspect.Parameter.KEYWORD_ONLY
    options = [inspect.Parameter(n, plain, default=d, annotation=a) for n, (a, d) in OPTIONS.items()]
    shown = [*options, *(parameter.replace(kind=plain) for parameter in own)]
    asked.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # read by inspect, and so by typer
    asked.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return asked
