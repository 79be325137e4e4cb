"""Letters of multiple choice answers as public scripts read them out of free text, and the shares of right ones.

No scorer: the benchmarks whose answers are letters build theirs from this. Our own reading, which stands in
`Answer.decision`, refuses to guess; the rules here keep the quirks of their sources.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from armlite.evals.benchmarks.shares import share
from armlite.evals.figures import Answer, Figure, Figures, Item
from armlite.types import StopReason

Right = Callable[[Item], bool]
"""Is the first answer of an item right, by some reading?"""


def given(item: Item) -> str:
    """What a public script is handed: the text inside the final `<answer>`, else the whole last turn.

    Empty where there is none: the last turn of a model that could not be asked is our error message, not its text.
    """
    answer = item.first
    return "" if answer is None else answer.final if answer.final is not None else last_turn(answer)


def last_turn(answer: Answer | None) -> str:
    """The last turn with its tags and thoughts, which some scripts read as it is; empty as in `given`."""
    return "" if answer is None or answer.trajectory.stop is StopReason.MODEL_ERROR else answer.text


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


def vlmevalkit_letter(text: str, options: Mapping[str, str]) -> str | None:
    """The rules that VLMEvalKit and lmms-eval's HR-Bench try before they ask a language model (`can_infer`).

    A letter that stands alone, if no other does (the article `A` is one too); else the option whose whole text occurs,
    if no other's does. `Z` is their mark for a refusal.
    """
    if any(refusal in text for refusal in _REFUSALS):
        return "Z"
    words = set(re.sub(r"[.()\[\],:;!*#{}]", " ", text).split())
    found = [letter for letter in options if letter in words]
    if len(found) == 1:
        return found[0]
    if not found and "Z" in words:
        return "Z"
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
