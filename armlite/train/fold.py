"""LoRA adapters folded into the weights that they go on, tensor by tensor, from safetensors to safetensors.

Neither the model nor a whole file is ever in memory: what is there at a time is one tensor, in float32, beside the
adapters. Adapters of other kinds are merged by PEFT in `armlite.train.export`, which calls this.
"""

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from armlite.errors import ArmliteError
from armlite.models.loading import OLD_NAMES

SHARD = 4 << 30
"""Bytes of a file of weights, unless one tensor has more."""
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
"""Types in safetensors that are converted; all others stay as they are."""
NAMES = {kind: name for name, kind in TYPES.items()}
BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
PREFIX = "base_model.model."
PLAIN = ("use_dora", "use_qalora", "use_bdlora", "alpha_pattern", "rank_pattern", "trainable_token_indices",
         "fan_in_fan_out", "layer_replication", "target_parameters", "arrow_config", "lora_bias")  # fmt: skip
"""Settings of an adapter that make it more than B A; with one of these PEFT merges it."""


@dataclass
class Adapter:
    """A plain LoRA adapter: of each module A `(r, in)` and B `(out, r)`."""

    source: Path
    scale: float
    pairs: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """By the name of the weight that they change."""


def read_adapter(folder: Path) -> Adapter | None:
    """An adapter that can be folded here; None of one that is more than a plain LoRA."""
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    file = folder / "adapter_model.safetensors"
    if config.get("peft_type") != "LORA" or any(config.get(name) for name in PLAIN) or not file.is_file():
        return None
    rank, alpha = config["r"], config["lora_alpha"]
    adapter = Adapter(folder, alpha / (sqrt(rank) if config.get("use_rslora") else rank))
    with safe_open(file, "pt") as tensors:
        names = set(tensors.keys())
        below = {name for name in names if name.endswith(".lora_A.weight")}
        above = {name.replace(".lora_A.", ".lora_B.") for name in below}
        if names != below | above:
            return None
        for name in below:
            weight = renamed(name.removeprefix(PREFIX).replace(".lora_A.", "."))
            pair = tensors.get_tensor(name), tensors.get_tensor(name.replace(".lora_A.", ".lora_B."))
            adapter.pairs[weight] = pair[0].float(), pair[1].float()
    return adapter


def renamed(name: str) -> str:
    """A tensor's name as transformers has had it since 4.52."""
    for old, new in OLD_NAMES.items():
        name = re.sub(old, new, name)
    return name


def fold(base: Path, adapters: Sequence[Adapter], out: Path, dtype: str | None, shard: int = SHARD) -> None:
    """Write the weights of a model folder with adapters added to them, under the names that the folder has for them.

    Args:
        base: folder with `*.safetensors`.
        adapters: all go on the same weights, so that their order does not matter.
        dtype: `float32`, `bfloat16` or `float16`; None: of each tensor the one that it has.
        shard: bytes of a file, at most, unless one tensor has more.

    Raises:
        ArmliteError: an adapter's tensors are for weights that are not there, or of other shapes.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(file, "pt")) for file in sorted(base.glob("*.safetensors"))]
        where = {name: file for file in files for name in file.keys()}  # noqa: SIM118
        _check(where, adapters)
        plan = _shards(where, NAMES[getattr(torch, dtype)] if dtype else None, shard)
        for number, headers in enumerate(plan, 1):
            file = out / _name(number, len(plan))
            _write(file, headers, (_folded(where[n], n, adapters, h["dtype"]) for n, h in headers.items()))
    if len(plan) > 1:
        index = {name: _name(number, len(plan)) for number, headers in enumerate(plan, 1) for name in headers}
        total = sum(h["data_offsets"][1] - h["data_offsets"][0] for headers in plan for h in headers.values())
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=1)
        (out / "model.safetensors.index.json").write_text(text, "utf-8")


def _check(where: Mapping[str, Any], adapters: Sequence[Adapter]) -> None:
    shapes = {renamed(name): file.get_slice(name).get_shape() for name, file in where.items()}
    for adapter in adapters:
        wrong = [n for n, (a, b) in adapter.pairs.items() if shapes.get(n) != [b.shape[0], a.shape[1]]]
        if wrong:
            raise ArmliteError(
                f"the adapter {adapter.source} does not fit its base: {len(wrong)} of its {len(adapter.pairs)} weights "
                f"are not there or of another shape, such as {wrong[0]}"
            )


def _shards(where: Mapping[str, Any], dtype: str | None, most: int) -> list[dict[str, dict[str, Any]]]:
    """What goes into each file: by name type, shape and place, as the header of a safetensors file says it."""
    plan: list[dict[str, dict[str, Any]]] = [{}]
    used = 0
    for name, file in where.items():
        part = file.get_slice(name)
        shape, stored = part.get_shape(), part.get_dtype()
        kind = dtype if dtype and stored in TYPES else stored
        size = BYTES[kind] * int(torch.Size(shape).numel())
        if plan[-1] and used + size > most:
            plan.append({})
            used = 0
        plan[-1][name] = {"dtype": kind, "shape": shape, "data_offsets": [used, used + size]}
        used += size
    return plan


def _name(number: int, total: int) -> str:
    return "model.safetensors" if total == 1 else f"model-{number:05}-of-{total:05}.safetensors"


def _folded(file: Any, name: str, adapters: Sequence[Adapter], kind: str) -> torch.Tensor:
    """One weight, in its type; added up in float32 and rounded once."""
    weight = file.get_tensor(name)
    own = [(a.pairs[renamed(name)], a.scale) for a in adapters if renamed(name) in a.pairs]
    if own:
        weight = weight.float()
        for (below, above), scale in own:
            weight = weight.addmm(above, below, alpha=scale)
    return weight.to(TYPES[kind]) if kind in TYPES else weight


def _write(file: Path, headers: Mapping[str, Any], tensors: Iterator[torch.Tensor]) -> None:
    """A safetensors file (length of the header, header, bytes) whose tensors are made as they are written."""
    header = json.dumps({"__metadata__": {"format": "pt"}, **headers}).encode()
    header += b" " * (-len(header) % 8)
    with file.open("wb") as target:
        target.write(struct.pack("<Q", len(header)) + header)
        for tensor in tensors:
            target.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
