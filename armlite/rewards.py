"""Rewards: functions from a Trajectory to named parts, the paper's and, by `@reward`, the user's.

Rules of the paper: section on the two GRPO stages, with the weights of the released stage-2 file
(`pair_rm_with_tool_reward_v8`: 0.3, 0.1, 0.7, 0.5). As in that file nothing is earned without the format. Unlike it,
attempts and successes are read from what the loop did, never from text, so nothing that a model writes can forge them.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from numbers import Real
from typing import Any, Literal

from armlite.errors import ArmliteError, nearest
from armlite.imports import check_free, imports_hint, origin
from armlite.types import Decision, Score, StopReason, Task, Trajectory

Success = Literal["returned", "executed"]
"""When a call is a success: the tool gave something back, or it ran without an error (a search without a hit too)."""


@dataclass(frozen=True)
class Reward:
    """Scores a Trajectory by named parts; made by `@reward`."""

    function: Callable[..., Mapping[str, float] | float]
    """Takes a Trajectory; where it has a keyword `success`, `counting` sets it."""
    weights: Mapping[str, float]
    """Part -> its size when it is earned in full."""
    chances: bool = False
    """It looks at `Trajectory.chances`, which training measures for such a reward only."""

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, trajectory: Trajectory) -> Score:
        """What was earned of each part, times its weight; a part that the function leaves out is not earned.

        Raises:
            ArmliteError: the function gave a part that the reward does not have, or what is no finite number.
        """
        given = self.function(trajectory)
        earned = given if isinstance(given, Mapping) else {self.name: given}
        for part, value in earned.items():
            what = f"the reward {self.name} ({origin(self)}) gave {part!r}"
            if part not in self.weights:
                raise ArmliteError(f"{what}, which is none of its parts: {', '.join(self.weights)}")
            if not isinstance(value, Real) or not math.isfinite(value):
                raise ArmliteError(f"{what} as {value!r}; it must be a finite number")
        return Score(parts={p: w * float(earned[p]) if earned.get(p) else 0.0 for p, w in self.weights.items()})

    def weighted(self, weights: Mapping[str, float], key: str = "weights") -> "Reward":
        """The same reward with other weights; parts that are not named keep theirs.

        Args:
            key: where the weights stand in a recipe.

        Raises:
            ArmliteError: a part that the reward does not have; names the nearest.
        """
        for part in weights:
            if part not in self.weights:
                near = nearest(part, self.weights)
                raise ArmliteError(f"unknown key {key}.{part}.{near} Parts of {self.name}: {', '.join(self.weights)}")
        return replace(self, weights={**self.weights, **weights})

    def counting(self, success: Success) -> "Reward":
        """The same reward with another rule for what a successful call is; its own is `returned`.

        Raises:
            ArmliteError: the rule is not `returned`, and the reward's function has no keyword `success`.
        """
        if success == "returned":
            return self
        if "success" not in inspect.signature(self.function).parameters:
            raise ArmliteError(f"the reward {self.name} takes no `success: {success}`: leave `success` out")
        return replace(self, function=update_wrapper(partial(self.function, success=success), self.function))


REWARDS: dict[str, Reward] = {}
"""The rewards that a recipe may name."""


def reward(
    function: Callable[..., Any] | None = None, *, weights: Mapping[str, float] | None = None, chances: bool = False
) -> Any:
    """Make a reward of a function from a Trajectory to how much of each part was earned, usually 0 to 1 (or a bool).

    Args:
        function: has a docstring; its name is the reward's.
        weights: part -> its size, unless a recipe says otherwise. None: a single part, called as the function, of
            weight 1; the function gives a number.
        chances: it looks at `Trajectory.chances`: training then asks after each observation how likely the right answer
            is.

    Raises:
        TypeError: no docstring.
        ArmliteError: there is another reward of that name, shipped or from another file.
    """
    if function is None:
        return lambda f: reward(f, weights=weights, chances=chances)
    if not inspect.getdoc(function):
        raise TypeError(f"{function.__name__} needs a docstring: it says what is rewarded")
    made = Reward(function, dict(weights or {function.__name__: 1.0}), chances)
    check_free("reward", made.name, made, REWARDS.get(made.name))
    REWARDS[made.name] = made
    return made


def get_reward(name: str) -> Reward:
    """A reward by name.

    Raises:
        ArmliteError: there is none; names the nearest.
    """
    if name not in REWARDS:
        known = ", ".join(REWARDS)
        raise ArmliteError(f"there is no reward {name!r}.{nearest(name, REWARDS)} Rewards: {known}{imports_hint()}")
    return REWARDS[name]


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


def succeeded(trajectory: Trajectory, success: Success = "returned") -> bool:
    """At least one tool run was a success: it returned something, or with `executed` it ran without an error."""
    seen = [step.observation for step in trajectory.calls if step.observation is not None]
    return any(one.returned if success == "returned" else one.ok for one in seen)


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


PAPER_WEIGHTS = {"format": 0.3, "attempt": 0.1, "answer": 0.7, "success": 0.5}


@reward(weights=PAPER_WEIGHTS)
def encourage_tools(trajectory: Trajectory) -> dict[str, bool]:
    """Stage 1, dare to use tools: R_f + R_try * 1[tool calls > 0]."""
    fine = format_ok(trajectory)
    return {"format": fine, "attempt": fine and tried(trajectory)}


@reward(weights=PAPER_WEIGHTS)
def hierarchical(trajectory: Trajectory, success: Success = "returned") -> dict[str, bool]:
    """Stage 2, be right and be helped by tools.

    R_f + R_try if wrong with a call; R_f + R_a if right without a successful call; R_f + R_a + R_succ if right with
    one.
    """
    fine = format_ok(trajectory)
    right = fine and bool(is_right(trajectory.task, trajectory.decision))
    return {
        "format": fine,
        "attempt": fine and not right and tried(trajectory),
        "answer": right,
        "success": right and succeeded(trajectory, success),
    }


@reward(weights=PAPER_WEIGHTS)
def accuracy_only(trajectory: Trajectory) -> dict[str, bool]:
    """Ablation: R_f + R_a."""
    fine = format_ok(trajectory)
    return {"format": fine, "answer": fine and bool(is_right(trajectory.task, trajectory.decision))}


@reward(weights=PAPER_WEIGHTS)
def fixed_bonus(trajectory: Trajectory, success: Success = "returned") -> dict[str, bool]:
    """Ablation: R_f + R_a, and R_succ for any successful call, right or wrong."""
    fine = format_ok(trajectory)
    right = fine and bool(is_right(trajectory.task, trajectory.decision))
    return {"format": fine, "answer": right, "success": fine and succeeded(trajectory, success)}


@reward(weights={**PAPER_WEIGHTS, "calls": -0.2})
def call_cost(trajectory: Trajectory, success: Success = "returned") -> dict[str, float]:
    """Ours: as `hierarchical`, and every call has its price: a budget that is spent where it pays."""
    return {**hierarchical.function(trajectory, success), "calls": len(trajectory.calls)}


@reward(weights={"format": 0.3, "attempt": 0.1, "answer": 0.7, "gain": 0.5}, chances=True)
def credit(trajectory: Trajectory) -> dict[str, float]:
    """Ours: as `hierarchical`, but instead of a bonus for a successful call the share of the doubt that calls removed.

    With c the chances of the right answer before the first call and after the last: (c_last - c_first) / (1 - c_first),
    at least 0, where the answer is right. A call that shows nothing new earns nothing, whatever it returned.
    """
    fine, known = format_ok(trajectory), trajectory.chances
    right = fine and bool(is_right(trajectory.task, trajectory.decision))
    doubt = 1 - known[0] if known else 0.0
    gain = max(0.0, known[-1] - known[0]) / doubt if doubt > 0.01 else 0.0
    return {
        "format": fine,
        "attempt": fine and not right and tried(trajectory),
        "answer": right,
        "gain": min(1.0, gain) if right else 0.0,
    }


Rule = Literal["tools", "general", "instruction"]
_RULES: tuple[tuple[str, Rule], ...] = (
    ("llava_critic", "general"),
    ("mmif", "instruction"),
    ("mm_ifeval", "instruction"),
    ("deepeyes", "tools"),
    ("docvqa", "tools"),
)
"""What a task's source holds -> which of the reference's rewards it is given."""


def rule_of(task: Task) -> Rule:
    """Which reward `by_source` gives a task: by its source, of others by what there is to look at."""
    source = task.source.replace("-", "_").casefold()
    for name, rule in _RULES:
        if name in source:
            return rule
    if task.constraints:
        return "instruction"
    return "tools" if task.images or task.document else "general"


@reward(weights={**PAPER_WEIGHTS, "general_format": 0.5, "general_answer": 1.0, "instruction": 1.0})
def by_source(trajectory: Trajectory, success: Success = "returned") -> dict[str, bool]:
    """As the reference rewards by data source: `hierarchical` where tools help (crops, pages); general pairs get 0.5
    for the format and 1 for the right answer, in whatever form, and nothing for tools; instruction rows get 1 if they
    are right in good form, else 0.

    Source: `verl/utils/reward_score/__init__.py` with the versions of its training script (general pairs: v2).
    """
    rule = rule_of(trajectory.task)
    if rule == "tools":
        return dict(hierarchical.function(trajectory, success))
    fine, right = format_ok(trajectory), bool(is_right(trajectory.task, trajectory.decision))
    if rule == "instruction":
        return {"instruction": fine and right}
    return {"general_format": fine, "general_answer": right}
