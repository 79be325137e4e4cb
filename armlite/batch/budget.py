"""What a batch may use. Once it is used up no judgment is begun; in those that are in play no call is run any more,
and the model has one turn to answer.
"""

import math
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from armlite.errors import ArmliteError
from armlite.store import Saved
from armlite.types import Step

MILLION = 1_000_000


class Price(NamedTuple):
    """What a million tokens cost, in the user's currency."""

    read: float
    written: float

    @classmethod
    def of(cls, text: str) -> "Price":
        """Read `IN,OUT`.

        Raises:
            ArmliteError: these are not two numbers from 0 on.
        """
        try:
            read, written = map(float, text.split(","))
        except ValueError:
            read = written = math.nan
        if not (0 <= read < math.inf and 0 <= written < math.inf):
            raise ArmliteError(
                f"--price {text!r} must be two numbers, what a million tokens read and written cost: 0.5,2"
            )
        return cls(read, written)

    def of_row(self, row: Saved) -> float:
        """What a judgment cost; nothing where it was known already."""
        turns = [] if row.cached else [step.turn for step in row.trajectory.steps]
        return sum(self.of_tokens(turn.prompt_tokens, turn.tokens) for turn in turns)

    def of_tokens(self, read: int, written: int) -> float:
        """What so many tokens cost."""
        return (self.read * read + self.written * written) / MILLION


class Budget:
    """What a batch has used of what it may.

    Args:
        seconds: of this run.
        tokens: read and written, of all runs on the folder.
        cost: likewise.
        price: what cost is counted by.
    """

    def __init__(
        self,
        seconds: float | None = None,
        tokens: int | None = None,
        cost: float | None = None,
        price: Price | None = None,
    ):
        if cost is not None and price is None:
            raise ArmliteError("--max-cost needs --price: what a million tokens read and written cost")
        self._seconds, self._tokens, self._cost, self.price = seconds, tokens, cost, price
        self._start = time.monotonic()
        self._read = self._written = 0

    @property
    def limited(self) -> bool:
        """Whether it can be used up."""
        return any(limit is not None for limit in (self._seconds, self._tokens, self._cost))

    def counting(self, rows: Iterable[Saved]) -> Iterator[Saved]:
        """Rows of earlier runs, which count on their way."""
        for row in rows:
            for step in () if row.cached else row.trajectory.steps:
                self.on_step(None, step)
            yield row

    def on_step(self, episode: object, step: Step) -> None:
        """Count a turn."""
        self._read += step.turn.prompt_tokens
        self._written += step.turn.tokens

    def is_spent(self) -> bool:
        """Whether anything is used up."""
        return self.spent() is not None

    def spent(self) -> str | None:
        """What is used up, as a sentence; None: nothing is."""
        if self._seconds is not None and (took := time.monotonic() - self._start) >= self._seconds:
            return f"--max-seconds {self._seconds:g} are over ({took:.0f} s)"
        used = self._read + self._written
        if self._tokens is not None and used >= self._tokens:
            return f"--max-total-tokens {self._tokens:,} are used up ({used:,})"
        if self._cost is not None and self.price is not None:
            cost = self.price.of_tokens(self._read, self._written)
            if cost >= self._cost:
                return f"--max-cost {self._cost:g} is used up ({cost:.4g})"
        return None
