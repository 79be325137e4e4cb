"""The pocket world's instruction family: two texts that begin alike for the eye, one of which keeps a constraint.

Each maker returns the constraint's text, the verifier with its arguments, a text that keeps it and one that breaks it.
Everything that the constraint does not speak of is drawn from the same distribution for both.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from armlite.pocket import words

Write = Callable[[random.Random, int], str]
Pair = tuple[str, str, dict[str, Any], str, str]


def two_responses(rng: random.Random, right: str, wrong: str) -> dict[str, Any]:
    """The `responses` and `gold` of a pair in random order."""
    gold = rng.randint(1, 2)
    return {"responses": (right, wrong) if gold == 1 else (wrong, right), "gold": gold}


def instruction_task(rng: random.Random, name: str, out: Path) -> dict[str, Any]:
    """A constraint and two responses."""
    text, check, arguments, good, bad = rng.choice(MAKERS)(rng)
    call = {"name": check, "arguments": {"response": "resp_1", **arguments}}
    return {
        "question": "Which response keeps the constraint?",
        "constraints": ({"text": text, "check": check, "arguments": arguments},),
        **two_responses(rng, good, bad),
        "meta": {"expert": {"call": call, "plan": "I check `resp_1`.", "finding": ""}},
    }


def _sentence(rng: random.Random, n: int) -> str:
    return " ".join(rng.choices(words.FILLER, k=n)) + "."


def _prose(rng: random.Random, sentences: int) -> str:
    return " ".join(_sentence(rng, rng.randint(4, 7)) for _ in range(sentences))


def _counted(
    noun: str, check: str, lowest: range, width: int, miss: Callable[[random.Random], int], write: Write
) -> Callable[[random.Random], Pair]:
    """A maker of texts with so many of something.

    Args:
        lowest: of the lower bounds; the upper one is `width` above.
        miss: by how much the one that breaks the constraint is beside the range.
        write: a text with so many.
    """

    def make(rng: random.Random) -> Pair:
        lower = rng.choice(lowest)
        upper = lower + width
        wrong = rng.choice((lower - miss(rng), upper + miss(rng)))
        good, bad = write(rng, rng.randint(lower, upper)), write(rng, wrong)
        arguments = {"lower_bound": lower, "upper_bound": upper}
        return f"It has {lower} to {upper} {noun}.", check, arguments, good, bad

    return make


def _capitalised(rng: random.Random, sentences: int) -> str:
    """Sentences need capitals to be told apart."""
    text = _prose(rng, sentences)
    return ". ".join(part.strip().capitalize() for part in text.split(".") if part.strip()) + "."


def _paragraphs(rng: random.Random, n: int) -> str:
    return "\n\n".join(_prose(rng, 2) for _ in range(n))


def keyword(rng: random.Random) -> Pair:
    word = rng.choice(words.KEYWORDS)
    arguments = {"keywords": [word], "lower_bound_times": 1, "upper_bound_times": 3}
    name = "check_whether_each_keyword_in_list_mentioned_in_range"
    return f'It names the keyword "{word}".', name, arguments, _with(rng, word), _with(rng, _another(rng, word))


def no_substring(rng: random.Random) -> Pair:
    word = rng.choice(words.KEYWORDS)
    arguments = {"substring": word}
    name = "check_whether_whole_response_not_contain_certain_substring"
    return f'It does without "{word}".', name, arguments, _with(rng, _another(rng, word)), _with(rng, word)


def ending(rng: random.Random) -> Pair:
    word = rng.choice(words.KEYWORDS)
    arguments = {"substring": f"{word}."}
    name = "check_whether_whole_response_end_with_certain_substring"
    good, bad = (f"{_sentence(rng, rng.randint(7, 14))[:-1]} {w}." for w in (word, _another(rng, word)))
    return f'It ends with "{word}".', name, arguments, good, bad


def _with(rng: random.Random, word: str) -> str:
    """Prose that holds a word behind what the eye is shown."""
    before, after = _sentence(rng, rng.randint(6, 9))[:-1], _sentence(rng, rng.randint(3, 6))
    return f"{before} {word} {after}"


def _another(rng: random.Random, word: str) -> str:
    return rng.choice([w for w in words.KEYWORDS if w != word])


MAKERS = (
    _counted(
        "words",
        "check_whether_response_word_count_in_range",
        range(12, 25),
        4,
        lambda rng: rng.randint(2, 6),
        _sentence,
    ),
    _counted(
        "sentences", "check_whether_response_sentence_number_in_range", range(3, 6), 1, lambda rng: 1, _capitalised
    ),
    _counted(
        "paragraphs", "check_whether_response_paragraph_number_in_range", range(2, 5), 1, lambda rng: 1, _paragraphs
    ),
    keyword,
    no_substring,
    ending,
)
