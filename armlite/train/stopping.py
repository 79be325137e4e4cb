"""Ctrl-C and SIGTERM in a run: the step at hand is finished and saved, a second signal ends it at once."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from armlite.models.engine.oom import print_to_stderr
from armlite.train.processes import any_process, is_first

SOON = 10.0
"""Seconds: whoever wants to stop need not wait for a save that takes longer."""


class Stopped(KeyboardInterrupt):
    """A signal has ended a run; the message says where.

    Args:
        number: of the signal; `status` is the exit status that goes with it.
    """

    def __init__(self, where: str, number: int):
        super().__init__(where)
        self.status = 128 + number


@contextmanager
def on_signal(receive: Callable[[int, Any], None]) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM go to a function; those that are ignored stay so, and other threads have none."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
        before = {n: handler for n, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_at_once(number: int, _: Any) -> None:
    """Between the steps of a stage there is nothing to finish.

    Raises:
        Stopped: always.
    """
    raise Stopped("stopped; what was done is kept", number)


class StopAfterStep(TrainerCallback):
    """Ends the training of a stage after the step in which a signal came, with a checkpoint if that is quick.

    Args:
        kept: tells the step of the last complete checkpoint, 0 without one.
    """

    def __init__(self, kept: Callable[[], int]):
        self._asked, self._kept = 0, kept
        self._began = self._took = 0.0

    def train(self, trainer: Any, newest: str | None) -> None:
        """Train from a checkpoint to the end, or until a signal.

        Raises:
            Stopped: there was one.
        """
        trainer.add_callback(self)
        with on_signal(self._receive):
            trainer.train(resume_from_checkpoint=newest)
        if self._asked:
            step, kept = trainer.state.global_step, self._kept()
            saved = f"the last checkpoint is of step {kept}" if kept else "and there is no checkpoint yet"
            raise Stopped(f"stopped after step {step}, {'which is saved' if kept == step else saved}", self._asked)

    def _receive(self, number: int, _: Any) -> None:
        if self._asked:
            raise Stopped("stopped amid a step; the last checkpoint is kept", number)
        self._asked = number
        if is_first():
            print_to_stderr("stops after this step; once more: at once")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for the last save; rollouts that are used more than once are used up first, for they are not saved."""
        self._began = time.monotonic()
        if state.global_step % getattr(args, "num_iterations", 1) == 0 and any_process(bool(self._asked)):
            self._asked = self._asked or signal.SIGTERM
            control.should_save = control.should_save or not any_process(self._took > SOON)
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remember how long it took."""
        self._took = time.monotonic() - self._began
