"""Error injection: a good answer and exactly one known change that makes it wrong.

Kinds: number, count (number words; sentences or words of a constrained answer), colour, name, relation. The change is
one splice, `good[:at] + to + good[at + len(from):]`. Only what stands in the answer once is changed, so that the
flawed answer does not contradict itself. Where a task has constraints with verifiers, a change is taken only if a
verifier says that it breaks one; nothing else would be a flaw there.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from armlite.data.making.similarity import normalised
from armlite.data.making.vocabulary import COLOURS, COUNTS, NAME, OPPOSITES, SIDE
from armlite.errors import ToolError
from armlite.tools.checks.verifiers import check
from armlite.types import Constraint

NOTHING = "offers nothing to change"
TRIES = 16
"""Draws, where what a fact was changed to happened to be right as well."""
_LISTS = {"colour": COLOURS, "count": COUNTS}
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)")
_ITEM = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)
"""A number that counts the items of a list."""
_WORDS = {
    kind: re.compile(
        rf"\b(?:{'|'.join(words)}|(?:(?<=^)|(?<=[.!?] ))(?:{'|'.join(map(str.capitalize, words))})(?! [A-Z]))\b"
    )
    for kind, words in _LISTS.items()
}
"""In lower case, or capitalised at the beginning of a sentence and of no name (`White House`)."""
_RELATION = re.compile(
    rf"\b(?:{'|'.join(sorted((w for w in OPPOSITES if w not in ('left', 'right')), key=len, reverse=True))})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Change:
    """A splice: at character `at`, `old` becomes `new`."""

    kind: str
    old: str
    new: str
    at: int

    def applied(self, text: str) -> str:
        return text[: self.at] + self.new + text[self.at + len(self.old) :]

    def record(self) -> dict[str, Any]:
        """As it is kept in `meta["injected"]`."""
        return {"kind": self.kind, "from": self.old, "to": self.new, "at": self.at}


def names_in(answer: str) -> list[str]:
    """The names that an answer holds; an answer that is one bare word counts as one."""
    if re.fullmatch(r"[^\W\d_]+", answer.strip()):
        return [answer.strip()]
    return [match["name"] for match in re.finditer(NAME, answer)]


def inject(
    good: str,
    rng: random.Random,
    names: Sequence[str] = (),
    constraints: Sequence[Constraint] = (),
    accepted: Sequence[str] = (),
) -> tuple[str, Change] | str:
    """A flawed answer and its one change, or why there is none.

    Args:
        good: the good answer.
        rng: decides which change, first its kind, so that no kind takes over.
        names: what a name may be changed to.
        constraints: what the good answer satisfies.
        accepted: further answers that would be right.
    """
    if constraints:
        return _broken(good, rng, constraints)
    right = {normalised(text) for text in (good, *accepted)}
    for _ in range(TRIES):
        kinds: dict[str, list[Change]] = {}
        for change in _changes(good, rng, names):
            if normalised(change.applied(good)) not in right:
                kinds.setdefault(change.kind, []).append(change)
        if kinds:
            change = rng.choice(kinds[rng.choice(sorted(kinds))])
            return change.applied(good), change
    return NOTHING


def _changes(text: str, rng: random.Random, names: Sequence[str]) -> Iterator[Change]:
    """One change of each fact that stands in the text once."""
    items = [match.span() for match in _ITEM.finditer(text)]
    for match in _NUMBER.finditer(text):
        if any(start <= match.start() < end for start, end in items):
            continue
        if len(re.findall(rf"(?<!\d){re.escape(match[0])}(?!\d)", text)) == 1:
            yield Change("number", match[0], _other_number(match[0], rng), match.start())
    for kind, words in _LISTS.items():
        for match in _WORDS[kind].finditer(text):
            if _once(text, match[0]):
                yield Change(kind, match[0], _other_word(match[0], words, text, rng), match.start())
    for match in _RELATION.finditer(text):
        old = match[0]
        if _once(text, old) and old in (old.lower(), old.capitalize()):
            new = OPPOSITES[old.lower()]
            yield Change("relation", old, new.capitalize() if old[0].isupper() else new, match.start())
    for match in re.finditer(SIDE, text):
        group = next(name for name in "abc" if match[name])
        if _once(text, match[group]):
            yield Change("relation", match[group], OPPOSITES[match[group]], match.start(group))
    yield from _name_changes(text, rng, names)


def _name_changes(text: str, rng: random.Random, names: Sequence[str]) -> Iterator[Change]:
    known = {normalised(word) for word in (*COLOURS, *COUNTS, *OPPOSITES, "yes", "no", "true", "false")}
    for old in dict.fromkeys(names_in(text)):
        if normalised(old) in known or text.count(old) != 1:
            continue
        others = sorted({n for n in names if n.casefold() not in text.casefold() and normalised(n) not in known})
        if others:
            yield Change("name", old, rng.choice(others), text.index(old))


def _once(text: str, word: str) -> bool:
    return len(re.findall(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)) == 1


def _other_number(number: str, rng: random.Random) -> str:
    """One digit changed, not the first of several: 1,234 -> 1,254; of a single digit to its neighbour."""
    if len(number) == 1:
        n = int(number)
        return str(n + 1 if n < 2 else n - 1 if n == 9 else n + rng.choice((-1, 1)))
    place = rng.choice([i for i, c in enumerate(number) if i and c.isdigit()])
    digit = rng.choice([d for d in "0123456789" if d != number[place]])
    return number[:place] + digit + number[place + 1 :]


def _other_word(word: str, words: Sequence[str], text: str, rng: random.Random) -> str:
    """A neighbour of a count, any other colour; none that stands in the text already, where there is another."""
    place = words.index(word.lower())
    near = [words[i] for i in (place - 1, place + 1) if 0 <= i < len(words)] if words is COUNTS else list(words)
    fresh = [w for w in near if w != word.lower() and not re.search(rf"\b{w}\b", text, re.IGNORECASE)]
    new = rng.choice(fresh) if fresh else word
    return new.capitalize() if word[0].isupper() else new


def satisfied(text: str, constraints: Sequence[Constraint]) -> bool | None:
    """Do the verifiers say that a text keeps the constraints? None where no constraint has a verifier.

    Raises:
        ToolError: a verifier or its arguments are not possible.
    """
    results = [check(c.check, text, **c.arguments).ok for c in constraints if c.check]
    return all(results) if results else None


def _broken(good: str, rng: random.Random, constraints: Sequence[Constraint]) -> tuple[str, Change] | str:
    """A change that a verifier says breaks a constraint which was kept."""
    try:
        fine = satisfied(good, constraints)
    except ToolError as error:
        return f"a constraint cannot be checked: {error}"
    if fine is None:
        return "has constraints without a verifier: no change is known to break them"
    if not fine:
        return "breaks its own constraints"
    tried = [c for c in _splices(good, rng, constraints) if c.old != c.new and c.applied(good).strip()]
    rng.shuffle(tried)
    # The smallest of changes first: a flaw is to be subtle.
    for change in sorted(tried, key=lambda c: len(c.old) + len(c.new)):
        if not satisfied(change.applied(good), constraints):
            return change.applied(good), change
    return "no known change breaks its constraints"


def _splices(text: str, rng: random.Random, constraints: Sequence[Constraint]) -> Iterator[Change]:
    """Changes that may break a constraint: a word that it names, or how much text there is."""
    words = list(re.finditer(r"\w+", text))
    if not words:
        return
    for term in dict.fromkeys(_terms(constraints)):
        for match in re.finditer(re.escape(term), text, re.IGNORECASE):
            spare = [w[0] for w in words if w[0].casefold() not in term.casefold()]
            yield Change("name", match[0], rng.choice(spare) if spare else "", match.start())
        place = rng.choice(words)
        yield Change("name", place[0], term, place.start())
    if any("number_precision" in (c.check or "") for c in constraints):
        for match in re.finditer(r"\d+(?:\.\d+)?", text):
            yield Change("number", match[0], match[0] + ("5" if "." in match[0] else ".5"), match.start())
    if any("arabic_number" in (c.check or "") for c in constraints):
        yield Change("number", "", f" {rng.randint(2, 9)}", words[-1].end())
    for n in range(1, len(words)):  # the last n words go; what stands behind them stays
        start = words[-n - 1].end()
        yield Change("count", text[start : words[-1].end()], "", start)
    for pattern in (r"(?<=[.!?])\s+\S[^.!?]*[.!?]\s*$", r"\n\n[^\n]*\s*$"):  # the last sentence, the last paragraph
        for match in re.finditer(pattern, text):
            yield Change("count", match[0], "", match.start())
            yield Change("count", "", match[0], match.start())
    for n in range(1, len(words) + 1):  # n words are said again before the end
        again = " ".join(w[0] for w in words[:n])
        yield Change("count", "", f" {again}", words[-1].end())
    yield Change("count", "", f"\n\n{text.splitlines()[-1]}", len(text.rstrip()))


def _terms(constraints: Sequence[Constraint]) -> Iterator[str]:
    for constraint in constraints:
        for value in constraint.arguments.values():
            yield from (v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str) and v)
