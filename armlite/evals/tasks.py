"""Judging a list of tasks with gold answers, and what comes out of it as figures."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from armlite.data.tasks import family
from armlite.episode import Episode, EpisodeSettings, presented_order
from armlite.evals.intervals import mean_interval, wilson
from armlite.loop import ChatModel, play
from armlite.rewards import format_ok, is_right
from armlite.store import Saved, append
from armlite.types import Step, Task, Trajectory


def evaluate(
    tasks: Sequence[Task],
    model: ChatModel,
    settings: EpisodeSettings,
    root: Path,
    seed: int = 0,
    batch: int = 64,
    swap: bool = False,
    out: Path | None = None,
    on_step: Callable[[Episode, Step], None] | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> list[Trajectory]:
    """Judge tasks.

    Args:
        tasks: with gold answers.
        root: folder that their paths are relative to.
        seed: of the presented orders.
        batch: episodes in flight.
        swap: judge pairs in the opposite order too (as rollout 1).
        out: JSONL file to write the trajectories to.
        on_batch: called with the number of episodes done.

    Returns:
        One trajectory a task and order, in order.
    """
    jobs = [(task, False) for task in tasks]
    if swap:
        jobs += [(task, True) for task in tasks if task.kind == "pairwise"]
    trajectories: list[Trajectory] = []
    for start in range(0, len(jobs), batch):
        episodes = [
            Episode.open(task, settings, root, presented_order(task, seed, swapped), rollout=int(swapped))
            for task, swapped in jobs[start : start + batch]
        ]
        play(episodes, model, on_step)
        done = [e.trajectory() for e in episodes]
        if out is not None:
            pixels = {file: image for e in episodes for file, image in e.pixels().items()}
            append(out, [Saved(trajectory=t) for t in done], pixels)
        trajectories += done
        if on_batch is not None:
            on_batch(len(trajectories))
    return trajectories


def summarise(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """The figures of an evaluation.

    Returns:
        `accuracy`, `by_family` (name -> `accuracy`, `n`), `tool_calls_per_task`, `tool_success_rate`, `format_rate`,
        `swap_consistency` (pairs judged in both orders only), `n`, `ci95` (name -> [low, high]; Wilson for shares).
        Figures of the swapped orders enter the swap consistency only. What is undefined is null.
    """
    first = [t for t in trajectories if t.rollout == 0]
    judged = [(t, is_right(t.task, t.decision)) for t in first]
    right = [bool(r) for _, r in judged if r is not None]
    calls = [s for t in first for s in t.calls]
    helped = [s.observation is not None and s.observation.ok for s in calls]
    fine = [format_ok(t) for t in first]
    same = _agreements(trajectories)
    families: dict[str, list[bool]] = {}
    for t, r in judged:
        if r is not None:
            families.setdefault(family(t.task), []).append(r)
    per_task = [float(len(t.calls)) for t in first]
    shares = {"accuracy": right, "tool_success_rate": helped, "format_rate": fine, "swap_consistency": same}
    intervals = {name: wilson(sum(v), len(v)) for name, v in shares.items()}
    intervals |= {f"accuracy/{name}": wilson(sum(v), len(v)) for name, v in families.items()}
    intervals["tool_calls_per_task"] = mean_interval(per_task)
    return {
        "accuracy": _share(right),
        "by_family": {name: {"accuracy": _share(v), "n": len(v)} for name, v in sorted(families.items())},
        "tool_calls_per_task": sum(per_task) / len(first) if first else None,
        "tool_success_rate": _share(helped),
        "format_rate": _share(fine),
        "swap_consistency": _share(same),
        "n": len(first),
        "ci95": {name: list(pair) for name, pair in intervals.items() if pair is not None},
    }


def _agreements(trajectories: Sequence[Trajectory]) -> list[bool]:
    """For each pair judged in both orders: was the decision the same (and was there one)?"""
    both: dict[str, list[Trajectory]] = {}
    for t in trajectories:
        if t.task.kind == "pairwise":
            both.setdefault(t.task.id, []).append(t)
    return [
        a.decision is not None and a.decision == b.decision for a, b, *_ in (v for v in both.values() if len(v) > 1)
    ]


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None
