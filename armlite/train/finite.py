"""Numbers that are not finite (NaN, infinity): no optimiser step is taken with them and no checkpoint keeps them."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import TrainerCallback

from armlite.errors import ArmliteError
from armlite.models.engine.oom import print_to_stderr
from armlite.train.checkpoints import discard, last_complete
from armlite.train.processes import any_process


class BadSteps(TrainerCallback):
    """Skips an optimiser step whose gradient is not finite, and ends the stage after too many in a row.

    To be put before the callback that writes the metrics: the row of such a step has `skipped` 1, and no loss. Nothing
    is saved amid bad steps, since the weights of the last good one may be why. Where losses are scaled (float16) a step
    is skipped whenever the scale is too large, which then is halved: these do not count before it has come down to 1.

    Args:
        stage: its name, for the sentence that ends it.
        most: bad steps in a row that end the stage.
    """

    def __init__(self, stage: str, most: int):
        self._stage, self._most = stage, most
        self._bad = self._in_a_row = self._good = 0

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Take the gradients away: what has none is left as it is by an optimiser, its moments and decay too."""
        if any_process(not all_finite(p.grad for p in model.parameters() if p.grad is not None)):
            model.zero_grad(set_to_none=True)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        """Count, now that the norm is known; it can be infinite where no gradient is, and the step taken was of 0."""
        norm = (logs or {}).get("grad_norm")
        if norm is None:
            return
        if math.isfinite(norm):
            self._good, self._in_a_row = self._good + 1, 0
            if control.should_save and any_process(not trained_weights_finite(model)):
                raise self._end(args, state, f"the weights are not finite after step {state.global_step}")
            return
        logs |= {"loss": math.nan, "skipped": 1}  # the Trainer gives a mean of earlier losses, or 0
        scaler = getattr(optimizer, "scaler", None)
        if scaler is not None and scaler.get_scale() > 1:
            return
        self._in_a_row += 1
        control.should_save = False
        if self._in_a_row >= self._most or state.global_step >= args.max_steps:
            steps = f"{self._in_a_row} steps in a row, " if self._in_a_row > 1 else ""
            raise self._end(args, state, f"the gradient was not finite in {steps}step {state.global_step}")

    def _end(self, args: Any, state: Any, what: str) -> ArmliteError:
        key = f"stages.{self._stage}"
        why = f"{key}.learning_rate {args.learning_rate:g} is likely too high"
        if getattr(args, "fp16", False):
            why += ", or float16, which ends at 65,504, too narrow for this model (a card with bfloat16 is not)"
        if not self._good and state.global_step == self._in_a_row:
            why = "likely the model it starts from is damaged, for no step was taken before"
        elif args.max_grad_norm > 10:
            why += f", and {key}.max_grad_norm {args.max_grad_norm:g} does not hold it"
        kept = last_complete(Path(args.output_dir))
        kept = f"the last good checkpoint is {kept}" if kept else "there is no checkpoint of this stage yet"
        return ArmliteError(
            f"{self._stage}: {what}; {why}; {kept}; run the stage again with other settings: --stage {self._stage}"
        )


def all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether all numbers of some tensors are finite; of one that is sharded, those that this process holds."""
    local = (t.to_local() if hasattr(t, "to_local") else t for t in tensors)
    found = [torch.isfinite(t).all() for t in local if t.is_floating_point()]
    return not found or bool(torch.stack([f.to(found[0].device) for f in found]).all())  # asks the device once


def trained_weights_finite(model: Any) -> bool:
    """Whether the weights that a stage trains are finite, in this process."""
    return all_finite(p.detach() for p in model.parameters() if p.requires_grad)


def check_trained_weights(stage: str, model: Any) -> None:
    """See that what a stage has trained may be kept; all processes have to ask.

    Raises:
        ArmliteError: a weight is not finite.
    """
    if any_process(not trained_weights_finite(model)):
        raise ArmliteError(
            f"{stage}: the trained weights are not finite, so they are not kept; run the stage again with a lower "
            f"stages.{stage}.learning_rate: --stage {stage}"
        )


def drop_spoilt(folder: Path) -> None:
    """Remove a stage's newest checkpoints as long as they hold weights that are not finite, and say so."""
    while (newest := last_complete(folder)) and not weight_files_finite(Path(newest)):
        print_to_stderr(f"{newest} holds weights that are not finite: not gone on with")
        discard(Path(newest))


def weight_files_finite(folder: Path) -> bool:
    """Whether the weights in a model or adapter folder are finite; reads them tensor by tensor."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            if not all_finite(weights.get_tensor(name) for name in weights.keys()):  # noqa: SIM118  it is no mapping
                return False
    return True
