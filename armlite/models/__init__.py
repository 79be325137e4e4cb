"""Chat models: the local engine, OpenAI-compatible endpoints, a scripted fake. Importing this imports no torch."""

from typing import Any

from armlite.loop import ChatModel
from armlite.models.sampling import EngineSettings, Sampling


def load_chat_model(
    spec: str, sampling: Sampling | None = None, settings: EngineSettings | None = None, **options: Any
) -> ChatModel:
    """The model that a user's word for it stands for.

    Args:
        spec: `openai:MODEL@URL` for an endpoint, else what `armlite.models.loading.load` takes.
        sampling: how it writes. An endpoint has its own `top_k` and `max_context`.
        settings: memory and speed of the local engine; not for an endpoint.
        options: of `OpenAIModel`, or of `load`.

    Raises:
        ArmliteError: there is no such model.
    """
    if spec.startswith("openai:"):
        from armlite.models.openai import OpenAIModel, parse_spec

        if sampling is not None:
            own = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
            options = {**own, "max_tokens": sampling.max_new_tokens, **options}
        return OpenAIModel(*parse_spec(spec), **options)
    from armlite.models.loading import load
    from armlite.models.local import LocalModel

    model, processor = load(spec, **options)
    return LocalModel(model, processor, sampling, settings, name=spec)
