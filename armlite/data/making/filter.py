"""The difficulty filter: tasks that a model always gets right teach it nothing (paper, section on data: 5 of 5 rollouts
of the base model). By choice those that it never gets right go too. The GRPO stages have the same filter within
(`filter_rollouts`); this one makes a file.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from armlite.data.making.output import Counts, begin, finish
from armlite.data.making.rollouts import WHY, Progress, pass_rates, rollout_jobs
from armlite.data.tasks import moved, read_tasks
from armlite.episode import EpisodeSettings
from armlite.loop import ChatModel
from armlite.models.lazy import writer_of
from armlite.store import file_digest
from armlite.types import Task


def filter_tasks(
    file: Path,
    model: ChatModel,
    settings: EpisodeSettings,
    out: Path,
    name: str,
    k: int = 5,
    drop_always_wrong: bool = False,
    seed: int = 0,
    temperature: float = 1.0,
    in_flight: int | None = None,
    on_task: Progress | None = None,
) -> Counts:
    """Write the tasks of `file` that are neither always right nor, by choice, always wrong.

    Each kept task has `meta["pass_rate"]` and `meta["pass_k"]`.

    Args:
        model: samples at `temperature`.
        name: of the model; a file that was begun with another is not gone on with.
        k: rollouts of each task.
        seed: of the presented orders.
        in_flight: episodes at once; None: as many as the model can use.

    Raises:
        ArmliteError: the tasks cannot be read, `out` exists or was begun otherwise, or the model's server has gone.
    """
    tasks = read_tasks(file)
    setup = {"tasks": file_digest(file), "model": name, "k": k, "temperature": temperature, "seed": seed}
    journal = begin(out, setup | {"settings": settings.model_dump(mode="json"), "writer": writer_of(model)})
    jobs = rollout_jobs([t for t in tasks if t.gold is not None], k, settings, file.parent, seed)
    rates, faults = pass_rates(jobs, model, journal, in_flight, on_task, len(tasks))
    kept: list[Task] = []
    rejects: list[dict[str, Any]] = []
    for task in tasks:
        rate, fault = rates.get(task.id), faults.get(task.id)
        if fault is not None:
            rejects.append({"id": task.id, "why": WHY[fault.whose], "detail": fault.reason})
        elif task.gold is None:
            rejects.append({"id": task.id, "why": "has no gold answer"})
        elif rate is None:
            raise RuntimeError(f"task {task.id} was not played: does another command write to {out}?")
        elif rate == 1 or (drop_always_wrong and rate == 0):
            rejects.append({"id": task.id, "why": "always right" if rate else "always wrong", "pass_rate": rate})
        else:
            task = moved(task, file.parent, out.parent)
            kept.append(task.model_copy(update={"meta": {**task.meta, "pass_rate": rate, "pass_k": k}}))
    finish(journal, out, (task.to_json() + "\n" for task in kept), rejects)
    shares = Counter(f"{round(k * rate)} of {k}" for rate in rates.values())
    return Counts(
        len(tasks), len(kept), Counter(row["why"] for row in rejects), {"pass_rates": dict(sorted(shares.items()))}
    )
