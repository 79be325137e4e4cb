"""How a local model samples and how much it holds at once: settings (part of recipes), and random numbers by turn.

No torch here: recipes read these before anything heavy is imported.
"""

import hashlib
import json

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

CACHE_BLOCK = 64
"""A slot of the key-value cache holds a multiple of this many tokens."""
FEATURE_BYTES = 256 << 20
"""Image features that stay on an accelerator. Crops of past steps are hardly seen again: more would only fill up over
the first dozens of steps, and what is moved to the CPU comes back in a fraction of what encoding takes."""


class Sampling(BaseModel):
    """What decides the text of a turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """0: the likeliest token, always."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Keep the likeliest tokens that together reach this share."""
    top_k: int = Field(default=0, ge=0)
    """Keep this many of the likeliest tokens; 0: all."""
    max_new_tokens: int = Field(default=2048, ge=1)
    """Tokens a turn may sample; then it finishes as `length`."""
    max_context: int = Field(default=16384, ge=2)
    """Tokens of a whole conversation: prompt, turns, observations and visual tokens."""
    top_logprobs: int = Field(default=0, ge=0)
    """How many of the likeliest tokens are told for each token of an answer: what its probability is read from."""
    seed: int = 0
    """Random seed."""


class EngineSettings(BaseModel):
    """What decides memory and speed of the engine, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_slots: int = Field(default=32, ge=1)
    """Conversations held in the key-value cache at once; the others queue."""
    max_tokens_in_cache: int | None = Field(default=None, ge=1)
    """Size of the key-value cache in tokens (slots times length of the longest); None: as many as the slots need.
    A 7B needs 56 KiB a token."""
    kv_budget_gib: float | None = Field(default=None, gt=0)
    """The same in GiB; give one of the two."""
    prefill_tokens: int = Field(default=4096, ge=1)
    """Tokens, padding included, that go through the model in one prefill pass."""
    cuda_graphs: bool = True
    """Replay decode steps as a CUDA graph, once the first have been checked; without effect on a CPU."""

    @model_validator(mode="after")
    def _one_budget(self) -> "EngineSettings":
        if self.max_tokens_in_cache is not None and self.kv_budget_gib is not None:
            raise ValueError("max_tokens_in_cache and kv_budget_gib are the same budget: give one of them")
        return self


def random_stream(seed: int, task_id: str, rollout: int, turn: int) -> np.random.Generator:
    """Random numbers of one turn: they depend on nothing but these four, so not on who shares its batch."""
    digest = hashlib.sha256(json.dumps([seed, task_id, rollout, turn]).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype=np.uint64)))
