"""Rubrics: criteria that a response is graded by, each with its own verdict, and their weighted total.

The files are those of `verifiers` (0.4): `criteria`, each with `name`, `text`, `weight` and `choices` from worst to
best. Pure: `armlite.judge` plays the tasks.
"""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from armlite.errors import ArmliteError, first_fault, first_line, nearest
from armlite.types import Record, Status, Task, Verdict

YES_NO = ({"no", "yes"}, {"false", "true"}, {"incorrect", "correct"}, {"fail", "pass"})
"""Two choices that a check answers; all others are put to the judge as the options of a multiple choice question."""
SUFFIXES = (".json", ".toml", ".yaml", ".yml")


class Criterion(Record):
    """One thing that a response is graded by."""

    name: str = Field(min_length=1)
    text: str = Field(min_length=1)
    """What the judge reads."""
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Its share of the total."""
    choices: tuple[str, ...] = Field(default=("no", "yes"), min_length=2, max_length=len(ascii_uppercase))
    """Possible answers from worst to best: the first counts 0, the last 1, the others evenly between."""

    @field_validator("choices")
    @classmethod
    def _differ(cls, choices: tuple[str, ...]) -> tuple[str, ...]:
        if len({choice.strip().casefold() for choice in choices}) < len(choices) or not all(map(str.strip, choices)):
            raise ValueError("choices must be there and differ from each other")
        return choices

    @property
    def is_check(self) -> bool:
        """It is asked as a check: does the response satisfy it, yes or no?"""
        return len(self.choices) == 2 and {choice.strip().casefold() for choice in self.choices} in YES_NO

    def task(self, task: Task) -> Task:
        """The task of this criterion for a task with one response.

        A check shows the response as any other and brings the tools for constraints. A choice of several is a question
        that quotes the response.
        """
        own: dict[str, Any] = {"id": part_id(task.id, self.name), "gold": None}
        if self.is_check:
            own |= {"kind": "pointwise", "constraints": ({"text": self.text},)}
        else:
            options = dict(zip(ascii_uppercase, self.choices, strict=False))
            quoted = "\n".join(f"> {line}" for line in task.responses[0].splitlines())
            question = (
                f"How does the response to a question do by this criterion? {self.text}\n\n"
                f"The question:\n{task.question}\n\nThe response:\n{quoted}"
            )
            own |= {"kind": "multiple_choice", "question": question, "options": options, "responses": ()}
            own["constraints"] = ()
        return Task.model_validate({**task.model_dump(), **own})

    def graded(self, verdict: Verdict) -> "Graded":
        """What the verdict on its task says."""
        choice = None
        if verdict.correct is not None:
            yes = [word for word in self.choices if word.strip().casefold() in ("yes", "true", "correct", "pass")]
            choice = yes[0] if verdict.correct else next(word for word in self.choices if word not in yes)
        elif verdict.answer is not None:
            choice = self.choices[ascii_uppercase.index(verdict.answer)]
        score = None if choice is None else self.choices.index(choice) / (len(self.choices) - 1)
        return Graded(criterion=self, choice=choice, score=score, verdict=verdict)


class Graded(Record):
    """A criterion and how a response did by it."""

    criterion: Criterion
    choice: str | None
    """None: it could not be judged; the verdict's status says why."""
    score: float | None
    """The choice's place between worst, 0, and best, 1."""
    verdict: Verdict


class Grade(Record):
    """How a response did by a rubric."""

    status: Status
    """`judged`; else that of the first criterion that counts and could not be judged."""
    total: float | None
    """Mean of the scores by weight, 0 to 1; None where a criterion that counts could not be judged: no score is made
    up, nor are the others taken for all."""
    criteria: tuple[Graded, ...]
    """In the rubric's order."""


class Rubric(Record):
    """Criteria, of which at least one counts."""

    criteria: tuple[Criterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two criteria are named {twice[0]!r}")
        total = sum(criterion.weight for criterion in self.criteria)
        if not 0 < total < float("inf"):
            raise ValueError(f"the weights add up to {total}; at least one has to count")
        return self

    def tasks(self, task: Task) -> list[Task]:
        """One for each criterion, of a task with one response."""
        return [criterion.task(task) for criterion in self.criteria]

    def grade(self, verdicts: Sequence[Verdict]) -> Grade:
        """What verdicts on the tasks, in their order, come to."""
        found = tuple(c.graded(verdict) for c, verdict in zip(self.criteria, verdicts, strict=True))
        counting = [graded for graded in found if graded.criterion.weight]
        status = next((graded.verdict.status for graded in counting if graded.score is None), "judged")
        total = None
        if status == "judged":
            whole = sum(graded.criterion.weight for graded in counting)
            total = sum(graded.criterion.weight * graded.score for graded in counting if graded.score) / whole
        return Grade(status=status, total=total, criteria=found)


def part_id(name: str, criterion: str) -> str:
    """Id of the task of a criterion."""
    return f"{name}: {criterion}"


def read_rubric(path: str | Path) -> Rubric:
    """Read a rubric file: JSON, TOML or YAML with `criteria`, or JSON or YAML that is the list itself.

    Raises:
        ArmliteError: there is no such file, or what is wrong with it and where.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise ArmliteError(f"the rubric {file} is not one of {', '.join(SUFFIXES)}")
    try:
        text = file.read_bytes().decode("utf-8-sig")
        data = _parse(text, file.suffix.lower())
    except OSError as error:
        raise ArmliteError(f"cannot read the rubric {file}: {error.strerror or error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ArmliteError(f"the rubric {file} is no YAML: line {line}: {error.problem}") from error
    except (ValueError, yaml.YAMLError) as error:  # of JSON, TOML and UTF-8; their messages say where
        raise ArmliteError(f"the rubric {file} cannot be read: {first_line(error)}") from error
    data = {"criteria": data} if isinstance(data, list) else data
    if not isinstance(data, dict) or "criteria" not in data:
        known = f".{nearest('criteria', map(str, data))}" if isinstance(data, dict) else ""
        raise ArmliteError(f"the rubric {file} has no list of `criteria`{known}")
    try:
        return Rubric.model_validate(data)
    except ValidationError as error:
        where, why = first_fault(error, Rubric)
        raise ArmliteError(f"the rubric {file}, {where}: {why}") from error


def _parse(text: str, suffix: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(text)
    return json.loads(text) if suffix == ".json" else yaml.safe_load(text)
