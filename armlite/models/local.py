"""A model on this machine as a `ChatModel`: transformers weights and the rollout engine."""

from typing import Any

from armlite.models.engine.selfcheck import SelfCheck
from armlite.models.engine.session import EngineSession, Script
from armlite.models.engine.vision import VisionCache
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.sampling import EngineSettings, Sampling

__all__ = ["EngineSettings", "LocalModel", "Sampling"]


class LocalModel:
    """Answers conversations with a model on this machine.

    Args:
        model: of an architecture in `armlite.models.bases`, possibly in a PEFT wrapper, possibly 4-bit.
        processor: from `armlite.models.processor`.
        sampling: what decides the text.
        settings: what decides memory and speed.
        vision: encoded images, to share with a trainer; by default an own one.
        script: plays token ids instead of sampling them, for tests and benchmarks.
        name: how trajectories name the model.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        sampling: Sampling | None = None,
        settings: EngineSettings | None = None,
        vision: VisionCache | None = None,
        script: Script | None = None,
        name: str | None = None,
    ):
        self.model, self.processor, self.script = model, processor, script
        self.sampling, self.settings = sampling or Sampling(), settings or EngineSettings()
        self.vision = vision or VisionCache(model, processor)
        self.check = SelfCheck()
        """What is known of the engine's fast ways on this model."""
        self.name = name or getattr(model.config, "_name_or_path", "") or "local"
        self._vocabulary = Vocabulary(processor.tokenizer, model.config.get_text_config().vocab_size)

    @property
    def in_flight(self) -> int:
        """One conversation a slot of the key-value cache: whoever ends frees it for the next."""
        return self.settings.max_slots

    def spell(self, turn: str) -> list[int]:
        """The token ids of a turn, for a script."""
        return self._vocabulary.spelled(turn)

    def session(self) -> EngineSession:
        """Start a batch."""
        if not self.vision.frozen:
            self.vision.clear()
        return EngineSession(
            self.model, self._vocabulary, self.vision, self.sampling, self.settings, self.script, self.check
        )
