"""Chat models: the local engine, OpenAI-compatible endpoints, a scripted fake, and the user's own by `@chat_model`.
Importing this imports no torch.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from armlite.errors import ArmliteError, nearest
from armlite.imports import check_free, imports_hint
from armlite.loop import ChatModel
from armlite.models.sampling import EngineSettings, Sampling

Maker = TypeVar("Maker", bound=Callable[..., ChatModel])


def _endpoint(name: str, sampling: Sampling | None, **options: Any) -> ChatModel:
    """An OpenAI-compatible endpoint: `openai:MODEL@URL`. It has its own `top_k` and `max_context`."""
    from armlite.models.endpoint import parse_spec
    from armlite.models.openai import OpenAIModel

    if sampling is not None:
        own = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
        own["top_logprobs"] = min(sampling.top_logprobs, 5)  # they are sent for each token of a turn
        options = {**own, "max_tokens": sampling.max_new_tokens, **options}
    return OpenAIModel(*parse_spec(f"openai:{name}"), **options)


_MAKERS: dict[str, Callable[..., ChatModel]] = {"openai": _endpoint}
"""Prefix -> what makes a model of the rest of its name."""


def chat_model(maker: Maker) -> Maker:
    """Make a function `(name, sampling) -> ChatModel` known: called `mine`, it makes the model `mine:NAME`.

    `sampling` is an `armlite.models.sampling.Sampling`: temperature, seed and budgets to write with.

    Raises:
        ArmliteError: there is another one of that name, shipped or from another file.
    """
    check_free("chat model", maker.__name__, maker, _MAKERS.get(maker.__name__))
    _MAKERS[maker.__name__] = maker
    return maker


def model_prefix(spec: str) -> str | None:
    """What makes the model: `openai`, or the name of a user's function. None: a local model (folder or hub id)."""
    prefix = re.match(r"([A-Za-z_]\w*):", spec)
    return prefix[1] if prefix and not Path(spec).exists() else None


def maker_of(prefix: str) -> Callable[..., ChatModel]:
    """What makes the models of a prefix.

    Raises:
        ArmliteError: there is none of that name; names the nearest.
    """
    if prefix not in _MAKERS:
        known = ", ".join(f"{name}:" for name in _MAKERS)
        raise ArmliteError(f"there is no model {prefix}:.{nearest(prefix, _MAKERS)} Known: {known}{imports_hint()}")
    return _MAKERS[prefix]


def asked_at_once(spec: str, in_flight: int | None) -> dict[str, Any]:
    """Options of `load_chat_model` for so many conversations in flight: a server's model has a thread for each."""
    return {"workers": in_flight} if in_flight is not None and model_prefix(spec) == "openai" else {}


def load_chat_model(
    spec: str,
    sampling: Sampling | None = None,
    settings: EngineSettings | None = None,
    called: str | None = None,
    **options: Any,
) -> ChatModel:
    """The model that a user's word for it stands for.

    Args:
        spec: `openai:MODEL@URL`, `mine:NAME` of a `@chat_model`, else what `armlite.models.loading.load` takes.
        sampling: how it writes.
        settings: memory and speed of the local engine; for no other.
        called: what trajectories call a local model; None: as `spec` does.
        options: of `OpenAIModel`, of the user's function, or of `load`.

    Raises:
        ArmliteError: there is no such model.
    """
    if prefix := model_prefix(spec):
        return maker_of(prefix)(spec.removeprefix(f"{prefix}:"), sampling, **options)
    from armlite.models.loading import load
    from armlite.models.local import LocalModel

    model, processor = load(spec, **options)
    return LocalModel(model, processor, sampling, settings, name=called or spec)
