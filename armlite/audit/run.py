"""Plays an audit: twins made of tasks, all judged by the one runner and written to a journal, figures at the end.

`--out` holds `tasks.jsonl` (all twins), `probes.jsonl` (which are laid beside which), `trajectories.jsonl` for `view`,
and `audit.json`. A killed audit goes on when the same command is given again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict, Unpack

from armlite.audit.attacks import Attack, attacks
from armlite.audit.figures import figures
from armlite.audit.twins import BIASES, KINDS, Probe, Twins
from armlite.batch.run import tasks_of
from armlite.batch.source import Source, open_source
from armlite.data.tasks import read_tasks, write_tasks
from armlite.errors import ArmliteError, nearest
from armlite.evals.run import Told, check_model_of, judge_jobs
from armlite.journal import Journal, is_begun
from armlite.jsonl import json_rows
from armlite.judge import Judge
from armlite.lock import held
from armlite.models import asked_at_once, model_prefix
from armlite.models.endpoint import place_free
from armlite.models.lazy import writer_of
from armlite.runner import Job
from armlite.store import write_atomic

TASKS, PROBES, TRAJECTORIES, AUDIT = "tasks.jsonl", "probes.jsonl", "trajectories.jsonl", "audit.json"
BOUND = 0.1
N = 60
"""Tasks of an audit unless told otherwise."""


class Asked(TypedDict, total=False):
    """What is audited and how, as keywords of `audit`."""

    tasks: str | Path | None
    """Rows as `armlite judge FILE` reads them; those without a response to judge are left out. None: pocket tasks."""
    n: int | None
    """The first so many tasks; None: `N` pocket tasks, or all of the file."""
    bounds: Sequence[str]
    """`0.1`, or `BIAS=0.1` for one of them: the largest difference that is let pass."""
    workers: int | None
    """Judgments in flight; None: as many as the model can use."""
    options: Mapping[str, Any]
    """Further ones of `Judge.load`."""
    texts: Sequence[Attack]
    """What is injected; all of `attacks()` unless given."""


def audit(model: str, out: Path, on_progress: Told | None = None, **asked: Unpack[Asked]) -> dict[str, Any]:
    """Audit a judge, or go on with that.

    Args:
        model: anything that `Judge.load` takes.
        out: folder of all that is made.
        on_progress: called with (judgments made, of how many).
        asked: what is audited, and how.

    Returns:
        The summary, as in `audit.json`; `beyond` names the biases beyond their bound, `few` those that too few
        comparisons were made of to find one.

    Raises:
        ArmliteError: no such model, tasks or bias, a file that cannot be read, or a folder of something else.
    """
    allowed, injected = parse_bounds(asked.get("bounds", ())), asked.get("texts", attacks())
    n, workers = asked.get("n"), asked.get("workers")
    judge = Judge.load(model, **asked_at_once(model, workers), **asked.get("options", {}))
    with held(out):
        source = None if asked.get("tasks") is None else open_source(str(asked["tasks"]), out)
        settings = {
            "tasks": source and source.name,
            "digest": source and source.digest,
            "n": n,
            "texts": [attack.id for attack in injected],
            "model": place_free(model),
            "temperature": judge.model.sampling.temperature,  # type: ignore[attr-defined]  # it is lazy
            "episode": judge.settings.model_dump(mode="json"),
            "writer": writer_of(judge.model),
        }
        if not is_begun(out / TRAJECTORIES, settings) or not (out / PROBES).is_file():
            check_model_of(model)
            _prepare(out, source, n, injected)
        journal = Journal(out / TRAJECTORIES, settings)
        jobs = [Job(task, judge.settings, out, tuple(task.meta["order"])) for task in read_tasks(out / TASKS)]
        journal.redo_faults(jobs)
        judge_jobs(jobs, judge.model, journal, workers, model_prefix(model) is not None, on_progress)
        probes = [Probe(**row) for _, row in json_rows(out / PROBES)]
        judged = {row.trajectory.task.id: row.trajectory for row in journal.trajectories()}
        summary = {"model": settings["model"], "judgments": len(judged)}
        summary |= figures(probes, judged, allowed, judge.settings.limits)
        write_atomic(out / AUDIT, json.dumps(summary, indent=2) + "\n")
        return summary


def parse_bounds(words: Sequence[str]) -> dict[str, float]:
    """`0.2` for all and `position=0.3` for one, as a bound for each bias.

    Raises:
        ArmliteError: there is no such bias, or no such share.
    """
    found: dict[str, float] = dict.fromkeys(BIASES, BOUND)
    for word in sorted((part.strip() for text in words for part in text.split(",")), key=lambda w: "=" in w):
        bias, _, value = word.rpartition("=")
        if bias and bias not in found:
            raise ArmliteError(f"--bound {word}: there is no bias {bias!r}.{nearest(bias, BIASES)} {', '.join(BIASES)}")
        try:
            bound = float(value)
        except ValueError:
            bound = -1.0
        if not 0 <= bound <= 1:
            raise ArmliteError(f"--bound {word}: {value!r} must be a share from 0 to 1, as 0.1 or position=0.1")
        found |= dict.fromkeys([bias] if bias else BIASES, bound)
    return found


def _prepare(out: Path, source: Source | None, n: int | None, injected: Sequence[Attack]) -> None:
    """Write the tasks of all twins, and the probes that say which are laid beside which."""
    if source is None:
        from armlite.pocket.world import generate

        given = list(generate("test", n or N, 0, out))
    else:
        given = list(islice((task for task in tasks_of(source, out, {}) if task.kind in KINDS), n))
        if not given:
            raise ArmliteError(f"{source.name} has no task with responses to judge ({', '.join(KINDS)})")
    twins = Twins(out)
    probes = list(twins.probes(given, injected))
    if not probes:
        raise ArmliteError(f"{source.name if source else 'these tasks'}: there is nothing to lay beside a twin")
    write_tasks(out / TASKS, twins.tasks.values())
    write_atomic(out / PROBES, "".join(json.dumps(asdict(probe)) + "\n" for probe in probes))
