"""A row as it is looked for: where in its run it stands, and the fields that `--where` and `--sort` can name.

A run keeps evaluations as `eval/STAGE/ROUND.jsonl`, those on benchmarks as `benchmarks/STAGE/NAME/trajectories.jsonl`
(the round is the benchmark) and the rollouts of training as `rollouts/STAGE/step_N.jsonl`; a file elsewhere has neither
stage nor round. Advantages are worked out from the saved rewards, as TRL does from the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev

import yaml

from armlite.rewards import plain_text
from armlite.stages import CHECKPOINTS
from armlite.store import Saved
from armlite.types import StopReason, Trajectory, decision_key
from armlite.view import text as words

Value = str | float
Fields = Mapping[str, tuple[Value, ...]]
"""Name -> values; a field that a row does not have is not there, and `tool` has several."""

ROUNDS = {
    "greedy": "greedy",
    "rollout": "temperature",
    "no_tools": "no tools",
    "transfer": "transfer split",
    "grpo": "GRPO step",
}
"""A round, and what is said of it; a benchmark's name is said as it is."""
_EVAL = re.compile(r"eval/([^/]+)/(greedy|rollout|no_tools|transfer)\.jsonl$")
_BENCHMARK = re.compile(r"benchmarks/([^/]+?)(-no-tools)?/([^/]+)/trajectories\.jsonl$")
_ROLLOUTS = re.compile(r"rollouts/([^/]+)/step_(\d+)\.jsonl$")
_TOKENS = {StopReason.TURN_BUDGET, StopReason.CONTEXT_BUDGET, StopReason.CALL_LIMIT}
ALWAYS = ("id", "file", "stage", "round", "step", "kind", "family", "source", "model", "rollout", "outcome", "status",
          "stop", "tool", "calls", "failed_calls", "turns", "tokens", "decision", "probability", "fault", "reward",
          "advantage", "seconds")  # fmt: skip
"""Fields that a row can have, beside `reward.PART`."""


@dataclass(frozen=True)
class Entry:
    """A row with its fields. Its texts are searched as one, in lower case."""

    row: Saved
    fields: Fields = field(repr=False)

    def first(self, name: str, default: Value = "") -> Value:
        """The first value of a field."""
        return self.fields.get(name, (default,))[0]

    @property
    def text(self) -> str:
        """All that is searched: id, question, responses, options, conditions, turns, results, and why it failed."""
        trajectory = self.row.trajectory
        task = trajectory.task
        parts = [task.id, task.question, *task.responses, *task.options.values(), *(c.text for c in task.constraints)]
        for step in trajectory.steps:
            parts += [step.turn.text, step.observation.text if step.observation else ""]
        parts += [trajectory.fault.reason] if trajectory.fault else []
        return "\n".join(words.literal(part) for part in parts).lower()

    @property
    def where(self) -> list[str]:
        """Stage and round in words, for a title: `grpo1`, `GRPO step 3`."""
        if "stage" not in self.fields:
            return []
        name = str(self.first("round"))
        said = ROUNDS.get(name, words.literal(name))
        return [
            words.literal(str(self.first("stage"))),
            f"{said} {self.first('step'):g}" if "step" in self.fields else said,
        ]


def entries(rows: Sequence[Saved], root: Path | None = None) -> list[Entry]:
    """The rows with their fields, in the order given.

    Args:
        rows: what was read.
        root: the folder that was asked for; files are named relative to it.
    """
    advantages = _advantages(rows)
    return [Entry(row, _fields(row, root, advantages.get(i))) for i, row in enumerate(rows)]


def opening(found: Sequence[Entry]) -> str:
    """What a run is opened at, as `--where` says it: its last stage's greedy evaluation; empty: it has none."""
    stages = {str(e.first("stage")) for e in found if e.first("round") in ("greedy", "rollout")}
    if not stages:
        return ""
    stage = max(stages, key=lambda name: (CHECKPOINTS.index(name) if name in CHECKPOINTS else -1, name))
    rounds = {e.first("round") for e in found if e.first("stage") == stage}
    return f"stage={stage} and round={'greedy' if 'greedy' in rounds else 'rollout'}"


def place(path: Path | None) -> dict[str, tuple[Value, ...]]:
    """Stage, round and step that a file's path tells."""
    name = path.resolve().as_posix() if path else ""
    if at := _EVAL.search(name):
        return {"stage": (at[1],), "round": (at[2],)}
    if at := _BENCHMARK.search(name):
        return {"stage": (at[1],), "round": (f"{at[3]}{at[2] or ''}",)}
    if at := _ROLLOUTS.search(name):
        return {"stage": (at[1],), "round": ("grpo",), "step": (float(at[2]),)}
    return {}


def probability(trajectory: Trajectory) -> float | None:
    """How likely the model was to decide as it did; None: not known."""
    if trajectory.decision is None or not trajectory.probabilities:
        return None
    own = plain_text(decision_key(trajectory.decision))
    return sum(share for key, share in trajectory.probabilities.items() if plain_text(key) == own)


def status(trajectory: Trajectory) -> tuple[str, ...]:
    """`judged`; or `failed` and, of the words of a verdict, why."""
    if trajectory.decision is not None:
        return ("judged",)
    if trajectory.stop in (StopReason.MODEL_ERROR, StopReason.BAD_INPUT):
        return "failed", str(trajectory.stop)
    return "failed", "budget" if trajectory.stop in _TOKENS else "no_answer"


def _fields(row: Saved, root: Path | None, advantage: float | None) -> Fields:
    trajectory = row.trajectory
    task = trajectory.task
    steps = trajectory.steps
    calls = [step.observation for step in trajectory.calls if step.observation]
    names = dict.fromkeys(str(call.tool) for call in calls)
    found: dict[str, tuple[Value | None, ...]] = {
        "id": (task.id,),
        "file": (_name(row.path, root),),
        **place(row.path),
        "kind": (str(task.kind),),
        "family": (words.group(task),),
        "source": (task.source or None,),
        "model": (trajectory.model or None,),
        "rollout": (float(trajectory.rollout),),
        "outcome": (words.outcome(trajectory),),
        "status": status(trajectory),
        "stop": (str(trajectory.stop),),
        # A tool is found by its name and by the words in it: `zoom` is `image_zoom_in_tool`.
        "tool": tuple(dict.fromkeys(part for name in names for part in (name, *name.split("_")))),
        "calls": (float(len(calls)),),
        "failed_calls": (float(sum(not call.ok for call in calls)),),
        "turns": (float(len(steps)),),
        "tokens": (float(sum(step.turn.tokens for step in steps)),),
        "decision": (None if trajectory.decision is None else decision_key(trajectory.decision),),
        "probability": (probability(trajectory),),
        "fault": tuple(dict.fromkeys(step.turn.fault for step in steps if step.turn.fault)),
        "advantage": (advantage,),
        "seconds": (row.seconds,),
    }
    if row.score is not None:
        found["reward"] = (row.score.total,)
        found |= {f"reward.{name}": (value,) for name, value in row.score.parts.items()}
    kept = {name: tuple(v for v in values if v is not None) for name, values in found.items()}
    return {name: values for name, values in kept.items() if values}


def _name(path: Path | None, root: Path | None) -> str | None:
    if path is None:
        return None
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) and path != root else path.name


def _advantages(rows: Sequence[Saved]) -> dict[int, float]:
    """Number of a row of GRPO rollouts -> its advantage: its reward less its group's mean, by the recipe's deviation.

    As TRL 1.16 has it: sample deviation plus 1e-4, of the group or of the step's rollouts (`scale_rewards`).
    """
    found: dict[int, float] = {}
    numbered = [i for i, row in enumerate(rows) if row.path and row.score and "step" in place(row.path)]
    for path, step in groupby(numbered, key=lambda i: rows[i].path):
        indices = list(step)
        rewards = {i: rows[i].score.total for i in indices}  # type: ignore[union-attr]
        scale = _scale(path)
        for _, members in groupby(indices, key=lambda i: rows[i].trajectory.task.id):
            group = list(members)
            mine = [rewards[i] for i in group]
            among = list(rewards.values()) if scale == "batch" else mine
            by = 1.0 if scale == "none" else (stdev(among) if len(among) > 1 else 0.0) + 1e-4
            found |= {i: (rewards[i] - mean(mine)) / by for i in group}
    return found


def _scale(path: Path | None) -> str:
    """The recipe's `scale_rewards` of the stage that a file of rollouts is of; TRL's default where it is not said."""
    recipe = path.parents[2] / "recipe.yaml" if path else None
    if path is None or recipe is None or not recipe.is_file():
        return "group"
    try:
        read = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return "group"
    stage = ((read if isinstance(read, dict) else {}).get("stages") or {}).get(path.parent.name) or {}
    return str(stage.get("scale_rewards", "group")) if isinstance(stage, dict) else "group"
