"""95 % intervals of shares and means, and tests of paired ones."""

import random
from collections.abc import Hashable, Sequence
from math import comb, sqrt
from typing import Any

Z = 1.959964
"""Two-sided 95 % point of the normal distribution."""


def wilson(successes: float, n: int) -> tuple[float, float] | None:
    """Wilson's score interval of a share; None where there is nothing to share."""
    if n == 0:
        return None
    p, z2 = successes / n, Z * Z
    centre, half = p + z2 / (2 * n), Z * sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))


def share(part: int, of: int) -> dict[str, Any] | None:
    """A share as plain data, with its Wilson interval: `value`, `n`, `ci95`; None of nothing."""
    return {"value": part / of, "n": of, "ci95": wilson(part, of)} if of else None


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Normal interval of a mean; None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    mean = sum(values) / n
    half = Z * sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return mean - half, mean + half


def clustered_interval(values: Sequence[float], clusters: Sequence[Hashable]) -> tuple[float, float] | None:
    """Normal interval of a mean whose values come in groups that hang together, as the repeats of one question.

    The cluster-robust variance of a mean (Liang and Zeger 1986): residuals are added up within a cluster before they
    are squared; with G / (G - 1) for few clusters.

    Args:
        clusters: what each value belongs to.

    Returns:
        None for fewer than two clusters.
    """
    n, sums = len(values), dict.fromkeys(clusters, 0.0)
    if len(sums) < 2:
        return None
    mean = sum(values) / n
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    half = Z * sqrt(len(sums) / (len(sums) - 1) * sum(s * s for s in sums.values())) / n
    return mean - half, mean + half


def paired_shares_interval(only_a: int, only_b: int, n: int) -> tuple[float, float] | None:
    """Interval of share b - share a over n common items, from how many only one of the two has right.

    Agresti and Min 2005: half an item is added to each cell of the 2 x 2 table, so that few items, or two runs that
    never differ, do not look certain.
    """
    if n == 0:
        return None
    more, wide = only_b - only_a, n + 2
    half = Z * sqrt(only_a + only_b + 1 - more * more / wide) / wide
    return max(-1.0, more / wide - half), min(1.0, more / wide + half)


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p value of McNemar's exact test: items that only one of two judges got right, as tosses of a coin."""
    n, k = only_a + only_b, min(only_a, only_b)
    return min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)


def paired_bootstrap(
    differences: Sequence[float], draws: int = 10_000, seed: int = 0
) -> tuple[tuple[float, float], float] | None:
    """Interval of the mean of paired differences by resampling the pairs, and the two-sided p value of a mean of 0.

    Percentile interval; p is twice the share of the resampled means on the far side of 0, never below 1 / draws.

    Returns:
        ((low, high), p); None for fewer than two pairs.
    """
    n = len(differences)
    if n < 2:
        return None
    rng = random.Random(seed)
    means = sorted(sum(rng.choices(differences, k=n)) / n for _ in range(draws))
    far = min(sum(m <= 0 for m in means), sum(m >= 0 for m in means)) / draws
    edges = means[int(0.025 * draws)], means[min(draws - 1, int(0.975 * draws))]
    return edges, min(1.0, max(2 * far, 1 / draws))
