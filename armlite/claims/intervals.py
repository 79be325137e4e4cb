"""The mean of paired differences over seeds and tasks, with a 95 % interval."""

from collections.abc import Mapping, Sequence
from math import sqrt

from armlite.evals.intervals import Z, paired_shares_interval, wilson

T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Two-sided 95 % points of Student's distribution with 1, 2, ... degrees of freedom."""


def seeds_interval(differences: Mapping[int, Sequence[float]]) -> tuple[float, tuple[float, float] | None]:
    """The mean of differences, every seed counting alike, and its interval.

    Seeds are what a claim is repeated over, so the interval is Student's of the seeds' own means. It is never narrower
    than what the tasks alone leave open with these very seeds: few seeds that happen to agree do not look certain. Of a
    single seed it is the tasks' alone.

    Args:
        differences: seed -> one value a task; a single one where the figure is of the whole run.

    Returns:
        The mean and (low, high); None: a single value, which says nothing of chance.
    """
    means = [sum(values) / len(values) for values in differences.values()]
    mean, half = sum(means) / len(means), _of_tasks(list(differences.values()))
    if len(means) > 1:
        spread = sqrt(sum((m - mean) ** 2 for m in means) / (len(means) - 1) / len(means))
        between = (T[len(means) - 2] if len(means) - 2 < len(T) else Z) * spread
        half = between if half is None else max(half, between)
    return mean, None if half is None else (mean - half, mean + half)


def _of_tasks(seeds: Sequence[Sequence[float]]) -> float | None:
    """Half the width of the interval of these very seeds: from the tasks within each."""
    if any(len(values) < 2 for values in seeds):
        return None
    together = [value for values in seeds for value in values]
    if set(together) <= {-1.0, 0.0, 1.0}:  # of shares: a difference that is the same for all tasks is not certain
        low, high = paired_shares_interval(together.count(-1.0), together.count(1.0), len(together)) or (0.0, 0.0)
        return (high - low) / 2
    if len(set(together)) <= 2 and round(max(together) - min(together), 9) in (0.0, 1.0):  # of shares, less a border
        low, high = wilson(together.count(max(together)), len(together)) or (0.0, 0.0)
        return (high - low) / 2
    return Z * sqrt(sum(_variance(values) / len(values) for values in seeds)) / len(seeds)


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)
