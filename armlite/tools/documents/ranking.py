"""Ranking the pages of a document for a query by words, on the CPU, with nothing to download.

`rank(index, query)` is the whole interface: a dense retriever is another function of the same shape (`pages.Ranker`).
Whole-page BM25 finds the evidence of MMLongBench-Doc questions among five pages in
about half of the cases; what helps most beyond it is to understand which page a question names.
"""

import re
from functools import lru_cache

from armlite.tools.documents.passages import PageIndex
from armlite.tools.documents.query import Query, parse
from armlite.tools.documents.words import is_unspaced

PASSAGE_WEIGHT = 2.0
"""A page is worth more through its best passage than through all of its words."""
HEADING_WEIGHT = 0.5
"""A heading's words are page words as well: this comes on top."""
PAIR_WEIGHT = 1.0
"""Two words side by side as in the question; likewise on top."""
NEIGHBOUR_WEIGHT = 0.1
"""Share of a page's score that its neighbours get: tables and figures stand beside the text about them."""
VISUAL_BONUS = 0.2
"""For a page with pictures, if the question is about something to be seen."""
NUMERIC_BONUS = 0.2
"""For a page full of numbers, if the question asks for one; in proportion up to `NUMERIC_FULL`."""
NUMERIC_FULL = 0.3
"""Share of digits among letters and digits in a page of tables."""
CONTENTS_FACTOR = 0.5
"""For a table of contents, which matches everything."""
CAPTION_BONUS = 1.5
"""For the page that holds the caption or heading that the question names, in units of the best score: more than the
best page by words and a mention earn together..."""
MENTION_BONUS = 0.3
"""...and for a page that mentions it."""
NAMED_BONUS = 10.0
"""For a page that the question names by its number: above anything that words can earn."""


def rank(index: PageIndex, query: str) -> list[tuple[int, float]]:
    """Pages (from 1) with their scores, best first; pages that nothing speaks for are left out."""
    asked = parse(query)
    weights = _spelt(index, asked.weights)
    scores = index.page_words.scores(weights)
    best_passage = [0.0] * len(index)
    for i, score in zip(index.owners, index.passage_words.scores(weights), strict=True):
        best_passage[i] = max(best_passage[i], score)
    parts = ((PASSAGE_WEIGHT, best_passage), (HEADING_WEIGHT, index.headings.scores(weights)))
    for weight, more in (*parts, (PAIR_WEIGHT, index.page_pairs.scores(asked.pairs))):
        scores = [s + weight * m for s, m in zip(scores, more, strict=True)]
    around = [0.0, *scores, 0.0]
    scores = [s + NEIGHBOUR_WEIGHT * (around[i] + around[i + 2]) for i, s in enumerate(scores)]
    scores = [s * _kind_factor(index, asked, i) for i, s in enumerate(scores)]
    unit = max(scores, default=0.0) or 1.0
    for i in range(len(index)):
        scores[i] += unit * _named(index, asked, i)
    order = sorted(range(len(index)), key=lambda i: (-scores[i], i))
    return [(i + 1, round(scores[i], 4)) for i in order if scores[i] > 0]


def _kind_factor(index: PageIndex, asked: Query, i: int) -> float:
    """How well the kind of page (pictures, tables, a list of contents) suits the kind of question."""
    factor = 1.0
    if asked.visual and index.pages[i].pictures:
        factor += VISUAL_BONUS
    if asked.numeric:
        factor += NUMERIC_BONUS * min(1.0, index.digits[i] / NUMERIC_FULL)
    return factor * (CONTENTS_FACTOR if index.contents[i] else 1.0)


def _named(index: PageIndex, asked: Query, i: int) -> float:
    """What a page earns, in units of the best score, because the question names it or something on it."""
    earned = 0.0
    for kind, number in asked.captions:
        if number not in index.pages[i].text:
            continue
        label = _label(kind, number)
        places = [m.start() for line in index.lines[i] if number in line and (m := label.search(line))]
        if places:
            bonus = CAPTION_BONUS if 0 in places else MENTION_BONUS
            earned += bonus * (CONTENTS_FACTOR if index.contents[i] else 1.0)
    for page in asked.pages:
        found = index.numbering.find(page)
        if i + 1 in found:
            earned += NAMED_BONUS / (1 + found.index(i + 1))
    if any(i == (p - 1 if p > 0 else len(index) + p) for p in asked.positions):
        earned += NAMED_BONUS
    return earned


@lru_cache
def _label(kind: str, number: str) -> re.Pattern[str]:
    """Finds a caption or a mention; a section's heading is often but its number and a capitalised title."""
    short = {"figure": r"fig(?:ure|\.)?", "table": r"tab(?:le|\.)?"}.get(kind, kind)
    label = rf"(?<![\w.-])(?i:{short})\s*{re.escape(number)}(?![\w-]|\.\d)"
    return re.compile(rf"{label}|^{re.escape(number)}\.?\s+[A-Z][a-z]" if kind == "section" else label)


def _spelt(index: PageIndex, weights: dict[str, float]) -> dict[str, float]:
    """The words of a query; one that the document lacks gives way to the commonest that is a slip of the pen away.

    A single character of an unspaced script gives way to all pairs with it.
    """
    known = index.page_words.postings
    fixed: dict[str, float] = {}
    for word, weight in weights.items():
        if len(word) == 1 and is_unspaced(word):
            fixed |= {pair: weight for pair in known if word in pair}
        if word not in known and len(word) >= 5 and word.isalpha():
            word = min((k for k in known if _one_slip(word, k)), key=lambda k: -len(known[k]), default=word)
        fixed[word] = max(weight, fixed.get(word, 0.0))
    return fixed


def _one_slip(a: str, b: str) -> bool:
    """Whether one letter added, dropped, changed or swapped with its neighbour turns a into b (first letters agree)."""
    if abs(len(a) - len(b)) > 1 or a[0] != b[0] or not b.isalpha():
        return False
    i = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest = a[i:], b[i:]
    if len(a) != len(b):
        return rest[0][1:] == rest[1] or rest[0] == rest[1][1:]
    return rest[0][1:] == rest[1][1:] or (rest[0][:2] == rest[1][:2][::-1] and rest[0][2:] == rest[1][2:])
