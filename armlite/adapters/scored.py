"""A response scored for an evaluation suite: what the adapters of inspect_ai, deepeval, verifiers, promptfoo share."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from armlite.asking import Asking, Picture, make_task
from armlite.errors import ArmliteError, InputError, cut
from armlite.rubric import Grade, Rubric, read_rubric
from armlite.types import Constraint, Kind, Verdict

Mode = Literal["check", "rate", "compare", "grade"]
MODES = ("check", "rate", "compare", "grade")
REASON = 2000
"""Characters of a reason, at most."""


@dataclass(frozen=True)
class Item:
    """A response to be scored, and what it is an answer to."""

    question: str
    response: str
    images: Sequence[Picture] = ()
    document: str | Path | None = None
    constraints: Sequence[Constraint | str] = ()
    against: str | None = None
    """Of `compare`: the other response."""


@dataclass(frozen=True)
class Scored:
    """What a judge makes of it."""

    value: float | None
    """0 to 1; None: it could not be judged, which is not a bad score."""
    reason: str
    """Why, or why not."""
    verdict: Verdict | Grade | None = None
    """None: a file of the item could not be read."""

    @property
    def facts(self) -> dict[str, Any]:
        """For a suite's log: status, probability, the tools that it rests on; of a rubric each criterion's score."""
        if self.verdict is None:
            return {"status": "bad_input"}
        if isinstance(self.verdict, Grade):
            return {"status": self.verdict.status, **{g.criterion.name: g.score for g in self.verdict.criteria}}
        tools = [item.tool for item in self.verdict.evidence]
        return {"status": self.verdict.status, "probability": self.verdict.probability, "tools": tools}


@dataclass(eq=False)
class _Waiting:
    """An item of a thread that waits for its score."""

    item: Item
    found: Scored | None = None
    error: BaseException | None = None


@dataclass
class Scorer:
    """Scores responses; safe for threads, and what comes while others are judged is judged together.

    Args:
        judge: any: `Judge`, `Panel`, `Cascade`.
        mode: `check`: 1 for a correct response, 0 for another. `rate`: the rating of 1 to 10 as 0 to 1. `compare`: 1
            where it is better than the other one, 0 where it is worse, 0.5 for a tie, in both orders. `grade`: the
            total of a rubric.
        rubric: of `grade`: its file, or as it was read.
        votes: judgments of each order.

    Raises:
        ArmliteError: there is no such mode, or no rubric to grade by.
    """

    judge: Asking
    mode: Mode = "check"
    rubric: Rubric | str | Path | None = None
    votes: int = 1
    _waiting: list[_Waiting] = field(default_factory=list, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ArmliteError(f"mode is {self.mode!r}; it can be {', '.join(MODES)}")
        if (self.mode == "grade") != (self.rubric is not None):
            raise ArmliteError("mode grade and a rubric go together: give both or neither")
        if self.rubric is not None and not isinstance(self.rubric, Rubric):
            self.rubric = read_rubric(self.rubric)

    def score(self, item: Item) -> Scored:
        """Score one item; waits for its turn.

        Raises:
            ArmliteError: the model cannot be loaded or reached, or `compare` has nothing to compare with.
        """
        mine = _Waiting(item)
        self._waiting.append(mine)
        with self._turn:
            if mine in self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    for one, found in zip(batch, self.score_many([one.item for one in batch]), strict=True):
                        one.found = found
                except BaseException as error:
                    for one in batch:
                        one.error = error
        if mine.error is not None:
            raise mine.error
        assert mine.found is not None
        return mine.found

    def score_many(self, items: Sequence[Item]) -> list[Scored]:
        """Score many at once, in their order.

        Raises:
            ArmliteError: as `score`.
        """
        found: list[Scored | None] = [None] * len(items)
        made = []
        for i, item in enumerate(items):
            try:
                made.append((i, *self._task(item)))
            except InputError as error:
                found[i] = Scored(None, f"could not judge (bad_input): {error}")
        rubric = self.rubric if isinstance(self.rubric, Rubric) else None
        parts = [(task, opened) for _, whole, opened in made for task in (rubric.tasks(whole) if rubric else [whole])]
        verdicts = self.judge.judge_many(
            [task for task, _ in parts], images=[opened for _, opened in parts], swap=True, votes=self.votes
        )
        width = len(rubric.criteria) if rubric else 1
        for at, (i, *_) in enumerate(made):
            own = verdicts[at * width : (at + 1) * width]
            found[i] = _graded(rubric.grade(own)) if rubric else _scored(own[0])
        return [scored for scored in found if scored is not None]

    def _task(self, item: Item) -> tuple[Any, Any]:
        kinds: dict[str, Kind] = {"rate": "rating", "compare": "pairwise"}
        responses = [item.response]
        if self.mode == "compare":
            if item.against is None:
                raise ArmliteError("mode compare needs another response for each item; see `against`")
            responses.append(item.against)
        rules = () if self.mode == "grade" else item.constraints
        return make_task(kinds.get(self.mode, "pointwise"), item.question, responses, item.images, item.document, rules)


def _scored(verdict: Verdict) -> Scored:
    value = None
    if verdict.correct is not None:
        value = float(verdict.correct)
    elif verdict.rating is not None:
        value = (verdict.rating - 1) / 9
    elif verdict.choice is not None:
        value = {0: 0.5, 1: 1.0}.get(verdict.choice, 0.0)
    why = verdict.rationale if value is not None else f"could not judge ({verdict.status}): {verdict.rationale}"
    return Scored(value, cut(why.strip(), REASON), verdict)


def _graded(grade: Grade) -> Scored:
    lines = (f"{g.criterion.name}: {g.choice or g.verdict.status}. {g.verdict.rationale}" for g in grade.criteria)
    why = "\n".join(line.strip() for line in lines)
    if grade.total is None:
        why = f"could not judge ({grade.status}):\n{why}"
    return Scored(grade.total, cut(why, REASON), grade)
