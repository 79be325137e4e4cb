"""What a kit asks of the judge, one item at a time: its prompt as it is, or a pair where its row holds one.

Pairs of VL-RewardBench and Multimodal RewardBench become tasks of ours, so that the judge sees them in the form that it
was trained with, and are answered in the form that the kit's script reads.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from armlite.episode import Episode
from armlite.evals.benchmarks import multimodal_rewardbench, vl_rewardbench
from armlite.evals.exports import NO_ANSWER
from armlite.evals.figures import Answer
from armlite.evals.orders import presented
from armlite.protocol.prompts import given_text
from armlite.runner import Job
from armlite.types import Task, Trajectory

Pictures = Callable[[], Sequence[Image.Image]]
Verdict = Callable[[Any], str]
"""From a decision to what the kit's script reads as the verdict; empty for none."""


@dataclass(frozen=True, eq=False)
class Asked(Job):
    """A job of a kit; its pictures are opened when its turn comes."""

    pictures: Pictures = tuple
    verdict: Verdict | None = None
    """Of a pair; None: the kit's own prompt is asked as it is."""

    def open(self) -> Episode:
        """Open the pictures and begin.

        Raises:
            InputError: a picture cannot be read.
        """
        pictures = list(self.pictures())
        names = tuple(f"image_{i}" for i in range(len(pictures)))
        task = self.task.model_copy(update={"images": names})
        episode = Episode.open(task, self.settings, self.root, self.order, self.rollout, pictures)
        if self.verdict is None:
            first = episode.conversation.messages[0]
            text = given_text(task, episode.memory, bool(episode.tools))
            episode.conversation.messages[0] = replace(first, text=text)
        return episode


def answer_of(asked: Asked, played: Trajectory) -> str | None:
    """What the kit scores; `NO_ANSWER` where the judge gave none, None where there was a fault."""
    if played.fault is not None:
        return None
    return (asked.verdict(played.decision) if asked.verdict else Answer(played).said) or NO_ANSWER


PAIR_COLUMNS = ("Text", "Output1", "Output2", "Better", "query", "question", "response")
"""Columns that `as_pair` looks at."""


def as_pair(name: str, row: Mapping[str, Any]) -> tuple[Task, tuple[int, ...], Verdict] | None:
    """The pair that a kit's row holds, the order in which the kit shows it, and its form of a verdict; None: no pair.

    Args:
        name: id of the task.
        row: one of the kit's data, by column.
    """
    if {"Text", "Output1", "Output2", "Better"} <= set(row):
        task = _task(name, row["Text"], (row["Output1"], row["Output2"]))
        return task, (1, 2), multimodal_rewardbench.kit_verdict
    question = row.get("query", row.get("question"))
    responses = row.get("response")
    if isinstance(responses, str) and responses.startswith("["):
        responses = ast.literal_eval(responses)
    if question is None or not isinstance(responses, list | tuple) or len(responses) != 2:
        return None
    task = _task(name, question, tuple(responses))
    [order] = presented(task, "lenparity")
    return task, order, lambda decision: vl_rewardbench.kit_verdict(task, decision)


def _task(name: str, question: str, responses: tuple[str, ...]) -> Task:
    return Task(id=name, kind="pairwise", question=question.replace("<image>", "").strip(), responses=responses)
