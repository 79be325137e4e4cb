"""The prose family: which response keeps the constraint? One of short texts is read with the eye, one of long texts
needs a check, and where just one of two constraints is to be kept, both have to be checked.

One check then says nothing: a response that keeps the first constraint is as likely to keep the second as not.
"""

import random
from dataclasses import dataclass
from typing import Any

from armlite.pocket import words
from armlite.pocket.lab.parts import Ask, kept_constraint

KINDS = ("names", "lacks", "ends", "counts")
KEPT_PAIR = {"lacks", "ends"}
"""Kinds of constraint that go together in the transfer split only."""
HIDDEN = 6
"""Filler words at the head of a long text: more than the eye is shown."""


@dataclass(frozen=True)
class Rule:
    """A constraint: its text, its check, and what it speaks of."""

    kind: str
    word: str = ""
    lower: int = 0

    @property
    def constraint(self) -> dict[str, Any]:
        """As a Task has it."""
        text, check, arguments = {
            "names": (
                f'It names the keyword "{self.word}".',
                "check_whether_each_keyword_in_list_mentioned_in_range",
                {"keywords": [self.word], "lower_bound_times": 1, "upper_bound_times": 3},
            ),
            "lacks": (
                f'It does without "{self.word}".',
                "check_whether_whole_response_not_contain_certain_substring",
                {"substring": self.word},
            ),
            "ends": (
                f'It ends with "{self.word}".',
                "check_whether_whole_response_end_with_certain_substring",
                {"substring": f"{self.word}."},
            ),
            "counts": (
                f"It has {self.lower} to {self.lower + 4} words.",
                "check_whether_response_word_count_in_range",
                {"lower_bound": self.lower, "upper_bound": self.lower + 4},
            ),
        }[self.kind]
        return {"text": text, "check": check, "arguments": arguments}


def draw_rules(rng: random.Random, needs: int, transfer: bool) -> list[Rule]:
    """One rule, or two of different kinds that speak of different words."""
    while True:
        kinds = rng.sample(KINDS if needs else KINDS[:3], 2 if needs == 2 else 1)
        spoken = rng.sample(words.KEYWORDS, 2)
        rules = [Rule(k, "" if k == "counts" else w, rng.randint(12, 24)) for k, w in zip(kinds, spoken, strict=False)]
        if needs == 2:
            fits = (set(kinds) == KEPT_PAIR) == transfer
        else:
            kept = [bool(r.word) and kept_constraint(KINDS.index(r.kind), r.word) for r in rules]
            fits = kept[0] == transfer
        if fits:
            return rules


def write(rng: random.Random, rules: list[Rule], keeps: list[bool], short: bool) -> str:
    """A text that keeps those of the rules that it is to keep; what they do not speak of is drawn alike for all."""
    said = {r.kind: (r.word, kept) for r, kept in zip(rules, keeps, strict=True)}
    others = [w for w in words.KEYWORDS if w not in {r.word for r in rules}]

    def held(kind: str, when: bool) -> list[str]:
        """The rule's word where the text is to hold it, else another."""
        if kind not in said:
            return []
        word, kept = said[kind]
        return [word if kept == when else rng.choice(others)]

    middle, end = [*held("names", True), *held("lacks", False)], held("ends", True)
    rng.shuffle(middle)
    if short:
        tail = [rng.choice(words.FILLER)] if "names" in said else end  # else a check of the end would tell
        return " ".join([rng.choice(words.FILLER), *middle, *tail]) + "."
    count = rng.randint(12, 28)
    if "counts" in said:
        lower = next(r.lower for r in rules if r.kind == "counts")
        near = [n for n in range(lower - 6, lower + 11) if n >= HIDDEN + 4]
        count = rng.choice([n for n in near if (lower <= n <= lower + 4) == said["counts"][1]])
    body = rng.choices(words.FILLER, k=count - len(end) - len(middle))
    at = rng.randint(HIDDEN, len(body) - (0 if end else 1))
    return " ".join([*body[:at], *middle, *body[at:], *end]) + "."


def prose_ask(rng: random.Random, needs: int, transfer: bool) -> Ask:
    """One or two constraints and two texts."""
    rules = draw_rules(rng, needs, transfer)
    constraints = tuple(rule.constraint for rule in rules)
    if needs < 2:
        right, wrong = (write(rng, rules, [kept], needs == 0) for kept in (True, False))
        question = "Which response keeps the constraint?"
    else:
        first, both = rng.random() < 0.5, rng.random() < 0.5
        right, wrong = write(rng, rules, [first, not first], False), write(rng, rules, [both, both], False)
        question = "Which response keeps just one of the constraints?"
    calls = [{"name": c["check"], "arguments": {"response": "resp_1", **c["arguments"]}} for c in constraints]
    plans = ["I check `resp_1`.", "I check `resp_1` again."]
    seen = rules[0].word if needs == 0 else ""
    sight = "I read the beginning." if needs else "I read all of it."
    return Ask(question, right, wrong, tuple(calls[:needs]), tuple(plans[:needs]), seen, sight, constraints=constraints)
