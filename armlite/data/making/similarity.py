"""When are a good answer and a flawed one too much alike to teach anything?

Two rules, both on normalised words (`tools.documents.words`: NFKC, lower case, no accents or punctuation, numbers in
one spelling). Equal: the two say the same. Nearly equal without a difference of substance: at least the limit of their
words match in order (difflib's ratio), and both hold the same numbers, names, colours and relations, so that one is but
the other in new words. The second rule is for what a model wrote: an injected pair differs in one fact and is meant to
be alike, and of a pair that a verifier tells apart the difference is known, too.
"""

import re
from collections import Counter
from difflib import SequenceMatcher

from armlite.data.making.vocabulary import COLOURS, NAME, OPPOSITES
from armlite.tools.documents.words import words

MAX_SIMILARITY = 0.95
_FACTS = frozenset({*COLOURS, *(word for word in OPPOSITES if " " not in word), "front"})


def normalised(text: str) -> str:
    """The words of a text in their one spelling; the text itself where it has none (`?!`)."""
    return " ".join(words(text)) or text.strip()


def similarity(one: str, other: str) -> float:
    """Share of words that match in order, from 0 to 1."""
    return SequenceMatcher(None, normalised(one).split(), normalised(other).split(), autojunk=False).ratio()


def too_similar(good: str, flawed: str, limit: float | None = MAX_SIMILARITY) -> str | None:
    """The rule that a pair falls under, in a few words, or None.

    Args:
        limit: of the second rule; None where that does not apply.
    """
    if normalised(good) == normalised(flawed):
        return "says the same"
    if limit is not None and similarity(good, flawed) >= limit and _substance(good) == _substance(flawed):
        return "too similar"
    return None


def _substance(text: str) -> Counter[str]:
    """Numbers, colours, words of relation and names of a text."""
    found = Counter(word for word in words(text) if word[0].isdigit() or word in _FACTS)
    return found + Counter(match["name"].casefold() for match in re.finditer(NAME, text))
