"""A chat model by its name, loaded by its first session: a bad input then costs no minutes of loading.

What `Judge.load` hands to the runner. Weights are loaded once and shared by all temperatures.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

from armlite.calibration import FILE as CALIBRATION
from armlite.loop import ChatModel, ChatSession
from armlite.models import model_prefix
from armlite.models.sampling import Sampling
from armlite.store import pieces_digest

BESIDE = (
    *("settings", "device", "workers", "api_key", "headers", "timeout", "retries", "backoff", "patience"),
    *("probe", "ruled", "called"),
)
"""Options that do not decide what a model writes, but where, how fast and how patiently."""
WEIGHTS = (".safetensors", ".bin", ".json", ".jinja")
"""Endings of the files that do."""


class LazyModel:
    """A `ChatModel` that loads itself.

    Args:
        spec: as for `armlite.models.load_chat_model`.
        sampling: how it writes.
        options: further ones of `load_chat_model`.
    """

    def __init__(self, spec: str, sampling: Sampling, options: Mapping[str, Any]):
        self.spec, self.sampling, self._options = spec, sampling, dict(options)
        self._loaded: dict[float, ChatModel] = {}
        """By temperature; shared by all that `at` made."""

    @property
    def name(self) -> str:
        """As trajectories name it."""
        return next((model.name for model in self._loaded.values()), self.spec.partition("@http")[0])

    @property
    def in_flight(self) -> int:
        """Loads the model."""
        return self.load().in_flight

    def at(self, temperature: float) -> "LazyModel":
        """The same model at another temperature."""
        other = copy.copy(self)
        other.sampling = self.sampling.model_copy(update={"temperature": temperature})
        return other

    def load(self) -> ChatModel:
        """The model itself.

        Raises:
            ArmliteError: there is no such model.
        """
        temperature = self.sampling.temperature
        if temperature not in self._loaded:
            shared = next((m for m in self._loaded.values() if hasattr(m, "sampling")), None)
            if shared is None:
                from armlite.models import load_chat_model

                shared = load_chat_model(self.spec, self.sampling, **self._options)
            self._loaded[temperature] = at_temperature(shared, temperature)
        return self._loaded[temperature]

    def release(self) -> None:
        """Let go of what was loaded, at all temperatures."""
        self._loaded.clear()

    def session(self) -> ChatSession:
        """Start a batch; loads the model if it is not loaded yet."""
        return self.load().session()


def at_temperature(model: Any, temperature: float) -> Any:
    """The same model at a temperature, or as it is where it does not say how it samples."""
    if isinstance(model, LazyModel):
        return model if model.sampling.temperature == temperature else model.at(temperature)
    sampling: Sampling | None = getattr(model, "sampling", None)
    if sampling is None or sampling.temperature == temperature:
        return model
    other = copy.copy(model)
    other.sampling = sampling.model_copy(update={"temperature": temperature})
    return other


def writer_of(model: ChatModel) -> dict[str, Any]:
    """All that decides what a model writes beside its name, temperature and seed, as plain data for settings on disk.

    Of one that is not made from a word nothing is known. Local weights go in as `digest`; a hub's are not looked up.
    """
    if not isinstance(model, LazyModel):
        return {}
    options = {name: value for name, value in model._options.items() if name not in BESIDE}
    if model_prefix(model.spec) is None:
        options["digest"] = weights_digest(model.spec)
    sampling = model.sampling.model_dump(mode="json", exclude={"temperature", "seed", "top_logprobs"})
    return sampling | json.loads(json.dumps(options, default=str))


def weights_digest(spec: str) -> str | None:
    """Hash of the weights that a word for a local model stands for, an adapter's base included; None: not on this disk.

    Raises:
        ArmliteError: a folder that holds no model.
    """
    from armlite.models.places import folders_of

    found = [
        pieces_digest((f for f in d.iterdir() if f.suffix in WEIGHTS and f.name != CALIBRATION), d)
        for d in folders_of(spec)
    ]
    return "+".join(found) or None
