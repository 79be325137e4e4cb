"""The search index of a document: words of pages, of passages within pages, of headings and of word pairs.

Built in memory from the page texts (about 1.5 ms a page); `armlite.tools.documents.ranking` reads it.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from armlite.tools.documents.numbering import Numbering
from armlite.tools.documents.page_text import PageText
from armlite.tools.documents.words import terms

PASSAGE = 60
"""Words in a passage; the next one starts in its middle, so that no sentence is always cut."""
HEADING = 1.15
"""A line is a heading if its letters are this much taller than those of the body..."""
HEADING_WORDS = 30
"""...and it has no more words than this."""
RUNNING = 0.2
"""A line found on more than this share of the pages is a running head, and no heading."""
K1, B = 1.5, 0.75
"""BM25: how soon repeated words stop counting, and how much long texts are held back. The usual values."""

_CAPTION = re.compile(
    r"(fig(ure|\.)?|tab(le|\.)?|chart|exhibit|appendix|annex|schedule)\s*(\d|[A-Z]\b|[IVX]+\b)", re.IGNORECASE
)
_CONTENTS = re.compile(r"(?:\. ?){4,}\s*\w{1,5}$")


class Bm25:
    """BM25 over bags of words."""

    def __init__(self, bags: Iterable[Mapping[str, int]]):
        self.postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.lengths: list[int] = []
        for i, bag in enumerate(bags):
            self.lengths.append(sum(bag.values()))
            for word, count in bag.items():
                self.postings[word].append((i, count))
        self.mean = max(1.0, sum(self.lengths) / max(1, sum(n > 0 for n in self.lengths)))

    def scores(self, weights: Mapping[str, float]) -> list[float]:
        """Score of each bag for weighted words."""
        total, scores = len(self.lengths), [0.0] * len(self.lengths)
        for word, weight in weights.items():
            found = self.postings.get(word, ())
            rarity = math.log(1 + (total - len(found) + 0.5) / (len(found) + 0.5))
            for i, count in found:
                norm = K1 * (1 - B + B * self.lengths[i] / self.mean)
                scores[i] += weight * rarity * count * (K1 + 1) / (count + norm)
        return scores


class PageIndex:
    """What the pages of a document hold, ready to be searched.

    Args:
        pages: the page texts in order.
        outline: table of contents as (level, title, page from 1); titles count as headings of their page.
    """

    def __init__(self, pages: Sequence[PageText], outline: Sequence[tuple[int, str, int]] = ()):
        self.pages = tuple(pages)
        self.numbering = Numbering(pages)
        self.lines = [page.text.split("\n") if page.text else [] for page in pages]
        self.contents = [sum(bool(_CONTENTS.search(line)) for line in lines) >= 5 for lines in self.lines]
        """Whether a page is a table of contents: it names everything and shows nothing."""
        self.digits = [_digit_share(page.text) for page in pages]
        stems = [[terms(line) for line in lines] for lines in self.lines]
        flat = [[s for line in lines for s in line] for lines in stems]
        cut = [(i, words[k : k + PASSAGE]) for i, words in enumerate(flat) for k in _starts(len(words))]
        self.owners = [i for i, _ in cut]
        """Page (from 0) of each passage."""
        self.page_words = Bm25(Counter(words) for words in flat)
        self.passage_words = Bm25(Counter(words) for _, words in cut)
        self.page_pairs = Bm25(Counter(map(" ".join, pairwise(words))) for words in flat)
        self.headings = Bm25(self._heading_words(stems, outline))

    def __len__(self) -> int:
        return len(self.pages)

    def _heading_words(
        self, stems: Sequence[Sequence[list[str]]], outline: Sequence[tuple[int, str, int]]
    ) -> list[Counter[str]]:
        """Words of each page's headings, captions and outline titles."""
        body = _usual_height(self.pages)
        seen = Counter(line for lines in self.lines for line in set(lines))
        found: list[Counter[str]] = [Counter() for _ in self.pages]
        for i, page in enumerate(self.pages):
            for j, line in enumerate(self.lines[i]):
                tall = page.heights[j] >= HEADING * body if page.heights and body else j < 2
                rare = seen[line] <= max(2, RUNNING * len(self))
                if (tall or _CAPTION.match(line)) and rare and len(stems[i][j]) <= HEADING_WORDS:
                    found[i].update(stems[i][j])
        for _, title, page_number in outline:
            found[page_number - 1].update(terms(title))
        return found


def excerpt(text: str, query: str, length: int) -> str:
    """At most `length` characters of a text: its start, or the lines around the densest match with the query."""
    if len(text) <= length:
        return text
    mark = " [...] "
    if length <= 4 * len(mark):
        return text[: max(0, length)]
    wanted, lines = set(terms(query)), text.split("\n")
    ends, position = [], 0
    for line in lines:
        position += len(line) + 1
        ends.append(position)
    starts = [0, *ends[:-1]]
    found = [wanted.intersection(terms(line)) for line in lines]
    best, start = 0, 0
    for i, own in enumerate(found):
        if not own:
            continue
        inside: set[str] = set()
        for j in range(i, len(lines)):
            if ends[j] - starts[i] > length:
                break
            inside |= found[j]
        if len(inside) > best:
            best, start = len(inside), starts[i]
    # Near the end of a page there is room for lines before the match as well.
    start = min(start, next((s for s in starts if len(text) - s <= length - len(mark)), start))
    before, after = mark.lstrip() if start else "", mark.rstrip()
    if len(text) - start <= length - len(before):
        return before + text[start:]
    return before + text[start : start + length - len(before) - len(after)] + after


def _starts(count: int) -> range:
    """First words of the passages of a page with `count` words."""
    return range(0, max(1, count - PASSAGE // 2), PASSAGE // 2) if count else range(0)


def _usual_height(pages: Sequence[PageText]) -> float:
    """Letter height of the body in points: the median over characters; 0 if unknown."""
    counts: Counter[float] = Counter()
    for page in pages:
        for height, line in zip(page.heights, page.text.split("\n"), strict=False):
            counts[height] += len(line)
    half, passed = sum(counts.values()) / 2, 0
    for height in sorted(counts):
        passed += counts[height]
        if passed >= half:
            return height
    return 0.0


def _digit_share(text: str) -> float:
    signs = sum(c.isalnum() for c in text)
    return sum(c.isdigit() for c in text) / signs if signs else 0.0
