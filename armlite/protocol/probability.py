"""How likely each verdict was, read from the tokens that the model might have written in place of its answer's.

A model gives a probability to every token that it could write next. Walking along the answer that it wrote, each token
that would have made another verdict of it takes its share, and what is left is the written one's. Tokens that would
change nothing but the wording, and those of which no verdict can be read, are left out.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from armlite.protocol.parse import parse_decision
from armlite.types import Decision, Kind

OPEN, CLOSE = "<answer>", "</answer>"


class TokenLogprobs(NamedTuple):
    """A token that was written, and those that might have been."""

    text: str
    logprob: float
    """Natural logarithm of its probability, before any temperature."""
    top: tuple[tuple[str, float], ...]
    """The likeliest tokens in its place, with theirs; the written one may be among them."""


def of_answer(tokens: Sequence[TokenLogprobs]) -> tuple[TokenLogprobs, ...]:
    """The last of a turn's tokens, which hold its answer: those behind the one that completes the last `<answer>`."""
    _, tag, rest = "".join(token.text for token in tokens).rpartition(OPEN)
    kept: list[TokenLogprobs] = []
    left = len(rest) if tag else 0
    for token in reversed(tokens):
        if left <= 0:
            break
        # One token may hold the end of the tag, too, and then nothing is known of what else it might have been.
        kept.append(token if len(token.text) <= left else TokenLogprobs(token.text[-left:], 0.0, ()))
        left -= len(token.text)
    return tuple(reversed(kept))


def answer_probabilities(
    tokens: Sequence[TokenLogprobs], kind: Kind, choices: int = 0, options: Collection[str] = ()
) -> dict[Decision, float]:
    """The probability of each verdict that the tokens of an answer (`of_answer`) might have told; they sum to 1.

    Args:
        kind: what was asked.
        choices: number of presented responses; verdicts are their presented numbers.
        options: keys of a multiple choice.

    Returns:
        Verdict -> probability; empty for an answer that cannot be read, that stands in no list of tokens, or of an
        open question, where there is no list of verdicts.
    """
    if kind == "open_qa":
        return {}
    text = "".join(token.text for token in tokens).partition(CLOSE)[0]
    written = _read(text, kind, choices, options)
    if written is None or not any(token.top for token in tokens):
        return {}
    found: dict[Decision, float] = {}
    left, at = 1.0, 0  # the probability of what was written so far
    for token in tokens:
        if at >= len(text) + len(CLOSE):
            break
        others: dict[Decision, float] = {}
        for other, logprob in token.top:
            if other == token.text:
                continue
            verdict = _instead(text[:at], other, text[at + len(token.text) :], kind, choices, options)
            if verdict is not None and verdict != written:
                others[verdict] = others.get(verdict, 0.0) + math.exp(logprob)
        own = math.exp(token.logprob)
        total = own + sum(others.values())
        if others and total > 0:
            for verdict, share in others.items():
                found[verdict] = found.get(verdict, 0.0) + left * share / total
            left *= own / total
        at += len(token.text)
    found[written] = left
    return found


def _instead(
    before: str, token: str, after: str, kind: Kind, choices: int, options: Collection[str]
) -> Decision | None:
    """What the answer says with another token in one place; where the rest does not go with it, by what it begins."""
    text = before + token.partition(CLOSE)[0]
    whole = text if CLOSE in token else text + after.partition(CLOSE)[0]
    for candidate in (whole, text):
        if (verdict := _read(candidate, kind, choices, options)) is not None:
            return verdict
    begun = text.strip().casefold()
    words = {"pointwise": ["True", "False"], "pairwise": ["Tie"], "listwise": ["Tie"]}.get(kind, list(options))
    fitting = [word for word in words if begun and word.casefold().startswith(begun)]
    return _read(fitting[0], kind, choices, options) if len(fitting) == 1 else None


def _read(text: str, kind: Kind, choices: int, options: Collection[str]) -> Decision | None:
    return parse_decision(text.strip(), kind, choices, options)
