"""What a scripted judge says, drawn from fixed seeds, and what an invented set of rows is."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_TURN = "I do not know."
"""A finished turn without an answer."""
CUT = "<think>It could be A, or B, since the"
"""The server says that this one ran out of tokens."""


@dataclass
class RealSet:
    """A set with its rows, and how each form of it is written."""

    name: str
    """Of our benchmark."""
    rows: list[dict[str, Any]]
    """What all forms are made of; `mark` is the row's, `prefers` what the judge means, `turn` what it says."""
    ours: Callable[[Path, list[dict[str, Any]]], None]
    vlmevalkit: tuple[str, Callable[[dict[str, Any]], dict[str, Any]]] | None = None
    """The kit's name of the set, and a row of its table."""
    lmms: tuple[str, Callable[[dict[str, Any]], dict[str, Any]], tuple[str, ...]] | None = None
    """The kit's task and its split, a row of its data, and the columns that are pictures."""


def asked(row: dict[str, Any]) -> str:
    """The question with its mark."""
    return f"{row['question']} {row['mark']}"


COLOURS = ("red", "green", "blue", "grey", "tan", "pink")
SINGLE = (
    "<think>It shows {wrong} first.</think>\n<answer>{letter}</answer>",
    "<think>Clear.</think><answer>({letter}) {text}</answer>",
    "<think>Clear.</think><answer>The answer is {letter}.</answer>",
    "<think>Clear.</think><answer>{text}</answer>",
    "<think>Clear.</think><answer>The answer is **{letter}**, which the left edge of it shows best of all</answer>",
    "<think>Clear.</think><answer>{letter}: a second look at it does not leave me any other choice here</answer>",
    "<think>{wrong}? No.</think> It must be {letter}",
    "{letter}",
    "<think>Clear.</think><answer>None of them, as far as the picture goes</answer>",
    NO_TURN,
    CUT,
)
"""Turns about multiple choice questions."""


def letters(draw: random.Random, options: dict[str, str], gold: str) -> str:
    """A turn about a question with options, right in about two of three."""
    wrong = draw.choice([key for key in options if key != gold])
    letter = gold if draw.random() < 0.65 else wrong
    other = draw.choice([key for key in options if key != letter])
    return draw.choice(SINGLE).format(letter=letter, text=options[letter], wrong=other)


def easy(draw: random.Random, options: dict[str, str], gold: str) -> str:
    """A turn that is easily read, right in about four of five: a problem of several rows is seldom right otherwise."""
    letter = gold if draw.random() < 0.8 else draw.choice(list(options))
    return draw.choice((*SINGLE[:1] * 4, "{letter}", CUT)).format(letter=letter, wrong=letter)


FREE = (
    "<think>Counted.</think><answer>{answer}</answer>",
    "<think>Counted.</think><answer>The answer is {answer}</answer>",
    "<think>Counted.</think> It is {answer}.",
    NO_TURN,
    CUT,
)
"""Turns about questions without options."""


def free(draw: random.Random, gold: str, wrong: str) -> str:
    """A turn about a question without options, right in about two of three."""
    return draw.choice(FREE).format(answer=gold if draw.random() < 0.65 else wrong)


def pair_turn(draw: random.Random, gold: int) -> dict[str, Any]:
    """What a judge of pairs means, by published number; None: it says nothing that can be read."""
    prefers = gold if draw.random() < 0.65 else 3 - gold
    silent = draw.random() < 0.15
    verdict = "<think>They differ.</think>\n<answer>Overall Judgment: Answer {n} is better.</answer>"
    said = draw.choice((NO_TURN, CUT)) if silent else verdict
    return {"prefers": prefers, "turn": said}
