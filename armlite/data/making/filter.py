"""The difficulty filter: tasks that a model always gets right teach it nothing (paper, section on data: 5 of 5 rollouts
of the base model). By choice those that it never gets right go too. The GRPO stages have the same filter within
(`filter_rollouts`); this one makes a file.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from armlite.data.making.rollouts import Played, rollouts
from armlite.data.making.work import Counts, Work, digest, moved
from armlite.data.tasks import read_tasks
from armlite.episode import EpisodeSettings
from armlite.loop import ChatModel
from armlite.types import Task

Progress = Callable[[int, int], None]
"""Called with (done, of how many)."""


def filter_tasks(
    file: Path,
    load: Callable[[], ChatModel],
    settings: EpisodeSettings,
    out: Path,
    name: str,
    k: int = 5,
    drop_always_wrong: bool = False,
    seed: int = 0,
    temperature: float = 1.0,
    batch: int = 64,
    on_batch: Progress | None = None,
) -> Counts:
    """Write the tasks of `file` that are neither always right nor, by choice, always wrong.

    Each kept task has `meta["pass_rate"]` and `meta["pass_k"]`.

    Args:
        load: loads the model when it is needed; it samples at `temperature`.
        name: of the model; a file that was begun with another is not gone on with.
        k: rollouts of each task.
        seed: of the presented orders.

    Raises:
        ArmliteError: the tasks cannot be read, `out` exists or was begun otherwise.
    """
    tasks = read_tasks(file)
    setup = {"tasks": digest(file), "model": name, "k": k, "temperature": temperature, "seed": seed}
    work = Work(out, setup | {"settings": settings.model_dump(mode="json")})
    done = work.rows()
    lost: dict[str, dict[str, Any]] = {}
    left = [task for task in tasks if task.gold is not None and task.id not in done]
    now = len(tasks) - len(left)
    for part in rollouts(left, k, load, settings, file.parent, seed, batch=batch):
        rows = [_row(played) for played in part]
        work.add(row for row in rows if "why" not in row)
        work.check_reach(played.unasked for played in part)
        done |= {row["id"]: row for row in rows if "why" not in row}
        lost |= {row["id"]: row for row in rows if "why" in row}
        now += len(part)
        if on_batch is not None:
            on_batch(now, len(tasks))
    kept: list[Task] = []
    rejects: list[dict[str, Any]] = []
    for task in tasks:
        row = done.get(task.id) or lost.get(task.id) or {"why": "has no gold answer"}
        rate = row.get("pass_rate")
        why = row.get("why") or ("always right" if rate == 1 else None)
        if drop_always_wrong and rate == 0:
            why = "always wrong"
        if why:
            rejects.append({"id": task.id, "why": why, **{k: v for k, v in row.items() if k not in ("id", "why")}})
        else:
            task = moved(task, file.parent, out.parent)
            kept.append(task.model_copy(update={"meta": {**task.meta, "pass_rate": rate, "pass_k": k}}))
    work.finish((task.to_json() + "\n" for task in kept), rejects)
    rates = Counter(f"{round(k * row['pass_rate'])} of {k}" for row in done.values())
    return Counts(
        len(tasks), len(kept), Counter(row["why"] for row in rejects), {"pass_rates": dict(sorted(rates.items()))}
    )


def _row(played: Played) -> dict[str, Any]:
    """Pass rate of a task; a task that could not be played says why, and is not kept as done: it may be mended."""
    if played.fault:
        return {"id": played.task.id, "why": "cannot be read", "detail": played.fault}
    if played.unasked:
        return {"id": played.task.id, "why": "the model could not be asked", "detail": played.unasked}
    return {"id": played.task.id, "pass_rate": played.pass_rate}
