"""Weights that FSDP has sharded across processes: unsharded for a rollout, and gathered for a file.

The engine calls a model's layers by themselves, so in a rollout each process holds all weights, as without FSDP; what
FSDP saves is in the update. Only its second version, which shares tensors out where they are, is supported.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from armlite.errors import ArmliteError
from armlite.stages import GrpoSettings, SftSettings
from armlite.train.processes import count, is_first


def prepare_sharding(stage: SftSettings | GrpoSettings, layer: str) -> None:
    """Check and complete what `accelerate launch` was told, before a model is loaded.

    Args:
        layer: class of the model's text layers, which are shared out as units. Not the vision tower's blocks: images
            are encoded when a process meets them, and the others would not be there to give their part.

    Raises:
        ArmliteError: FSDP of a version, with units or with a stage that it does not work with.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() not in ("1", "true", "yes"):
        return
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise ArmliteError("of FSDP only version 2 works here: accelerate launch --fsdp_version 2, or no FSDP")
    units = os.environ.setdefault("FSDP_TRANSFORMER_CLS_TO_WRAP", layer)
    policy = os.environ.get("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
    if units != layer or policy == "SIZE_BASED_WRAP":
        raise ArmliteError(
            f"FSDP works here in units of {layer} alone: leave --fsdp_auto_wrap_policy and "
            "--fsdp_transformer_layer_cls_to_wrap out"
        )
    if stage.train_vision:
        raise ArmliteError(
            "train_vision does not work with FSDP, for a process whose part of a step shows no image has no gradient "
            "to share: set train_vision: false, or launch without FSDP"
        )


@contextmanager
def unsharded(model: Any) -> Iterator[None]:
    """Inside, each process holds all of a model's weights; all processes must enter and leave together."""
    parts = _parts(model)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()


def full_state_dict(model: Any) -> dict[str, torch.Tensor] | None:
    """A sharded model's weights in the first process, of a PEFT model the adapter's alone; None of one that is not.

    To be called by all processes together; to the others it gives nothing to save.
    """
    if not _parts(model):
        return None
    from peft import PeftModel
    from torch.distributed.tensor import DTensor

    found = {}
    for name, tensor in model.state_dict().items():
        if isinstance(model, PeftModel) and "lora_" not in name:
            continue
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if is_first():
            found[name] = full.detach().cpu()
    return found


def _parts(model: Any) -> list[Any]:
    """The modules that hold sharded weights."""
    if count() == 1:
        return []
    from torch.distributed.fsdp import FSDPModule

    return [module for module in model.modules() if isinstance(module, FSDPModule)]
