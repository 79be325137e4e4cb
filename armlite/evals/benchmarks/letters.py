"""Letters of multiple choice answers as public scripts read them out of free text, and the shares of right ones.

No scorer: the benchmarks whose answers are letters build theirs from this. Our own reading, which stands in
`Answer.decision`, refuses to guess; the rules here keep the quirks of their sources.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from armlite.evals.benchmarks.shares import share
from armlite.evals.figures import Answer, Figure, Figures, Item

Right = Callable[[Item], bool]
"""Is the first answer of an item right, by some reading?"""


def given(item: Item) -> str:
    """What a public script is handed of the first answer: `Answer.said`; empty where there is no answer."""
    return item.first.said if item.first else ""


def last_turn(answer: Answer | None) -> str:
    """The last turn with its tags and thoughts, which some scripts read as it is; empty after a fault."""
    return "" if answer is None else answer.text


def ours(item: Item) -> bool:
    """Right by our own reading of the first answer."""
    return item.decision is not None and item.decision == item.task.gold


def by_rule(rule: Callable[[str, Mapping[str, str]], str | None], whole_turn: bool = False) -> Right:
    """Right by a rule (text, options) -> letter on the first answer; no text at all is never right.

    Args:
        whole_turn: hand it the last turn with its tags and thoughts.
    """

    def right(item: Item) -> bool:
        text = last_turn(item.first) if whole_turn else given(item)
        return bool(text.strip()) and rule(text, item.task.options) == item.task.gold

    return right


def accuracies(name: str, items: Sequence[Item], right: Right, groups: Callable[[Item], Iterable[str]]) -> Figures:
    """The share of right items as `name`, and of each group as `name/GROUP`.

    Args:
        groups: names of the groups that an item belongs to.
    """
    hits = [(item, right(item)) for item in items]
    grouped: dict[str, list[bool]] = {}
    for item, hit in hits:
        for group in groups(item):
            grouped.setdefault(f"{name}/{group}", []).append(hit)
    return {name: share([hit for _, hit in hits])} | {key: share(grouped[key]) for key in sorted(grouped)}


def unread(items: Sequence[Item], readable: Callable[[Item], bool] | None = None) -> Figure:
    """Share of the items whose first answer could not be read (by our own reading unless told how)."""
    return share([not readable(item) if readable else item.decision is None for item in items])


def majority(items: Sequence[Item]) -> Figures:
    """`acc_majority`, by our own reading: the letter of most votes, of equally many the earliest; none for one vote."""
    if all(len(item.answers) < 2 for item in items):
        return {}
    votes = [Counter(a.decision for a in item.answers if a.decision is not None).most_common(1) for item in items]
    hits = [bool(top) and top[0][0] == item.task.gold for item, top in zip(items, votes, strict=True)]
    return {"acc_majority": share(hits)}


_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_FAILED = "Failed to obtain answer via API"
"""In such a text neither kit looks for letters, though both for options."""


_MARKS = re.compile(r"[.()\[\],:;!*#{}]")
_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)


def vlmevalkit_letter(text: str, options: Mapping[str, str]) -> str | None:
    """What VLMEvalKit reads before it asks a language model: `can_infer` since commit a67ace5 of June 2026.

    A letter that stands alone, if no other does and it is first met among the last four words; else the one after the
    first `answer is` (also `answer is **B**`, and the first letter of `answer is blue`); else the option whose whole
    text occurs, if no other's does and the text is at most twice as long as all options together. `Z` is a refusal.
    """
    words = _words(text)
    if _FAILED not in text:
        if any(refusal in text for refusal in _REFUSALS):
            return "Z"
        found = [letter for letter in options if letter in words]
        if len(found) == 1 and words.index(found[0]) >= len(words) - 4:
            return found[0]
        if not found and "Z" in words:
            return "Z"
        if (match := _ANSWER_IS.search(text)) and match[1].upper() in options:
            return match[1].upper()
    return _option_said(text, options) if len(text.lower()) <= 2 * sum(map(len, options.values())) else None


def lmms_hr_bench_letter(text: str, options: Mapping[str, str]) -> str | None:
    """What lmms-eval 0.7 reads in HR-Bench, and VLMEvalKit read until August 2025.

    A letter that stands alone, wherever, if no other does (the article `A` is one too); else the option whose whole
    text occurs, if no other's does. `Z` is a refusal.
    """
    words = _words(text)
    if _FAILED in text:
        return _option_said(text, options)
    if any(refusal in text for refusal in _REFUSALS):
        return "Z"
    found = [letter for letter in options if letter in words]
    if len(found) == 1:
        return found[0]
    if not found and "Z" in words:
        return "Z"
    return _option_said(text, options)


def _words(text: str) -> list[str]:
    return _MARKS.sub(" ", text).split()


def _option_said(text: str, options: Mapping[str, str]) -> str | None:
    said = [letter for letter, option in options.items() if option.lower() in text.lower()]
    return said[0] if len(said) == 1 else None


_VSTAR = (
    r"^([A-D])\s*[\.)\]]*",
    r"(?:THE\s+)?(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])",
    r"\(([A-D])\)",
    r"([A-D])\s*(?:\.|\)|])",
    r"(?:^|\s)([A-D])(?:\s|$)",
)


def lmms_vstar_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The rule of lmms-eval's `vstar_bench/utils.py`: the first pattern that occurs, else the only one of A to D.

    The text is put in capitals first, so that a sentence that begins with `Cotton` is a `C`.
    """
    text = text.strip().upper()
    for pattern in _VSTAR:
        if match := re.search(pattern, text):
            return match[1]
    found = re.findall("[A-D]", text)
    return found[0] if len(found) == 1 else None
