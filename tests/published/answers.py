"""Answers as a model would have given them, for the scorers' tables."""

from collections.abc import Sequence

from armlite.evals.figures import Answer
from armlite.protocol.parse import parse_decision, parse_turn
from armlite.types import Decision, Step, StopReason, Task, Trajectory


def answered(
    task: Task, text: str, decision: Decision | None = None, order: Sequence[int] | None = None, rollout: int = 0
) -> Answer:
    """One answer: the final turn's whole text, parsed as the loop would unless a decision is given."""
    order = tuple(order) if order else tuple(range(1, len(task.responses) + 1))
    turn = parse_turn(text, "stop", 0)
    if decision is None and turn.answer is not None:
        decision = parse_decision(turn.answer, task.kind, len(order), "".join(task.options))
        if decision and task.kind in ("pairwise", "listwise"):
            decision = order[int(decision) - 1]
    stop = StopReason.ANSWERED if turn.answer is not None else StopReason.NO_ANSWER
    return Answer(
        Trajectory(task=task, order=order, steps=(Step(turn=turn),), stop=stop, decision=decision, rollout=rollout)
    )
