"""What a question asks of a document: weighted words, captions and pages that it names, whether it is about pictures.

Readers ask with words that the page does not hold: how to format the answer, "in the figure on page 5". This file takes
a question apart, whatever its subject; `ranking` uses the parts.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from armlite.tools.documents.words import NUMBERS, ORDINALS, stem, terms, words

GENERIC_WEIGHT = 0.3
"""Weight of words that say where to look or what to do rather than what about; others weigh 1."""

_GENERIC_WORDS = """
    accord appear article chart color colour contain deck describe diagram document figure following give
    graph how illustrate illustration image include list locate main many mention much name number page paper photo
    picture plot present presentation provide report show shown slide table text total write"""
_GENERIC = frozenset(map(stem, _GENERIC_WORDS.split()))
_COUNT = NUMBERS[1:]
_NUMBER = rf"(\d{{1,4}}|{'|'.join(_COUNT)})"
_NTH = rf"(\d{{1,3}}(?:st|nd|rd|th)|{'|'.join(ORDINALS)})"

_SENTENCE = re.compile(r"(?<=[.?!])\s*(?=[A-Z])")
_ORDERED = re.compile(
    r"(please|write|writ\w+|answer|give|round|format|return|directly|represent|express|enumerate|note)\b", re.IGNORECASE
)
_FORMAT = re.compile(
    r"\b(answer|format|integer|int|float|list|decimals?|order|string|yes|percents?|[bm]illions?|thousands?)\b",
    re.IGNORECASE,
)
_PAGE = re.compile(
    rf"\b(?:pages?|pp?\.|slides?)\s*(?:number|no\.?|\#)?\s*\(?{_NUMBER}\b\)?(?:\s*(?:-|–|to|and)\s*(\d{{1,4}})\b)?"
    r"|第\s*(\d{1,4})\s*[页頁ページ]",
    re.IGNORECASE,
)
_FROM_START = re.compile(rf"\b{_NTH}[\s-]+(?:page|slide)\b", re.IGNORECASE)
_FROM_END = re.compile(
    rf"\b(?:{_NTH}[\s-]+(?:to[\s-]+)?)?(?:the\s+)?(?:last|final)[\s-]+(?:page|slide)\b"
    rf"|\b(?:page|slide)\s+at\s+the\s+(?:{_NTH}\s+)?(?:to\s+)?last\b",
    re.IGNORECASE,
)
_COVER = re.compile(
    r"\b(?:(?:on|of|in|from)\s+the\s+cover|cover\s+(?:page|slide|image|photo|picture)|(?:front|title)\s+(?:page|slide|cover))\b",
    re.IGNORECASE,
)
_CAPTION = re.compile(
    r"\b(fig(?:ure|\.)?|tab(?:le|\.)?|chart|exhibit|section|chapter|appendix|annex|schedule|equation|algorithm|box)"
    r"\s*(\d+(?:[.-]\d+)*|[A-Z]\b|[IVX]+\b)",
    re.IGNORECASE,
)
_VISUAL = re.compile(
    r"\b(figures?|charts?|graphs?|diagrams?|images?|pictures?|photos?|plots?|maps?|logos?|icons?|drawings?|screenshots?"
    r"|illustrat\w+|colou?re?d?s?|red|blue|green|yellow|black|white|purple|orange|pink|gr[ae]y|brown|shapes?|signatures?"
    r"|wearing|standing|bars?|ax[ie]s|curves?|pie)\b",
    re.IGNORECASE,
)
_NUMERIC = re.compile(
    r"\b(tables?|columns?|rows?|how (?:many|much)|ratio|percent\w*|average|sum|difference|highest|lowest|values?)\b",
    re.IGNORECASE,
)
_LONG_KINDS = {"fig": "figure", "tab": "table"}


@dataclass(frozen=True)
class Query:
    """A question taken apart."""

    weights: dict[str, float]
    """Stem -> weight."""
    pairs: dict[str, float]
    """Two neighbouring stems, joined by a space -> weight."""
    captions: tuple[tuple[str, str], ...] = ()
    """Kind and number of what it names, such as ("figure", "3") or ("section", "2.1")."""
    pages: tuple[int, ...] = ()
    """Page numbers that it names, as printed or as counted."""
    positions: tuple[int, ...] = ()
    """Pages that it names by place: 1 is the first, -1 the last."""
    visual: bool = False
    numeric: bool = False


def parse(question: str) -> Query:
    """Take a question apart; never fails."""
    asked = _content(question)
    stems = terms(asked)
    weights = {s: GENERIC_WEIGHT if s in _GENERIC else 1.0 for s in stems}
    joined = [" ".join(pair) for pair in pairwise(stems)]
    pairs = {p: GENERIC_WEIGHT if any(s in _GENERIC for s in p.split()) else 1.0 for p in joined}
    return Query(
        weights=weights,
        pairs=pairs,
        captions=_captions(asked),
        pages=_pages(asked),
        positions=_positions(asked),
        visual=bool(_VISUAL.search(asked)),
        numeric=bool(_NUMERIC.search(asked)),
    )


def _content(question: str) -> str:
    """The question without sentences that only say how to write the answer."""
    sentences = _SENTENCE.split(question.strip())
    kept = [s for s in sentences if not (_ORDERED.match(s) and _FORMAT.search(s))]
    return " ".join(kept) or question


def _captions(asked: str) -> tuple[tuple[str, str], ...]:
    found = []
    for match in _CAPTION.finditer(asked):
        kind, number = match[1].lower().rstrip("."), match[2]
        if not number.islower():  # "a" in "table a user sees" is no number
            found.append((_LONG_KINDS.get(kind, kind), number))
    return tuple(dict.fromkeys(found))


def _pages(asked: str) -> tuple[int, ...]:
    found = [n for match in _PAGE.finditer(asked) for n in match.groups() if n]
    return tuple(dict.fromkeys(_COUNT.index(n.lower()) + 1 if n.lower() in _COUNT else int(n) for n in found))


def _positions(asked: str) -> tuple[int, ...]:
    found = [-_nth(next((g for g in m.groups() if g), None)) for m in _FROM_END.finditer(asked)]
    found += [_nth(m[1]) for m in _FROM_START.finditer(asked)]
    if _COVER.search(asked):
        found.append(1)
    return tuple(dict.fromkeys(found))


def _nth(word: str | None) -> int:
    if word is None:
        return 1
    return ORDINALS.index(word.lower()) + 1 if word.lower() in ORDINALS else max(1, int(words(word)[0][:-2]))
