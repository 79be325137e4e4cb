"""What a repetition takes of memory, part by part, beside what `armlite plan` predicts for the same sizes.

On CUDA from the allocator's counters; on a CPU from the allocator's hooks (PyTorch's profiler, which is slow: such a
repetition is not timed). Only tensors are counted: no library's own workspace, no process. Used by `measure` and `run`.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from armlite.plan.memory import BENCHED, PASSING, Load, moments
from armlite.plan.shapes import Shape
from armlite.recipe import Recipe
from armlite.stages import GrpoSettings, SftSettings

Parts = dict[str, float]
"""Part -> bytes."""
PARTS = ("weights", "adapters", "optimizer", "cache", "rollout", "activations", "sft activations")
"""`rollout`: a prefill pass, a decode step and images on their way, beside cache and features; `optimizer`: gradients
and states; `activations`: what a forward and backward pass takes beside these, of GRPO and of the cold start."""


class Window:
    """The most that tensors take between its two ends, over what they take at the first.

    On a CPU only one may be open at a time.
    """

    def __init__(self) -> None:
        self._cuda = torch.cuda.is_available()
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._start = torch.cuda.memory_allocated()
        else:
            os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its log is of no interest to whoever asks for memory
            self._profile = torch.autograd.profiler.profile(use_kineto=True, profile_memory=True)
            self._profile.__enter__()

    def close(self) -> int:
        """Bytes."""
        if self._cuda:
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated() - self._start
        self._profile.__exit__(None, None, None)
        changes = [(e.start_ns(), e.nbytes()) for e in self._profile.kineto_results.events() if e.name() == "[memory]"]
        held = most = 0
        for _, change in sorted(changes, key=lambda pair: pair[0]):
            held += change
            most = max(most, held)
        return most


def held_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Of the storages of some tensors, each counted once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def state_bytes(model: nn.Module, optimizer: Any = None) -> Parts:
    """Bytes of weights and adapters, and of gradients and the optimizer's states as they are now."""
    adapters, others = [], []
    for name, parameter in model.named_parameters():
        (adapters if "lora_" in name else others).append(parameter)
    found: Parts = {"weights": held_bytes([t for p in others for t in _stored(p)]), "adapters": held_bytes(adapters)}
    if optimizer is not None:
        states = optimizer.state.values()
        kept = [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]
        found["optimizer"] = held_bytes(kept)
    return found


def gradient_bytes(model: nn.Module) -> int:
    """Of all gradients there are."""
    return held_bytes([p.grad for p in model.parameters() if p.grad is not None])


def _stored(parameter: Any) -> list[torch.Tensor]:
    """The tensors that stand for a parameter: a 4-bit one has scales, and scales of these, beside its numbers."""
    tensors, state = [parameter], getattr(parameter, "quant_state", None)
    while state is not None:
        tensors += [value for value in vars(state).values() if isinstance(value, torch.Tensor)]
        state = getattr(state, "state2", None)
    return tensors


def planned(recipe: Recipe, stage: SftSettings | GrpoSettings, shape: Shape, load: Load, size: int) -> Parts:
    """Bytes of each part as `armlite plan` predicts them for what really goes through the model.

    Args:
        size: bytes of a number that is not quantised.
    """
    found = moments(recipe, stage, shape, load, size)
    passing = "activations" if isinstance(stage, GrpoSettings) else "sft activations"
    made: Parts = defaultdict(float)
    for part, gib in found["update"].items():
        made[passing if part in PASSING else BENCHED.get(part, "")] += gib * 2**30
    for part in {"key-value cache", *PASSING} & found.get("rollout", {}).keys():
        made[BENCHED.get(part, "rollout")] += found["rollout"][part] * 2**30
    return made


def compared(predicted: Parts, found: Parts) -> dict[str, dict[str, float]]:
    """Part -> GiB planned and measured, and by what share of the measured the plan is above it."""
    return {
        part: {
            "planned_gib": predicted[part] / 2**30,
            "measured_gib": found[part] / 2**30,
            "error": predicted[part] / found[part] - 1,
        }
        for part in PARTS
        if found.get(part) and part in predicted
    }
