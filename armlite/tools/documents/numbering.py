"""Page numbers as printed: which page of the file a reader means by "page 14".

A report's printed 14 is often its 18th page, and a scan of open book spreads holds two numbers a page.
"""

import re
from collections import Counter
from collections.abc import Sequence

from armlite.tools.documents.page_text import PageText

EDGE_LINES = 2
"""Lines at the top and at the bottom of a page in which its number is looked for."""
FEWEST = 3
"""Pages that must agree before numbers are believed to be page numbers..."""
SHARE = 0.3
"""...and their share of the pages with text."""

_PRINTED = re.compile(
    r"^\W*(?:page\s*)?(\d{1,4})\W*$|^(?:page\s+)?(\d{1,4})\s+\D|(?<![\d.,/$])(\d{1,4})\W*$|\bpage\s+(\d{1,4})\b",
    re.IGNORECASE,
)


class Numbering:
    """Printed numbers of a document's pages: those that the file declares, else those found at the pages' edges."""

    def __init__(self, pages: Sequence[PageText]):
        self.count = len(pages)
        self.labels = [page.label for page in pages]
        if all(label == str(n) for n, label in enumerate(self.labels, 1)):
            self.labels = []
        self.step, self.start = _fit(pages)

    def find(self, number: int) -> list[int]:
        """Pages (from 1) that "page `number`" may mean, likeliest first: the printed number before the count."""
        # A cover that is also called 1 comes before the page 1 of the body, which is the one that people mean.
        found = [n for n, label in reversed(list(enumerate(self.labels, 1))) if label == str(number)]
        if self.step:
            found.append(-(-(number - self.start) // self.step))
        found.append(number)
        return [n for n in dict.fromkeys(found) if 1 <= n <= self.count]


def _fit(pages: Sequence[PageText]) -> tuple[int, int]:
    """(step, start) such that page n ends with the printed number start + step * n; (0, 0) if none is printed.

    Step 2 is a scan of double pages.
    """
    seen = [_candidates(page.text) for page in pages]
    enough = max(FEWEST, SHARE * sum(bool(page.text) for page in pages))
    best, fit = 0, (0, 0)
    for step in (1, 2):
        votes = Counter(number - step * n for n, numbers in enumerate(seen, 1) for number in numbers)
        start, support = max(votes.items(), key=lambda vote: vote[1], default=(0, 0))
        if step == 2 and 2 * votes[start + 1] >= support:
            start += 1  # both numbers of a spread get votes, and the right-hand one is the last on its page
        if support >= enough and support > best:
            best, fit = support, (step, start)
    return fit


def _candidates(text: str) -> set[int]:
    lines = text.split("\n")
    edges = lines[:EDGE_LINES] + lines[-EDGE_LINES:]
    return {int(group) for line in edges for m in _PRINTED.findall(line.strip()) for group in m if group}
