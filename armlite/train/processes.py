"""One process or several of them (`accelerate launch -m armlite train RECIPE`): who writes, who waits, who takes what.

The first process reads, writes and evaluates; all of them train. A step's sequences are shared out, so that a recipe
means the same with any number of processes that divides its batch.
"""

import os
from collections.abc import Callable
from datetime import timedelta

from armlite.errors import ArmliteError

PATIENCE = timedelta(hours=24)
"""How long the others wait while the first process evaluates."""


def count() -> int:
    """Processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def index() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """The one that writes."""
    return index() == 0


def wait() -> None:
    """Go on when all processes are here."""
    if count() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE).wait_for_everyone()


def any_process(yes: bool) -> bool:
    """Whether it is so in any of the processes; all of them have to ask."""
    if count() == 1:
        return yes
    import torch

    flag = torch.tensor(int(yes), device="cuda" if torch.cuda.is_available() else "cpu")
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
    return bool(flag)


def on_first(work: Callable[[], None]) -> None:
    """Do something in the first process while the others wait for it."""
    if is_first():
        work()
    wait()


def share(batch: int, accumulation: int) -> tuple[int, int]:
    """Sequences in a pass and passes in a step for one process, from those of the whole step.

    Raises:
        ArmliteError: the step cannot be shared out evenly.
    """
    n = count()
    if accumulation % n == 0:
        return batch, accumulation // n
    if batch % n == 0:
        return batch // n, accumulation
    raise ArmliteError(
        f"{n} processes cannot share a step of {accumulation} passes of {batch} sequences; make "
        f"gradient_accumulation_steps or per_device_train_batch_size a multiple of {n}"
    )
