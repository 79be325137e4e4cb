"""How far verdicts agree with labels that people gave: pure functions, and what reads both.

Kappa and alpha as Cohen (1960) and Krippendorff (2004) define them; intervals are percentiles of 2,000 resamples of the
items. A row that could not be judged is counted and agrees with nothing; it is no part of kappa.
"""

import random
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from armlite.batch.columns import label_of
from armlite.batch.written import VERDICTS
from armlite.data.files import Unreadable, read_file
from armlite.errors import ArmliteError
from armlite.evals.intervals import share
from armlite.jsonl import json_rows

RESAMPLES = 2000
Rated = Mapping[str, Hashable]
"""Rater -> what he says of an item."""


def cohen_kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Agreement of two raters beyond what their habits would give by chance; None where that is all there is."""
    n = len(pairs)
    one, two = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(one[value] * two[value] for value in one) / n**2 if n else 1.0
    if chance == 1:
        return None
    return (sum(a == b for a, b in pairs) / n - chance) / (1 - chance)


def krippendorff_alpha(items: Iterable[Rated], interval: bool = False) -> float | None:
    """Reliability of any number of raters, of whom each need not have rated each item.

    Args:
        items: what each rater said; items with one rating count for nothing.
        interval: values are numbers, and differ by their squared distance; else they differ or they do not.

    Returns:
        1: they agree; 0: as by chance; None: nothing could have differed.
    """

    def distance(a: Any, b: Any) -> float:
        return float((a - b) ** 2) if interval else float(a != b)

    units = [list(rated.values()) for rated in items if len(rated) > 1]
    counts = Counter(value for unit in units for value in unit)
    n = counts.total()
    observed = sum(
        sum(distance(a, b) for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j) / (len(unit) - 1)
        for unit in units
    )
    expected = sum(ka * kb * distance(a, b) for a, ka in counts.items() for b, kb in counts.items())
    if n < 2 or not expected:
        return None
    return 1 - (observed / n) / (expected / (n * (n - 1)))


def resampled(
    items: Sequence[Any], figure: Callable[[Sequence[Any]], float | None], seed: int = 0
) -> list[float] | None:
    """The 2.5th and 97.5th percentile of a figure over resamples of the items; None where it is mostly undefined,
    or the same in all of them: then the resamples say nothing of how sure it is.
    """
    rng = random.Random(seed)
    values = [figure(rng.choices(items, k=len(items))) for _ in range(RESAMPLES)] if items else []
    found = sorted(value for value in values if value is not None)
    if len(found) < RESAMPLES / 2 or found[0] == found[-1]:
        return None
    return [found[int(0.025 * len(found))], found[min(len(found) - 1, int(0.975 * len(found)))]]


@dataclass
class Agreement:
    """What came of a comparison."""

    kind: str
    """`choice` (of pairs and lists), `correct` or `rating`."""
    judged: list[tuple[str, Any, Any]] = field(default_factory=list)
    """(id, label, verdict) of rows that were judged."""
    not_judged: int = 0
    even: int = 0
    """Rows on which the people are divided evenly; they count for alpha only."""
    rated: list[Rated] = field(default_factory=list)
    """What the people said of each row."""

    def figures(self) -> dict[str, Any]:
        """As plain data."""
        pairs = [(label, verdict) for _, label, verdict in self.judged]
        same, n = sum(a == b for a, b in pairs), len(pairs)
        base = Counter(label for label, _ in pairs).most_common(1)
        found: dict[str, Any] = {
            "n": n + self.not_judged,
            "not_judged": self.not_judged,
            "even": self.even,
            "agreement": share(same, n),
            "base_rate": base[0][1] / n if n else None,
        }
        if self.kind == "rating":
            found["mean_difference"] = sum(said - given for given, said in pairs) / n if n else None
            found["mean_absolute_difference"] = sum(abs(said - given) for given, said in pairs) / n if n else None
        else:
            found["kappa"] = {"value": cohen_kappa(pairs), "ci95": resampled(pairs, cohen_kappa)}
            table: dict[str, dict[str, int]] = defaultdict(dict)
            for (label, verdict), count in sorted(Counter(pairs).items(), key=lambda entry: str(entry[0])):
                table[str(label)][str(verdict)] = count
            found["confusion"] = dict(table)
        raters = {rater for rated in self.rated for rater in rated}
        if len(raters) > 1:
            found["raters"] = len(raters)
            found["alpha"] = krippendorff_alpha(self.rated, self.kind == "rating")
        return found


def compare(verdicts: Path, labels: Path) -> dict[str, Agreement]:
    """Lay verdicts beside labels, by kind of verdict.

    Args:
        verdicts: folder of a batch, or its `verdicts.jsonl`.
        labels: table with columns `id` and `label`, and `rater` where there are several.

    Raises:
        ArmliteError: one of the files is not there or not readable, or they share no row.
    """
    lines = _verdicts(verdicts)
    given, strangers = _labels(labels, lines)
    if not given:
        raise ArmliteError(f"no id of {labels} is one of {verdicts}" if strangers else f"{labels} has no label")
    if strangers:
        said = f"{len(strangers)} ids of {labels} are not in {verdicts}, the first {strangers[0]!r}"
        warnings.warn(said, UserWarning, stacklevel=2)
    found: dict[str, Agreement] = {}
    for name, rated in given.items():
        line = lines[name]
        kind = {"pointwise": "correct", "rating": "rating"}.get(line["kind"], "choice")
        own = found.setdefault(kind, Agreement(kind))
        own.rated.append(rated)
        (label, most), *others = Counter(rated.values()).most_common()
        if others and others[0][1] == most:
            own.even += 1
        elif line[kind] is None:
            own.not_judged += 1
        else:
            own.judged.append((name, label, line[kind]))
    return found


def _verdicts(place: Path) -> dict[str, dict[str, Any]]:
    file = place / VERDICTS if place.is_dir() else place
    if not file.is_file():
        raise ArmliteError(f"there are no verdicts in {place}: give the --out of `armlite judge FILE`")
    rows = [row for _, row in json_rows(file)] if file.suffix == ".jsonl" else [None]
    if not all(isinstance(row, dict) and {"id", "kind", "choice"} <= row.keys() for row in rows):
        raise ArmliteError(f"{file} holds no verdicts of `armlite judge FILE`")
    return {row["id"]: row for row in rows}


def _labels(file: Path, lines: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, dict[str, Hashable]], list[str]]:
    """Id -> what each rater says, of rows that there is a verdict for; and ids that there is none for."""
    if not file.is_file():
        raise ArmliteError(f"there is no file {file}")
    found: dict[str, dict[str, Hashable]] = defaultdict(dict)
    strangers: dict[str, None] = {}
    for row in read_file("labels", file):
        if isinstance(row, Unreadable):
            raise row.error
        name, label, rater = row.text("id"), row.get("label"), str(row.get("rater") or "")
        if name not in lines:
            strangers.setdefault(name)
            continue
        found[name].pop(rater, None)  # a later label is instead of an earlier one, also where it is none
        kind = lines[name]["kind"]
        if label is not None:
            found[name][rater] = label_of(row, kind, label, 2 if kind == "pairwise" else 26)
    return {name: rated for name, rated in found.items() if rated}, list(strangers)
