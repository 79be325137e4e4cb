"""Forms that answers to multiple choice questions take, for comparing our ports of the kits' rules with the kits' own.

Every opening goes with every ending, letter and set of options: over four thousand texts, the same each time.
"""

import random
from itertools import product

OPTIONS = (
    {"A": "silk", "B": "paper", "C": "green", "D": "wool"},
    {"A": "The car is to the left of the tree", "B": "The car is to the right of the tree"},
    {"A": "3", "B": "13", "C": "a", "D": "no, it is not", "E": "The image does not feature the object"},
)
LETTERS = ("A", "B", "C", "D", "E", "Z", "b", "c")
TEMPLATES = (
    "{0}",
    "({0})",
    "{0}.",
    "**{0}**",
    "Answer: {0}",
    "Answer:{0}",
    "The answer is {0}",
    "The correct answer is **{0}**.",
    "the answer is {0}, since nothing else would fit what can be seen in it",
    "Answer is ({0})",
    "The best answer is {0}. {1}",
    "The best option is {0}",
    "The correct option is: {0}",
    "Best answer: {0}",
    "Best option: {1}",
    "Option {0} is right",
    "I would say {0}",
    "{0}. {1}",
    "{0} {1}",
    "({0}) {1}",
    "{1}",
    "It is {1}.",
    "It is {1}, not {2}.",
    "{0} or {3}",
    "{3}, no: {0}",
    "not {3} but {0}",
    "A closer look says {0}",
    "The thing in the middle of it has a colour that I take for {1}, although {0} was my first thought of them all",
    "{0} because the object in the middle looks like it and all else does not",
    "First I thought of {3}. Then I looked again, and again, and now the answer is {0}",
    "$\\boxed{{{0}}}$",
    "{{{0}}}",
    "[{0}]",
    "# {0}",
    "Sorry, I can't help with images of people yet. {0}",
    "Cannot determine the answer: {0}",
    "Failed to obtain answer via API. {0}",
    "Failed to obtain answer via API: {1}",
    "answer is\n{0}",
    "ANSWER IS {1}",
    "The answer is a {1}",
)
ENDINGS = ("", " ", "!", "\n\nI hope that helps.", " That much is certain; the rest of the picture says nothing of it.")


def forms() -> list[tuple[str, dict[str, str]]]:
    """(text, options), all different."""
    found: dict[tuple[str, int], None] = {}
    for which, letter, template, ending in product(range(len(OPTIONS)), LETTERS, TEMPLATES, ENDINGS):
        texts = list(OPTIONS[which].values())
        at = LETTERS.index(letter) % len(texts)
        other = "ABCDE"[(at + 1) % len(texts)]
        found[template.format(letter, texts[at], texts[at - 1], other) + ending, which] = None
    for extra in ("", " ", "None", "-", "no answer", "Cotton", "A" * 300):
        found |= {(extra, which): None for which in range(len(OPTIONS))}
    return [(text, OPTIONS[which]) for text, which in found]


def sample(n: int) -> list[tuple[str, dict[str, str]]]:
    """So many of them, for the table that is kept."""
    return random.Random(0).sample(forms(), n)
