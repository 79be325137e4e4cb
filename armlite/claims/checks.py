"""A check: an inequality between figures, as a claims file writes it, and whether it holds.

`full/last/greedy/accuracy > more_sft/last/greedy/accuracy by 0.05`
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from armlite.claims.intervals import seeds_interval
from armlite.errors import ArmliteError

Verdict = Literal["holds", "does not hold", "undecided", "not run"]
VERDICTS: tuple[Verdict, ...] = ("does not hold", "not run", "undecided", "holds")
"""The first of them that one of its checks has is a claim's."""
Values = Mapping[int, Mapping[str, float]]
"""Seed -> task id -> value."""
_OPERATORS = ("<", "<=", ">", ">=")
_MARGIN = re.compile(r"\s+(by|within)\s+(\S+)\s*$")


@dataclass(frozen=True)
class Check:
    """A chain of terms, each a figure's path or a number, such as `a < b < c`."""

    text: str
    terms: tuple[str | float, ...]
    operators: tuple[str, ...]
    margin: float = 0.0
    """By so much each term must be beyond its neighbour; negative: it may fall short by so much."""

    @property
    def paths(self) -> list[str]:
        """The figures that it asks for."""
        return [term for term in self.terms if isinstance(term, str)]


def parse_check(text: str) -> Check:
    """Read a check.

    Raises:
        ArmliteError: it is none; says what one looks like.
    """
    found = _MARGIN.search(text)
    words = (text[: found.start()] if found else text).split()
    terms = tuple(_number(word) if _number(word) is not None else word for word in words[::2])
    operators = tuple(words[1::2])
    margin = _number(found[2]) if found else 0.0
    fine = len(words) > 2 and len(words) % 2 == 1 and all(o in _OPERATORS for o in operators) and margin is not None
    named = all(isinstance(term, float) or term.count("/") >= 3 for term in terms)
    if not fine or not named or any(isinstance(a, float) and isinstance(b, float) for a, b in pairwise(terms)):
        raise ArmliteError(
            f"check {text!r} is no inequality: write `A < B`, `A <= 0.85`, `A < B < C`, `A > B by 0.05` (at least so "
            "much) or `A >= B within 0.02` (or short of it by no more), A being VARIANT/CHECKPOINT/ROUND/FIGURE"
        )
    sign = -1.0 if found and found[1] == "within" else 1.0
    return Check(text, terms, operators, sign * (margin or 0.0))  # type: ignore[arg-type]


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def judge_check(check: Check, values_of: Callable[[str], Values | None]) -> list[dict[str, Any]]:
    """Whether a check holds: a row for each two neighbours of it.

    A link holds where the interval of the difference, margin taken off, lies on the right side of 0 as a whole, does
    not hold where it lies on the other side, and is undecided else.

    Args:
        values_of: the values of a figure; None: not there yet.

    Returns:
        Rows of `check`, `left`, `right` (means), `difference` (of the greater side, less the smaller, less the margin;
        `value`, `ci95`), `seeds`, `n` (pairs) and `verdict`.
    """
    rows = []
    for (left, right), operator in zip(pairwise(check.terms), check.operators, strict=True):
        sides = [term if isinstance(term, float) else values_of(term) for term in (left, right)]
        margin = f" by {check.margin:g}" if check.margin > 0 else f" within {-check.margin:g}" if check.margin else ""
        row: dict[str, Any] = {"check": f"{_shown(left)} {operator} {_shown(right)}{margin}"}
        if any(side is None for side in sides):
            rows.append({**row, "verdict": "not run"})
            continue
        small, great = sides if operator.startswith("<") else sides[::-1]
        differences = _paired(small, great, check.margin)  # type: ignore[arg-type]
        if not differences:
            rows.append({**row, "verdict": "not run"})
            continue
        value, span = seeds_interval(differences)
        rows.append(
            {
                **row,
                "left": _mean(sides[0]),  # type: ignore[arg-type]
                "right": _mean(sides[1]),  # type: ignore[arg-type]
                "difference": {"value": value, "ci95": span},
                "seeds": len(differences),
                "n": sum(map(len, differences.values())),
                "verdict": _verdict(span, operator),
            }
        )
    return rows


def overall(rows: list[dict[str, Any]]) -> Verdict:
    """A claim's verdict: all of its checks must hold, and one that does not hold is enough against it."""
    found = {row["verdict"] for row in rows}
    return next(verdict for verdict in VERDICTS if verdict in found)


def _verdict(span: tuple[float, float] | None, operator: str) -> Verdict:
    if span is None:
        return "undecided"
    low, high = span
    if low > 0 or (low == 0 and operator.endswith("=")):
        return "holds"
    return "does not hold" if high < 0 or (high == 0 and not operator.endswith("=")) else "undecided"


def _paired(small: Values | float, great: Values | float, margin: float) -> dict[int, list[float]]:
    """Seed -> differences over the tasks that both sides have."""
    both = [side for side in (small, great) if not isinstance(side, float)]
    found = {}
    for seed in [s for s in both[0] if all(s in side for side in both)]:
        keys = [key for key in both[0][seed] if all(key in side[seed] for side in both)]
        if keys:
            found[seed] = [_at(great, seed, key) - _at(small, seed, key) - margin for key in keys]
    return found


def _at(side: Values | float, seed: int, key: str) -> float:
    return side if isinstance(side, float) else side[seed][key]


def _mean(side: Values | float) -> float:
    if isinstance(side, float):
        return side
    means = [sum(values.values()) / len(values) for values in side.values() if values]
    return sum(means) / len(means)


def _shown(term: str | float) -> str:
    return f"{term:g}" if isinstance(term, float) else term
