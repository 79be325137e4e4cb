"""What to do when memory runs out: free what can be freed, ask for less at a time, and do the same work again.

It knows nothing of what the work is: the engine and the trainer say how to make it smaller.
"""

import gc
import sys
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")
OOM_WORDS = ("CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory", "CUDA out of memory")
"""How errors that are no `OutOfMemoryError` say the same: of cuBLAS, of the CPU's allocator, of bitsandbytes."""
CAPTURE = "captur"
"""What an error of a capture says."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, or came of one that did.

    Amid the capture of a CUDA graph it does: ending the capture then fails too, with words about the capture alone.
    """
    seen: BaseException | None = error
    while seen is not None:
        known = isinstance(seen, torch.OutOfMemoryError)
        if known or (isinstance(seen, RuntimeError) and any(word in str(seen) for word in OOM_WORDS)):
            return True
        seen = seen.__cause__ or (seen.__context__ if CAPTURE in str(seen).lower() else None)
    return False


def retry_on_oom(work: Callable[[], Result], shrink: Callable[[], None]) -> Result:
    """The result of some work, done again each time memory runs out.

    Args:
        work: starts anew each time it is called.
        shrink: undoes what the work has begun and makes the next try take less; raises where nothing is left to give.
    """
    while True:
        try:
            return work()
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        # Behind the handler: the error's traceback held all that the work had in memory.
        free_memory()
        shrink()


def free_memory() -> None:
    """Give memory that nobody holds any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def print_to_stderr(line: str) -> None:
    """A line for people: stdout is the program's results."""
    print(line, file=sys.stderr, flush=True)
