"""The grammar of `--where`, in the terminal and on the page alike: `status=failed and tool=zoom and step>10`.

Conditions are joined by `and`, and these by `or`; there are no parentheses. A condition is a field, one of
`= != < <= > >= ~`, and a value, quoted where it holds blanks: `=` takes several with commas between them, `~` is "holds
this text". The page's script (`page.js`) reads the same grammar; `tests/real/page.py` compares the two.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from armlite.errors import ArmliteError, nearest
from armlite.view.entries import ALWAYS, Entry, Value

_CONDITION = re.compile(r"""\s*([\w.-]+)\s*(!=|<=|>=|=|<|>|~)\s*("[^"]*"|'[^']*'|[^\s"']+)""")
_JOIN = re.compile(r"\s+(and|or)\b", re.IGNORECASE)
NUMBERS = {
    "step",
    "rollout",
    "calls",
    "failed_calls",
    "turns",
    "tokens",
    "probability",
    "reward",
    "advantage",
    "seconds",
}
"""Fields whose values are numbers, beside `reward.PART`."""


@dataclass(frozen=True)
class Condition:
    """One condition; `field` is in small letters."""

    field: str
    sign: str
    value: str
    choices: tuple[str, ...]

    def fits(self, entry: Entry) -> bool:
        """Does a row meet it? A row without the field meets `!=` only."""
        values = entry.fields.get(self.field, ())
        if self.sign in ("=", "!="):
            return (self.sign == "=") is any(_same(v, choice) for v in values for choice in self.choices)
        if self.sign == "~":
            return any(self.value.lower() in str(v).lower() for v in values)
        limit = float(self.value)
        return any(_COMPARED[self.sign](v, limit) for v in values if not isinstance(v, str))


_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def parse(query: str, known: Iterable[str] = ALWAYS) -> list[list[Condition]]:
    """Conditions, any list of which has to be met as a whole; empty: everything fits.

    Args:
        query: what was written.
        known: names of fields.

    Raises:
        ArmliteError: it breaks the grammar, or names a field that is not known.
    """
    if not query.strip():
        return []
    known = {*known}
    found: list[list[Condition]] = [[]]
    at = 0
    while True:
        match = _CONDITION.match(query, at)
        if not match:
            rest = query[at:].strip() or "its end"
            raise ArmliteError(f"--where {query!r} cannot be read at {rest}: write FIELD=VALUE, joined by and or or")
        found[-1].append(_condition(*match.groups(), known=known))
        at = match.end()
        if not query[at:].strip():
            return found
        join = _JOIN.match(query, at)
        if not join:
            rest = query[at:].strip()
            raise ArmliteError(f"--where {query!r} cannot be read at {rest}: between conditions stands and or or")
        found += [[]] if join[1].lower() == "or" else []
        at = join.end()


def fits(entry: Entry, conditions: Sequence[Sequence[Condition]]) -> bool:
    """Does a row meet what `parse` found?"""
    return not conditions or any(all(c.fits(entry) for c in part) for part in conditions)


def _condition(name: str, sign: str, value: str, known: set[str]) -> Condition:
    name = name.lower()
    if name not in known:
        raise ArmliteError(
            f"--where: there is no field {name!r}.{nearest(name, known)} Fields: {', '.join(sorted(known))}"
        )
    quoted = value[0] in "\"'"
    value = value[1:-1] if quoted else value
    choices = (value,) if quoted else tuple(value.split(","))
    if sign in ("<", "<=", ">", ">="):
        if not is_number(name):
            raise ArmliteError(f"--where: {name} is no number; use =, != or ~ in place of {sign}")
        if _number(value) is None:
            raise ArmliteError(f"--where: {name}{sign}{value} needs a number in place of {value!r}")
    return Condition(name, sign, value, choices)


def is_number(name: str) -> bool:
    """Are a field's values numbers?"""
    return name in NUMBERS or name.startswith("reward.")


def _same(value: Value, wanted: str) -> bool:
    if isinstance(value, str):
        return value.lower() == wanted.lower()
    return value == _number(wanted)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
