"""A chat model by its name, loaded by its first session: a bad input then costs no minutes of loading.

What `Judge.load` hands to the runner. Weights are loaded once and shared by all temperatures.
"""

import copy
from collections.abc import Mapping
from typing import Any

from armlite.loop import ChatModel, ChatSession
from armlite.models.sampling import Sampling


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
