"""Shares and means of shares as Figures with their intervals, for the scorers; it knows nothing of items."""

from collections.abc import Hashable, Sequence
from math import sqrt

from armlite.evals.figures import Figure
from armlite.evals.intervals import clustered_interval, mean_interval, wilson


def share(hits: Sequence[bool]) -> Figure:
    """The share of hits among independent questions, with Wilson's interval."""
    n = len(hits)
    return Figure(value=sum(hits) / n if n else None, n=n, ci95=wilson(sum(hits), n))


def mean(values: Sequence[float]) -> Figure:
    """The mean of independent questions' values; Wilson's interval where all are 0 or 1, else the normal one."""
    n = len(values)
    if all(value in (0, 1) for value in values):
        return share([bool(value) for value in values])
    span = mean_interval(values)
    if span and all(0 <= value <= 1 for value in values):
        span = max(0.0, span[0]), min(1.0, span[1])
    return Figure(value=sum(values) / n, n=n, ci95=span)


def plain_mean(values: Sequence[float]) -> Figure:
    """The mean of independent numbers that may be any, with the normal interval."""
    return Figure(value=sum(values) / len(values) if values else None, n=len(values), ci95=mean_interval(values))


def clustered(values: Sequence[float], clusters: Sequence[Hashable]) -> Figure:
    """The mean of values from 0 to 1 that hang together within clusters, as the repeats of one question.

    The interval is cluster-robust; where it has nothing to go by (clusters that do not differ, or only one), Wilson's
    for as many independent questions as there are clusters.
    """
    n, groups = len(values), len(set(clusters))
    if groups == n:
        return mean(values)
    value, span = sum(values) / n, clustered_interval(values, clusters)
    if span is None or span[0] == span[1]:
        return Figure(value=value, n=n, ci95=wilson(value * groups, groups))
    return Figure(value=value, n=n, ci95=(max(0.0, span[0]), min(1.0, span[1])))


def unweighted(parts: Sequence[Figure]) -> Figure:
    """The unweighted mean of figures on different questions; undefined where one of them is.

    The interval combines those of the parts (Zou and Donner 2008, "Construction of confidence limits about effect
    measures", the method of variance estimates recovery): exact shares of 0 or 1 keep a width.
    """
    n, values = sum(part.n for part in parts), [part.value for part in parts]
    if not parts or any(value is None for value in values):
        return Figure(value=None, n=n)
    centre = sum(v for v in values if v is not None) / len(parts)
    if any(part.ci95 is None for part in parts):
        return Figure(value=centre, n=n)
    below = above = 0.0
    for part in parts:
        if part.value is not None and part.ci95 is not None:
            below += (part.value - part.ci95[0]) ** 2
            above += (part.ci95[1] - part.value) ** 2
    return Figure(value=centre, n=n, ci95=(centre - sqrt(below) / len(parts), centre + sqrt(above) / len(parts)))
