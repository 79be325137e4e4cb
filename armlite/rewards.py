"""Rewards: pure functions from a Trajectory to named parts.

Rules of the paper, section on the two GRPO stages, with the weights of the released stage-2 file
(`pair_rm_with_tool_reward_v8`: 0.3, 0.1, 0.7, 0.5). As in that file nothing is earned without the format. Unlike it,
attempts and successes are read from what the loop did, never from text, so nothing that a model writes can forge them.
"""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict

from armlite.types import Decision, Score, StopReason, Task, Trajectory


class Weights(BaseModel):
    """Size of each reward part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: float = 0.3
    attempt: float = 0.1
    answer: float = 0.7
    success: float = 0.5


def format_ok(trajectory: Trajectory) -> bool:
    """The episode ended in an answer that can be read, in a turn that holds one non-empty thought, the answer and
    nothing else.

    As in the reference only the last turn is checked.
    """
    return (
        trajectory.stop is StopReason.ANSWERED
        and trajectory.decision is not None
        and trajectory.steps[-1].turn.well_formed
    )


def tried(trajectory: Trajectory) -> bool:
    """At least one known tool was run, whatever came of it."""
    return bool(trajectory.calls)


def succeeded(trajectory: Trajectory) -> bool:
    """At least one tool run gave a result."""
    return any(step.observation is not None and step.observation.ok for step in trajectory.calls)


def is_right(task: Task, decision: Decision | None) -> bool | None:
    """Does a decision match the task's gold? None where there is no gold.

    A wrong type never matches: `True` is not 1. Open answers are compared as `plain_text` gives them.
    """
    gold = task.gold
    if gold is None:
        return None
    if decision is None:
        return False
    if task.kind == "open_qa":
        answers = (gold,) if isinstance(gold, str) else gold
        return isinstance(answers, tuple) and plain_text(str(decision)) in {plain_text(str(a)) for a in answers}
    if isinstance(gold, tuple):
        return type(decision) is int and decision in gold
    if task.kind == "rating":
        return not isinstance(decision, bool | str) and float(decision) == float(gold)
    return type(decision) is type(gold) and decision == gold


def plain_text(text: str) -> str:
    """A text as open answers are compared: without case, outer blanks and full stop."""
    return text.strip().rstrip(".").rstrip().casefold()


def encourage_tools(trajectory: Trajectory, weights: Weights) -> Score:
    """Stage 1, dare to use tools: R_f + R_try * 1[tool calls > 0]."""
    fine = format_ok(trajectory)
    return _score(weights, format=fine, attempt=fine and tried(trajectory))


def hierarchical(trajectory: Trajectory, weights: Weights) -> Score:
    """Stage 2, be right and be helped by tools.

    R_f + R_try if wrong with a call; R_f + R_a if right without a successful call; R_f + R_a + R_succ if right with
    one.
    """
    fine = format_ok(trajectory)
    right = fine and bool(is_right(trajectory.task, trajectory.decision))
    return _score(
        weights,
        format=fine,
        attempt=fine and not right and tried(trajectory),
        answer=right,
        success=right and succeeded(trajectory),
    )


def accuracy_only(trajectory: Trajectory, weights: Weights) -> Score:
    """Ablation: R_f + R_a."""
    fine = format_ok(trajectory)
    return _score(weights, format=fine, answer=fine and bool(is_right(trajectory.task, trajectory.decision)))


def fixed_bonus(trajectory: Trajectory, weights: Weights) -> Score:
    """Ablation: R_f + R_a, and R_succ for any successful call, right or wrong."""
    fine = format_ok(trajectory)
    right = fine and bool(is_right(trajectory.task, trajectory.decision))
    return _score(weights, format=fine, answer=right, success=fine and succeeded(trajectory))


def _score(weights: Weights, **earned: bool) -> Score:
    return Score(parts={name: getattr(weights, name) if earned.get(name) else 0.0 for name in Weights.model_fields})


REWARDS: dict[str, Callable[[Trajectory, Weights], Score]] = {
    "encourage_tools": encourage_tools,
    "hierarchical": hierarchical,
    "accuracy_only": accuracy_only,
    "fixed_bonus": fixed_bonus,
}
"""The names a recipe may give."""
