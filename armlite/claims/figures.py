"""The figures that claims are about, task by task, read from the evaluations of finished runs.

A figure's path is VARIANT/CHECKPOINT/ROUND/FIGURE, and behind it a family of tasks or `needs=2` where it is of these
alone: `full/grpo2/greedy/accuracy/needs=2`. VARIANT/STAGE/training/steps_to_95 is of the whole run.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from armlite.data.tasks import calls_needed, family
from armlite.errors import ArmliteError, nearest
from armlite.rewards import format_ok, is_right
from armlite.stages import STAGES
from armlite.store import read
from armlite.types import Task, Trajectory


def _distance(trajectory: Trajectory) -> float | None:
    needed = calls_needed(trajectory.task)
    return None if needed is None else float(abs(len(trajectory.calls) - needed))


FIGURES: Mapping[str, Callable[[Trajectory], float | None]] = {
    "accuracy": lambda trajectory: _number(is_right(trajectory.task, trajectory.decision)),
    "calls": lambda trajectory: float(len(trajectory.calls)),
    "distance": _distance,
    "format": lambda trajectory: float(format_ok(trajectory)),
}
"""Of one judgment: rightness, calls made, how far these are from the calls that its task needs, and its form; None
where the task does not say."""


TRAINING, STEPS = "training", "steps_to_95"
"""In place of a round, and what is told of it: the steps of a stage until 95 % of its rollouts are right."""
ENOUGH, WINDOW = 0.95, 5


def _number(value: bool | None) -> float | None:
    return None if value is None else float(value)


def check_path(path: str) -> tuple[str, str]:
    """The variant and the checkpoint that a figure's path names.

    Raises:
        ArmliteError: it has another form, or no such figure is known.
    """
    parts = path.split("/")
    if len(parts) not in (4, 5):
        raise ArmliteError(f"{path}: a figure is VARIANT/CHECKPOINT/ROUND/FIGURE, and may be of a /FAMILY or /needs=1")
    if parts[2] == TRAINING:
        if parts[3:] != [STEPS] or parts[1] in ("base", "last"):
            raise ArmliteError(f"{path}: of training there is VARIANT/STAGE/{TRAINING}/{STEPS}, of a GRPO stage")
        return parts[0], parts[1]
    if parts[3] not in FIGURES:
        raise ArmliteError(f"{path}: there is no figure {parts[3]!r}.{nearest(parts[3], FIGURES)} {', '.join(FIGURES)}")
    return parts[0], parts[1]


def last_checkpoint(run: Path) -> str:
    """The checkpoint of the last stage that has been evaluated."""
    done = [name for name in STAGES if (run / "eval" / name).is_dir()]
    return done[-1] if done else "base"


def values_of(run: Path, checkpoint: str, round: str, figure: str, of: str | None = None) -> dict[str, float] | None:
    """Task id -> a figure of its first judgment; None: the run has no such evaluation yet.

    Args:
        checkpoint: a stage's name, `base` or `last`.
        round: `rollout`, `greedy`, `no_tools`, or what else stands in the folder of an evaluation; `training`.
        of: a family of tasks, or `needs=N`; None: all.

    Raises:
        ArmliteError: there is the evaluation, but no such round, or no task with that figure.
    """
    if round == TRAINING:
        return {"run": _steps_to_enough(run, checkpoint)}
    folder = run / "eval" / (last_checkpoint(run) if checkpoint == "last" else checkpoint)
    if not folder.is_dir():
        return None
    file = folder / f"{round}.jsonl"
    if not file.is_file():
        rounds = ", ".join(sorted(found.stem for found in folder.glob("*.jsonl")))
        raise ArmliteError(f"{folder} has no round {round!r}; it has {rounds}")
    first: dict[str, Trajectory] = {}
    for row in read(file):
        known = first.get(row.trajectory.task.id)
        if known is None or row.trajectory.rollout < known.rollout:
            first[row.trajectory.task.id] = row.trajectory
    asked = {key: one for key, one in first.items() if of is None or _is_of(one.task, of)}
    values = {key: value for key, one in asked.items() if (value := FIGURES[figure](one)) is not None}
    if not values:
        said = f" of {of}" if of else ""
        raise ArmliteError(f"{file}: none of its {len(first)} tasks{said} has the figure {figure}")
    return values


def _steps_to_enough(run: Path, stage: str) -> float:
    """Steps until so many rollouts of the last few steps are right; one more than there are where that never is so.

    Raises:
        ArmliteError: the stage has no rollouts.
    """
    from armlite.train.metrics import MetricsFile

    rows = [row for row in MetricsFile(run / "metrics.jsonl").read() if row["stage"] == stage and "accuracy" in row]
    if not rows:
        raise ArmliteError(f"{run}: the stage {stage} has no rollouts, so there is no {STEPS}")
    right = [row["accuracy"] for row in sorted(rows, key=lambda row: row["step"])]
    means = [sum(right[at - WINDOW : at]) / WINDOW for at in range(WINDOW, len(right) + 1)]
    return float(next((at for at, mean in enumerate(means, WINDOW) if mean >= ENOUGH), len(right) + 1))


def _is_of(task: Task, of: str) -> bool:
    if of.startswith("needs="):
        return str(calls_needed(task)) == of.removeprefix("needs=")
    return family(task) == of
