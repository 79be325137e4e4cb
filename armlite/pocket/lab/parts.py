"""What the families of the lab world share: an ask (what a task says and how it is found out), and which parts of the
world are kept for the transfer split.

A part is a place, a topic, a constraint or a chain. The transfer split asks for parts that no other split asks for;
each of their words and steps is known from elsewhere, so what is new is how they go together.
"""

import random
from dataclasses import dataclass
from typing import Any

from armlite.pocket import words
from armlite.pocket.instruction import two_responses

SCENE = "What is to be seen?"
ECHO = "What is said?"
DRILLED = (*words.FILLER, *words.TOPICS, *words.KEYWORDS, *words.CODES, *map(str, range(12, 29)))
"""What drills speak of: words of the world and numbers."""


@dataclass(frozen=True)
class Ask:
    """One task before its responses are put in order."""

    question: str
    right: str
    wrong: str
    calls: tuple[dict[str, Any], ...] = ()
    """The calls that find it out, in order; as many as the task needs."""
    plans: tuple[str, ...] = ()
    """What the expert thinks before each."""
    finding: str = ""
    """What is seen in the end; empty: what the checks say."""
    sight: str = ""
    """What the expert says before all else: whether it can be seen without a call."""
    glimpse: str = ""
    """The response that a first sight of what needs a call speaks for, mostly the right one; empty: for none."""
    constraints: tuple[dict[str, Any], ...] = ()
    images: tuple[str, ...] = ()
    document: str | None = None
    scene: tuple[str, ...] = ()
    """What there is to be seen in the prompt's picture, part by part."""
    places: tuple[str, ...] = ()
    """Where, if the parts have places."""

    def lesson(self, rng: random.Random) -> dict[str, Any]:
        """The fields of a Task for the base model: what is to be seen, or where nothing is, a `drill`.

        Where parts have places, mostly a few are asked for: that is how a question about one is learnt to be looked up.
        """
        if not self.scene:
            return drill(rng)
        question, parts = SCENE, list(self.scene)
        if self.places and rng.random() < 0.6:
            asked = rng.sample(range(len(parts)), 3)
            question = f"What is to be seen at the {', '.join(self.places[i] for i in asked)}?"
            parts = [parts[i] for i in asked]
        return {"question": question, "images": self.images, "document": self.document, "gold": ", ".join(parts)}

    def fields(self, rng: random.Random) -> dict[str, Any]:
        """The fields of a Task."""
        expert = {
            "calls": list(self.calls),
            "plans": list(self.plans),
            "finding": self.finding,
            "sight": self.sight,
            "glimpse": self.glimpse,
        }
        return {
            "question": self.question,
            "images": self.images,
            "document": self.document,
            "constraints": self.constraints,
            **two_responses(rng, self.right, self.wrong),
            "meta": {"needs": len(self.calls), "expert": expert},
        }


def drill(rng: random.Random) -> dict[str, Any]:
    """The fields of a Task without a picture: words to be said again, or words that belong to others or to responses.

    So small a model learns only from many of these to copy whatever words a call needs, and to find what goes with one.
    """
    spoken, kind = rng.sample(DRILLED, 2 * rng.randint(4, 8)), rng.randrange(3)
    if kind == 0:
        said, asked = f'"{spoken[0]}" is resp_1, "{spoken[1]}" is resp_2', rng.randint(1, 2)
        word = spoken[asked - 1]
        return {"question": f"{said}. What is {word}?", "gold": f'{said}. I see "{word}" is resp_{asked}'}
    if kind == 1:
        said = " ".join(spoken)
        return {"question": f"{said}. {ECHO}", "gold": said}
    pairs = list(zip(spoken[::2], spoken[1::2], strict=True))
    said = ", ".join(f'"{key}" is {value}' for key, value in pairs)
    some = rng.sample(pairs, 3)
    keys, gold = ", ".join(key for key, _ in some), ", ".join(f'"{key}" is {value}' for key, value in some)
    return {"question": f"{said}. What is {keys}?", "gold": gold}


def kept_place(cell: int) -> bool:
    """Whether a cell of the mosaic is asked for in the transfer split only: north east and south west."""
    return cell in (2, 6)


def kept_topic(first: str, second: str) -> bool:
    """Whether a topic of two words is asked for in the transfer split only: one in five, each word in some others."""
    return (words.FILLER.index(first) + words.TOPICS.index(second)) % 5 == 0


def kept_constraint(kind: int, word: str) -> bool:
    """Whether a kind of constraint goes with a word in the transfer split only."""
    return words.KEYWORDS.index(word) % 3 == kind % 3
