"""Rollouts that teach nothing, time after time: told once a stage, with what to do about it."""

from collections.abc import Sequence

from armlite.types import Score, StopReason, Trajectory

IN_A_ROW = 5
"""Generations; one of a few tasks may be without fruit by chance."""
UNSEEN = (StopReason.CONTEXT_BUDGET, StopReason.TURN_BUDGET)
"""Stops at which the policy did not say its last word."""


class Fruitless:
    """Watches the rollouts of a stage.

    Args:
        generations: of the whole stage; one shorter than `IN_A_ROW` is told at its end.
    """

    def __init__(self, generations: int):
        self._left = min(IN_A_ROW, generations)
        self._wait = self._left

    def see(self, trajectories: Sequence[Trajectory], scores: Sequence[Score], group: int) -> str | None:
        """What to tell after a generation, if anything.

        Args:
            trajectories: in the order of the batch.
            scores: theirs.
            group: rollouts of a task.
        """
        totals = [score.total for score in scores]
        groups = [totals[i : i + group] for i in range(0, len(totals), group)]
        if all(t.stop in UNSEEN for t in trajectories):
            why = "every rollout runs out of tokens: raise max_new_tokens or max_context"
        elif not any(totals):
            why = "every reward is 0: begin from a better cold start, with easier tasks, or with another reward"
        elif all(len(set(some)) == 1 for some in groups):
            why = "all rollouts of a task earn the same: raise num_generations or temperature, or give other tasks"
        else:
            self._left = self._wait if self._left > 0 else 0
            return None
        self._left -= 1
        return f"{why}; nothing is learnt" if self._left == 0 else None
