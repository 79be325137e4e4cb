"""95 % intervals of shares and means."""

from collections.abc import Sequence
from math import sqrt

Z = 1.959964
"""Two-sided 95 % point of the normal distribution."""


def wilson(successes: int, n: int) -> tuple[float, float] | None:
    """Wilson's score interval of a share; None where there is nothing to share."""
    if n == 0:
        return None
    p, z2 = successes / n, Z * Z
    centre, half = p + z2 / (2 * n), Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Normal interval of a mean; None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    mean = sum(values) / n
    half = Z * sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return mean - half, mean + half
