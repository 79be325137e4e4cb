"""Probabilities of verdicts that mean what they say: temperature scaling (Guo et al., 2017), one for each kind of task.

`armlite calibrate` fits it to judgments with known answers and keeps it in `calibration.json` beside a model's weights,
or among the user's cached files for a server; `Judge` reads it from there.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from armlite.errors import ArmliteError, first_fault
from armlite.store import write_atomic
from armlite.types import Kind, Record

FILE = "calibration.json"
LEAST = 1e-6
"""A probability that is no smaller, so that its logarithm is finite."""
BINS = 10
Judged = tuple[Sequence[Mapping[str, float]], frozenset[str], bool]
"""The probabilities of each vote on a row, those of their keys that are the verdict, and whether that was right."""


class Fitted(Record):
    """What was fitted for one kind of task."""

    temperature: float = Field(gt=0)
    """1: as the model says; above: it is surer than it should be."""
    n: int
    """Judgments that it was fitted to."""
    before: dict[str, float] = {}
    """Expected calibration error (`ece`), Brier score (`brier`) and accuracy without it."""
    after: dict[str, float] = {}
    """The same with it, each judgment by a temperature that was fitted to others."""


class Calibration(Record):
    """A temperature for each kind of task that there was enough of."""

    kinds: dict[Kind, Fitted] = {}
    model: str = ""
    """As the user named it."""
    made: str = ""
    """When, as ISO 8601."""

    def apply(self, kind: Kind, probabilities: Mapping[str, float]) -> dict[str, float]:
        """Probabilities at the kind's temperature; as they are where none was fitted."""
        fitted = self.kinds.get(kind)
        return tempered(probabilities, fitted.temperature) if fitted else dict(probabilities)

    def save(self, file: Path) -> None:
        """Write it."""
        write_atomic(file, json.dumps(self.model_dump(mode="json"), indent=2) + "\n")


def read_calibration(file: Path) -> Calibration | None:
    """The calibration in a file; None: there is none.

    Raises:
        ArmliteError: it is damaged.
    """
    if not file.is_file():
        return None
    try:
        return Calibration.from_json(file.read_bytes())
    except ValidationError as error:
        raise ArmliteError(
            f"{file} is no calibration ({': '.join(first_fault(error))}): remove it, or run armlite calibrate again"
        ) from error


def tempered(probabilities: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Each to the power of one over the temperature, scaled to the sum of 1."""
    logits = {key: math.log(max(value, LEAST)) / temperature for key, value in probabilities.items()}
    most = max(logits.values(), default=0.0)
    raised = {key: math.exp(value - most) for key, value in logits.items()}
    return {key: value / sum(raised.values()) for key, value in raised.items()}


def mean_of(votes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of several votes' probabilities, a verdict that a vote does not name being 0 there."""
    keys = dict.fromkeys(key for vote in votes for key in vote)
    return {key: sum(vote.get(key, 0.0) for vote in votes) / len(votes) for key in keys}


def probability_of(judged: Judged, temperature: float = 1.0) -> float:
    """How likely the verdict of a row is at a temperature."""
    votes, verdict, _ = judged
    mean = mean_of([tempered(vote, temperature) for vote in votes])
    return sum(share for key, share in mean.items() if key in verdict)


def fit_temperature(rows: Sequence[Judged]) -> float:
    """The temperature under which being right or wrong was likeliest, between 1/20 and 100 (golden-section search).

    The likelihood is that of the verdict being right, since which other verdict would have been right is often unknown.
    Targets are Platt's (1999), a little off 0 and 1: judgments that are all right do not make certainty.
    """
    right = sum(row[2] for row in rows)
    targets = {True: (right + 1) / (right + 2), False: 1 / (len(rows) - right + 2)}

    def loss(logarithm: float) -> float:
        total = 0.0
        for row in rows:
            p = min(max(probability_of(row, math.exp(logarithm)), LEAST), 1 - LEAST)
            total -= targets[row[2]] * math.log(p) + (1 - targets[row[2]]) * math.log(1 - p)
        return total

    low, high, ratio = math.log(0.05), math.log(100.0), (math.sqrt(5) - 1) / 2
    for _ in range(40):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) <= loss(b) else (a, high)
    return math.exp((low + high) / 2)


def figures(said: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Expected calibration error in ten equal bins, Brier score, accuracy; of (probability, right)."""
    n = len(said)
    bins = reliability(said)
    return {
        "ece": sum(row["n"] * abs(row["accuracy"] - row["probability"]) for row in bins) / n,
        "brier": sum((p - right) ** 2 for p, right in said) / n,
        "accuracy": sum(right for _, right in said) / n,
    }


def reliability(said: Sequence[tuple[float, bool]]) -> list[dict[str, Any]]:
    """For each tenth of probabilities that holds any: its edges, count, mean probability and share that was right."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for p, right in said:
        bins.setdefault(min(int(p * BINS), BINS - 1), []).append((p, right))
    return [
        {
            "from": number / BINS,
            "to": (number + 1) / BINS,
            "n": len(own),
            "probability": sum(p for p, _ in own) / len(own),
            "accuracy": sum(right for _, right in own) / len(own),
        }
        for number, own in sorted(bins.items())
    ]


def fold_of(name: str, folds: int) -> int:
    """Which of so many parts a row is in, by its id alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % folds
