"""Balancing traces: no task and no family of tasks outweighs the others, however easy it is for the judge."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from armlite.data.making.output import Counts, check_new, write_rejects
from armlite.data.tasks import family
from armlite.store import Saved, read, save


def balance_traces(
    files: Sequence[Path], out: Path, per_task: int = 1, family_ratio: float = 3.0, seed: int = 0
) -> Counts:
    """Write at most `per_task` traces of each task (of the last file that has some, those with the fewest steps), and
    of each family at most `family_ratio` times as many as of the rarest.

    Args:
        files: trajectories, as `make_traces` writes them; one for each round.
        out: beside `files`, so that they share their images.

    Returns:
        Counts over traces; `more["families"]`: kept traces by family.

    Raises:
        ArmliteError: the traces cannot be read, or `out` exists.
        ValueError: `out` is elsewhere.
    """
    for file in files:
        if out.parent.resolve() != file.parent.resolve():
            raise ValueError(f"{out} must be beside {file}")
    by_task: dict[str, list[Saved]] = defaultdict(list)
    for file in reversed(files):
        found: dict[str, list[Saved]] = defaultdict(list)
        for row in read(file):
            found[row.trajectory.task.id].append(row)
        for task, samples in found.items():
            by_task[task] += sorted(samples, key=lambda row: (len(row.trajectory.steps), row.trajectory.rollout))
    taken_in = sum(map(len, by_task.values()))
    families: dict[str, list[Saved]] = defaultdict(list)
    rejects: list[dict[str, Any]] = []
    for samples in by_task.values():
        families[family(samples[0].trajectory.task)] += samples[:per_task]
        rejects += [_reject(row, "more traces of its task than are kept") for row in samples[per_task:]]
    most = int(family_ratio * min(map(len, families.values()), default=0))
    kept: list[Saved] = []
    for name, samples in sorted(families.items()):
        random.Random(f"balance/{seed}/{name}").shuffle(samples)
        kept += samples[:most]
        rejects += [_reject(row, "more traces of its family than are kept") for row in samples[most:]]
    random.Random(f"balance/{seed}").shuffle(kept)
    check_new(out)
    write_rejects(out, rejects)
    save(out, kept)
    counts = Counter(family(row.trajectory.task) for row in kept)
    why = Counter(row["why"] for row in rejects)
    return Counts(taken_in, len(kept), why, {"families": dict(sorted(counts.items()))})


def _reject(row: Saved, why: str) -> dict[str, Any]:
    return {"id": row.trajectory.task.id, "rollout": row.trajectory.rollout, "why": why}
