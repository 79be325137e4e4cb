"""The judge as a reward function of TRL's trainers (`reward_funcs`)."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

from PIL import Image

from armlite.asking import make_task
from armlite.batch.columns import text_of
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.types import Kind, Task, Verdict
from armlite.votes import win_shares

Mode = Literal["check", "rate", "group"]
MODES = ("check", "rate", "group")
Row = Mapping[str, Any]
Reward = Callable[..., list[float | None]]


def reward_func(
    judge: Judge,
    mode: Mode = "check",
    *,
    images: str = "images",
    document: str = "document",
    constraints: str = "constraints",
    votes: int = 1,
) -> Reward:
    """A function for `GRPOTrainer(reward_funcs=...)` and its kin that asks a judge.

    A completion that could not be judged gets None, which TRL leaves out of its means: never a default score.

    Args:
        judge: whose model must not be the one in training, unless it is a copy of its own.
        mode: `check`: 1.0 for a correct completion, 0.0 for another. `rate`: the rating of 1 to 10 as 0 to 1. `group`:
            completions of one prompt are compared with each other, every pair in both orders; the share that each one
            won, ties counting half. That is n (n - 1) judgments for n completions.
        images: column with the pictures of a prompt, as paths or PIL images; a single one may stand alone.
        document: column with the path of a PDF or of a folder of pages.
        constraints: column with what responses must satisfy.
        votes: judgments of each order.

    Returns:
        A function of (prompts, completions, **columns) -> one reward or None for each completion.

    Raises:
        ArmliteError: there is no such mode.
    """
    if mode not in MODES:
        raise ArmliteError(f"mode is {mode!r}; it can be {', '.join(MODES)}")

    def rewards(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        rows = []
        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            given = {
                name: columns[name][i] for name in (images, document, constraints) if columns.get(name) is not None
            }
            pictures = given.get(images) or ()
            rows.append(
                {
                    "question": text_of(prompt),
                    "response": text_of(completion),
                    "images": pictures if isinstance(pictures, list | tuple) else [pictures],
                    "document": given.get(document) or None,
                    "constraints": given.get(constraints) or (),
                }
            )
        if mode == "group":
            return _compared(judge, rows, votes)
        return _alone(judge, rows, "pointwise" if mode == "check" else "rating", votes)

    rewards.__name__ = f"armlite_{mode}"  # the name of its column in TRL's logs
    return rewards


def _alone(
    judge: Judge, rows: Sequence[Mapping[str, Any]], kind: Literal["pointwise", "rating"], votes: int
) -> list[Any]:
    made = [_task(row, kind, [row["response"]]) for row in rows]
    verdicts = judge.judge_many([task for task, _ in made], images=[own for _, own in made], votes=votes)
    return [_score(verdict) for verdict in verdicts]


def _score(verdict: Verdict) -> float | None:
    if verdict.correct is not None:
        return float(verdict.correct)
    return None if verdict.rating is None else (verdict.rating - 1) / 9


def _compared(judge: Judge, rows: Sequence[Row], votes: int) -> list[float | None]:
    """Rewards by comparison within each run of equal prompts."""
    found: list[float | None] = []
    for _, members in groupby(rows, key=lambda row: (row["question"], str(row["document"]))):
        group = list(members)
        if len(group) < 2:
            raise ArmliteError("mode group compares completions of one prompt, and there is a prompt with one only")
        texts = [row["response"] for row in group]
        first = group[0]
        verdict = judge.rank(
            *(first["question"], texts, first["images"], first["document"], first["constraints"]),
            method="round_robin",  # all have to be judged equally often
            votes=votes,
        )
        found += win_shares(len(group), verdict.trajectories)
    return found


def _task(row: Row, kind: Kind, responses: list[str]) -> tuple[Task, list[Image.Image]]:
    return make_task(kind, row["question"], responses, row["images"], row["document"], row["constraints"])
