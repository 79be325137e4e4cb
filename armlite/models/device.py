"""Where a local model runs, and in which type it computes there.

Qwen's models were trained in bfloat16. Cards before 2020 (T4, V100, RTX 20) compute in float16 instead, which ends at
65,504: numbers in the vision tower are known to exceed that (llama.cpp issue 17534, vllm issue 13817: in the last block
of Qwen2.5-VL's; unsloth-zoo pull request 720: in Qwen3-VL's), so it computes in float32 there (`spare_the_tower`).
Where the text overflows all the same, the sampler and the trainer say so and stop.
"""

import re
from typing import Any

import torch

from armlite.errors import ArmliteError

DEVICES = re.compile(r"auto|cpu|cuda(:\d+)?|mps")


def find_device(word: str) -> str:
    """The device that a user's word stands for: `auto` is CUDA where there is one, else the CPU.

    Apple's `mps` has to be named: nothing was measured on it, and what is trained runs on CUDA or the CPU.

    Raises:
        ArmliteError: it is no such word, or this machine has no such device.
    """
    if not DEVICES.fullmatch(word):
        raise ArmliteError(f"device {word!r} is not one of auto, cpu, cuda, cuda:N, mps")
    if word.startswith("cuda") and not torch.cuda.is_available():
        raise ArmliteError(f"device is {word!r}, but this machine (or this build of torch) has no CUDA: use 'cpu'")
    if word == "mps" and not torch.backends.mps.is_available():
        raise ArmliteError("device is 'mps', but this machine (or this build of torch) has no Apple GPU: use 'cpu'")
    return ("cuda" if torch.cuda.is_available() else "cpu") if word == "auto" else word


def has_bfloat16(device: str) -> bool:
    """Whether a device computes in bfloat16 itself. Torch emulates it on older cards, several times slower."""
    if not device.startswith("cuda"):
        return device == "cpu"
    return torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] >= 8


def usual_dtype(device: str) -> torch.dtype:
    """What `auto` stands for: float32 on a CPU, elsewhere bfloat16, or float16 where there is none (so on `mps`)."""
    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if has_bfloat16(device) else torch.float16


def spare_the_tower(model: Any) -> None:
    """Let the vision tower of a float16 model compute in float32, under autocast too; what comes out is float16 again
    where it meets the text.
    """
    tower = model.model.visual.float()
    forward, kind = tower.forward, tower.device.type

    def in_float32(pixels: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(kind, enabled=False):
            return forward(pixels.float(), *args, **kwargs)

    tower.forward = in_float32
