"""How alike two short answers are, letter by letter: what the ANLS scores of the document benchmarks rest on.

Thresholds and what is done to the answers first differ between benchmarks and stand with each of them.
"""


def edit_distance(one: str, two: str) -> int:
    """Levenshtein's distance: the fewest insertions, deletions and replacements of a character."""
    short, long = sorted((one, two), key=len)
    row = list(range(len(short) + 1))
    for i, letter in enumerate(long, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(short, 1):
            before, row[j] = row[j], min(before + (letter != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def similarity(one: str, two: str) -> float:
    """1 minus the distance as a share of the longer text; 1 for two empty ones."""
    return 1 - edit_distance(one, two) / max(len(one), len(two), 1)
