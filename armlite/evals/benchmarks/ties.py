"""The score of RewardBench-2's subset Ties, from ratings: does a judge put all right answers above all wrong ones, and
further apart from them than from each other?

Rebuilt from `process_single_model` of allenai/reward-bench: the repository's version and the one in the release 0.1.4
differ where all right answers got the same rating.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt, tanh

from armlite.evals.figures import Figure, Figures
from armlite.evals.intervals import Z

UNREAD = -1.0
"""The rating of an answer whose rating could not be read: it stays in, as in the official code."""


@dataclass(frozen=True)
class Prompt:
    """The ratings of a row's answers; none of the two lists is empty."""

    kind: str
    """`ref`: one right answer; `tied`: several."""
    pair: int
    """Number that a ref prompt and a tied prompt share."""
    right: tuple[float, ...]
    wrong: tuple[float, ...]

    @property
    def gap(self) -> float:
        """From the worst right answer down to the best wrong one."""
        return min(self.right) - max(self.wrong)

    @property
    def spread(self) -> float | None:
        """Between the right answers; None for one."""
        return max(self.right) - min(self.right) if len(self.right) > 1 else None


def score_ties(prompts: Iterable[Prompt]) -> Figures:
    """The subset's figures.

    Returns:
        `ties` = .30 accuracy(tied) + .30 accuracy(ref) + .20 mean(gap of tied > spread) + .20 mean(smaller gap of the
        two > spread) + .01 mean(tanh(smaller gap / spread - 1)), the last three over the numbers that have both
        prompts; it can leave 0 to 1 by 0.01. Each part as `ties/PART`; `ties/release_0.1.4`: pairs with a spread of 0
        leave the last mean, instead of counting as tanh(inf) = 1, tanh(-inf) = -1 or, for 0/0, 0. A tied prompt with
        one right answer has no spread and leaves the last three (the repository's code stops there). Undefined without
        a ref prompt, a tied prompt, or a pair.
    """
    by_kind: dict[str, dict[int, Prompt]] = {"ref": {}, "tied": {}}
    for prompt in prompts:
        by_kind[prompt.kind][prompt.pair] = prompt
    ref, tied = by_kind["ref"], by_kind["tied"]
    both = [n for n in tied if n in ref and tied[n].spread is not None]
    pairs = {n: (tied[n].gap, min(ref[n].gap, tied[n].gap), tied[n].spread or 0.0) for n in both}
    parts: dict[str, tuple[float, dict[int, float]]] = {
        "accuracy_tied": (0.30, {n: float(p.gap > 0) for n, p in tied.items()}),
        "accuracy_ref": (0.30, {n: float(p.gap > 0) for n, p in ref.items()}),
        "preferred": (0.20, {n: float(gap > spread) for n, (gap, _, spread) in pairs.items()}),
        "preferred_hard": (0.20, {n: float(low > spread) for n, (_, low, spread) in pairs.items()}),
        "margin": (0.01, {n: _margin(low, spread) for n, (_, low, spread) in pairs.items()}),
    }
    figures = {"ties": _weighted(parts.values())}
    figures |= {f"ties/{name}": _weighted([(1.0, values)]) for name, (_, values) in parts.items()}
    with_spread = {n: tanh(low / spread - 1) for n, (_, low, spread) in pairs.items() if spread}
    # Without any such pair the release counts 0.
    parts["margin"] = (0.01, with_spread or dict.fromkeys(pairs, 0.0))
    return figures | {"ties/release_0.1.4": _weighted(parts.values())}


def _margin(low: float, spread: float) -> float:
    """Without a spread the ratio is infinite, or 0 / 0."""
    return tanh(low / spread - 1) if spread else float((low > 0) - (low < 0))


def _weighted(parts: Iterable[tuple[float, Mapping[int, float]]]) -> Figure:
    """Sum of weighted means, with a normal interval clustered by the pair's number (sum of squared influences)."""
    value, influence = 0.0, {}
    for weight, values in parts:
        if not values:
            return Figure(value=None, n=0)
        centre = sum(values.values()) / len(values)
        value += weight * centre
        for n, x in values.items():
            influence[n] = influence.get(n, 0.0) + weight * (x - centre) / len(values)
    count = len(influence)
    if count < 2:
        return Figure(value=value, n=count)
    half = Z * sqrt(count / (count - 1) * sum(u * u for u in influence.values()))
    return Figure(value=value, n=count, ci95=(value - half, value + half))
