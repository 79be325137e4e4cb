"""Fast ways are trusted after a check: the first times they are run beside the plain way that they stand in for.

Graphs, packed layers, fused vision blocks, shared beginnings: each has a plain way, whose numbers differ by rounding.
What they differ by is kept, and said once where it is more than rounding: the fast way is off from then on. It compares
numbers and keeps what is known; who takes which way is the engine's and the trainer's business.
"""

from collections.abc import Callable

import torch

from armlite.models.engine.oom import print_to_stderr

TIMES = 2
"""How often a fast way is compared before it is trusted."""
FINE, COARSE = 1e-3, 0.2
"""The most that is rounding, in 32 bits and in 16, in standard deviations. NF4 and bfloat16 differ by as much as 0.1
between one order of sums and another (W9 in `armlite.bench.workloads`); a way that is wrong, by more than 1.
"""


class SelfCheck:
    """What is known of the fast ways of one model.

    Args:
        tell: called with one sentence when a way is turned off.
    """

    def __init__(self, tell: Callable[[str], None] = print_to_stderr):
        self._tell = tell
        self._agreed: dict[str, int] = {}
        self.off: dict[str, str] = {}
        """Way -> why it is not taken any more."""
        self.differences: dict[str, float] = {}
        """Way -> the largest difference that was found, in standard deviations."""

    def on(self, way: str) -> bool:
        """Whether a fast way may be taken."""
        return way not in self.off

    def due(self, way: str) -> bool:
        """Whether a fast way is to be compared once more."""
        return self.on(way) and self._agreed.get(way, 0) < TIMES

    def agree(self, way: str, fast: torch.Tensor, plain: torch.Tensor, dtype: torch.dtype) -> bool:
        """Compare what both ways gave, of the same shape; turns the fast one off where they differ.

        The measure is the mean difference over the standard deviation of the plain numbers.

        Args:
            dtype: in which it was computed, which decides how much is rounding.
        """
        if plain.is_meta:  # shapes without numbers: nothing to compare
            return True
        bound = FINE if dtype in (torch.float32, torch.float64) else COARSE
        fast, plain = (t.detach().cpu().double() for t in (fast, plain))  # some cards know no 64 bits
        spread = plain.std() if plain.numel() > 1 else plain.abs().mean()
        difference = float((fast - plain).abs().mean() / spread.clamp(min=1e-9))
        self.differences[way] = max(self.differences.get(way, 0.0), difference)
        if difference <= bound:  # which NaN is not
            self._agreed[way] = self._agreed.get(way, 0) + 1
            return True
        self.turn_off(
            way, f"differ from the plain way by {difference:.3g} of a standard deviation, allowed is {bound:g}"
        )
        return False

    def turn_off(self, way: str, why: str) -> None:
        """Take the plain way from now on, and say so."""
        if self.on(way):
            self.off[way] = why
            self._tell(f"{way} are off: they {why}")
