"""Checkpoints that survive a kill: a folder counts only once its marker is on disk, and results appear by renaming."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from armlite.errors import ArmliteError
from armlite.store import sync, write_atomic
from armlite.train.stopping import StopAfterStep

MARKER = "complete"
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
"""What the operating system says of a disk that takes no more."""


class CompleteCheckpoints(TrainerCallback):
    """Marks each of the Trainer's checkpoints when all of it has been written and synced."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Sync and mark the newest checkpoint."""
        newest = get_last_checkpoint(args.output_dir)
        if newest is not None and state.is_world_process_zero:
            sync_tree(Path(newest))
            write_atomic(Path(newest) / MARKER, f"{state.global_step}\n")


def last_complete(folder: Path) -> str | None:
    """The newest marked checkpoint below a folder; unmarked ones, torn by a kill, are removed."""
    found = []
    for path in folder.glob("checkpoint-*"):
        if (path / MARKER).is_file():
            found.append((int(path.name.removeprefix("checkpoint-")), path))
        else:
            shutil.rmtree(path)
    return str(max(found)[1]) if found else None


def train_to_end(trainer: Any, resume: bool) -> Any:
    """Train, from the last complete checkpoint with `resume`; returns the trained model.

    A Trainer that resumes when all steps are done takes one more, so then the weights are only loaded.

    Raises:
        Stopped: by a signal (`armlite.train.stopping`).
    """
    trainer.remove_callback(PrinterCallback)  # stdout is not for progress
    if not isinstance(trainer.model, PeftModel):
        trainer._load_from_checkpoint = partial(_load_whole, trainer.model)
    folder = Path(trainer.args.output_dir)
    newest = last_complete(folder) if resume else None
    if newest is not None and last_step(folder) >= trainer.args.max_steps:
        trainer._load_from_checkpoint(newest)
    else:
        StopAfterStep(partial(last_step, folder)).train(trainer, newest)
    return trainer.model


def _load_whole(model: Any, checkpoint: str, _: Any = None) -> None:
    """Put a checkpoint's weights into a model.

    The Trainer's own loader goes by the names in memory; Qwen2.5-VL is saved under older ones, so that it would
    leave all weights as they are, and go on from there without an error.
    """
    saved = type(model).from_pretrained(checkpoint, dtype=model.dtype)
    model.load_state_dict(saved.state_dict())


def last_step(folder: Path) -> int:
    """Steps done in the newest complete checkpoint; 0 without one."""
    newest = last_complete(folder)
    return int(Path(newest).name.removeprefix("checkpoint-")) if newest else 0


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below to the disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def discard(folder: Path) -> None:
    """Remove a folder at once: what is left after a kill in between no longer has its name."""
    trash = folder.with_name(folder.name + ".old")
    shutil.rmtree(trash, ignore_errors=True)
    if folder.is_dir():
        folder.rename(trash)
        shutil.rmtree(trash)


def draft_of(folder: Path) -> Path:
    """Where `publish` writes what is to become a folder."""
    return folder.with_name(folder.name + ".writing")


def publish(folder: Path, write: Callable[[Path], None], go_on: bool = False) -> None:
    """Make a whole folder appear at once: write it under another name, sync, rename.

    Args:
        go_on: what a kill left of an earlier try stays; `write` goes on with it.
    """
    draft = draft_of(folder)
    if not go_on:
        shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, exist_ok=go_on)
    write(draft)
    sync_tree(draft)
    draft.rename(folder)


@contextmanager
def disk_errors(output: Path) -> Iterator[None]:
    """What a disk that is full or write-protected does to a run, as one line."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK:
            raise
        why, place = error.strerror, error.filename or output
    except Exception as error:  # whatever torch and safetensors make of it
        if not re.search(r"\(os error (27|28|30|122)\)|PytorchStreamWriter|inline_container", str(error)):
            raise
        why, place = os.strerror(errno.ENOSPC), output
    else:
        return
    raise ArmliteError(f"cannot write {place}: {why}; make room, and --resume goes on from the last checkpoint")
