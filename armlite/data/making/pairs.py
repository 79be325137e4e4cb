"""Preference pairs: to each good answer a related but flawed one (paper, section on verifiable preference data).

A good answer is `meta["positive"]`, else what the gold says: an accepted answer of open_qa, the right option of
multiple_choice, the better response, a response that is right. The flawed one is written by a chat model
(`negatives`) or made by one known change (`inject`). Pairs that are too similar and tasks that a benchmark holds are
left out (`similarity`, `contamination`). The good answer stands first in half of the pairs.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from armlite.data.making.contamination import Benchmarks
from armlite.data.making.inject import inject, names_in, satisfied
from armlite.data.making.negatives import WriteFlaw, Written
from armlite.data.making.output import Counts, begin, finish
from armlite.data.making.rollouts import WHY, Progress, TasksDone, while_reachable
from armlite.data.making.similarity import MAX_SIMILARITY, normalised, too_similar
from armlite.data.tasks import moved, read_tasks
from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError, ToolError
from armlite.journal import Journal
from armlite.loop import ChatModel
from armlite.memory import Limits
from armlite.models.lazy import writer_of
from armlite.runner import Outcome, run_jobs
from armlite.store import file_digest
from armlite.types import Task

RULES = {
    "exact": "in a benchmark: same question, same picture",
    "near": "in a benchmark: same question, nearly the same picture",
    "document": "in a benchmark: same question, same document",
    "question": "in a benchmark: same question, same answer, nothing to look at",
}


def make_pairs(
    file: Path,
    out: Path,
    model: ChatModel | None = None,
    name: str = "",
    benchmarks: Iterable[Path] = (),
    max_similarity: float = MAX_SIMILARITY,
    seed: int = 0,
    temperature: float = 0.0,
    limits: Limits | None = None,
    in_flight: int | None = None,
    on_task: Progress | None = None,
) -> Counts:
    """Write a pairwise task for each task of `file` that has a good answer and gets a flawed one.

    Each has `meta["pair_of"]`, and `meta["injected"]` (`kind`, `from`, `to`, `at`) or `meta["negative_by"]` and
    `meta["flaw"]`.

    Args:
        model: writes the flawed answers; None: they are injected.
        name: of the model.
        benchmarks: JSONL files of tasks that must not be trained on.
        max_similarity: see `too_similar`.
        seed: decides changes and orders.
        temperature: that the model samples at.
        limits: how large the model sees pictures.
        in_flight: requests at once; None: as many as the model can use.

    Raises:
        ArmliteError: a file cannot be read, `out` exists or was begun otherwise.
    """
    tasks, files, limits = read_tasks(file), list(benchmarks), limits or Limits()
    held = Benchmarks(files)
    setup = {
        "tasks": file_digest(file),
        "model": name if model is not None else "inject",
        "temperature": temperature,
        "seed": seed,
        "limits": limits.model_dump(),
        "writer": {} if model is None else writer_of(model),
    }
    journal = begin(out, setup | {"benchmarks": [file_digest(f) for f in files]})
    names = _name_pools(tasks)
    lost: dict[str, dict[str, Any]] = {}
    jobs: list[WriteFlaw] = []
    for task in (task for task in tasks if (task.id, 0) not in journal.done):
        row, good = _without_model(task, file.parent, held)
        if row is None and model is None:
            row = _injected(task, good, names, seed)
        if row is not None:
            journal.add({"id": task.id, **row})
        else:
            jobs.append(WriteFlaw(task, EpisodeSettings(limits=limits), file.parent, good=good))
    done = TasksDone(jobs, len(tasks), on_task)
    for outcome in while_reachable(run_jobs(jobs, model, in_flight=in_flight) if model is not None else ()):
        key, fault = outcome.task.id, outcome.fault
        if fault is not None and fault.whose == "model":
            lost[key] = {"id": key, "why": WHY["model"], "detail": fault.reason}
        else:
            journal.add({"id": key, **_written(outcome)})
        done(outcome.task)
    found = {row["id"]: row for row in journal.rows()} | lost
    return _finish(journal, [(task, found[task.id]) for task in tasks], file, out, name, max_similarity, seed)


def _finish(
    journal: Journal,
    found: Sequence[tuple[Task, dict[str, Any]]],
    file: Path,
    out: Path,
    name: str,
    max_similarity: float,
    seed: int,
) -> Counts:
    """Write what came of all tasks: the pairs that are fit, in balanced order, and the rejects."""
    made: list[tuple[Task, str, dict[str, Any]]] = []
    rejects = []
    for task, row in found:
        why = row.get("why") or _unfit(task, row, max_similarity)
        if why:
            rejects.append(row | {"why": why})
        else:
            made.append((task, row["negative"], row["meta"]))
    first = _first_places(len(made), seed)
    pairs = [_pair(*row, first=place, file=file, out=out, name=name) for row, place in zip(made, first, strict=True)]
    finish(journal, out, (pair.to_json() + "\n" for pair in pairs), rejects)
    kinds = Counter(p.meta["injected"]["kind"] if "injected" in p.meta else name for p in pairs)
    order = {f"good answer is response {n}": sum(p.gold == n for p in pairs) for n in (1, 2)}
    counts = Counter(row["why"] for row in rejects)
    return Counts(len(found), len(pairs), counts, {"by": dict(kinds.most_common()), "order": order})


def good_answer(task: Task) -> str:
    """The good answer that a task carries.

    Raises:
        ArmliteError: it has none; says why.
    """
    gold, given = task.gold, task.meta.get("positive")
    if given is not None:
        if not isinstance(given, str) or not given.strip():
            raise ArmliteError("meta.positive is no text")
        return given
    if gold is None:
        raise ArmliteError("has no gold answer")
    good: Any = gold[0] if isinstance(gold, tuple) and gold else gold
    if task.kind == "multiple_choice":
        good = task.options[good]
    elif task.kind in ("pairwise", "listwise"):
        good = task.responses[good - 1] if good else ""
    elif task.kind == "pointwise":
        good = task.responses[0] if good is True else ""
    elif task.kind == "rating":
        good = ""
    if not isinstance(good, str) or not good.strip():
        raise ArmliteError("its gold names no good answer")
    return good


def _without_model(task: Task, root: Path, held: Benchmarks) -> tuple[dict[str, Any] | None, str]:
    """Why a task gets no flawed answer, as far as no model is needed to tell; and its good answer."""
    try:
        good = good_answer(task)
    except ArmliteError as error:
        return {"why": str(error)}, ""
    try:
        rule = held.rule(task, root)
    except ArmliteError as error:
        return {"why": WHY["data"], "detail": str(error)}, good
    return (None if rule is None else {"why": RULES[rule]}), good


def _written(outcome: Outcome) -> dict[str, Any]:
    """What a model wrote, or why there is nothing to use."""
    if outcome.fault is not None:
        return {"why": WHY[outcome.fault.whose], "detail": outcome.fault.reason}
    written: Written = outcome.episode.written
    if written.answer is None:
        return {"why": written.why, "detail": written.detail}
    return {"negative": written.answer, "meta": {"flaw": written.flaw}}


def _injected(task: Task, good: str, names: dict[tuple[str, bool], list[str]], seed: int) -> dict[str, Any]:
    found = inject(
        good,
        random.Random(f"inject/{seed}/{task.id}"),
        names.get((task.source, _is_bare(good)), []),
        task.constraints,
        task.gold if task.kind == "open_qa" and isinstance(task.gold, tuple) else (),  # type: ignore[arg-type]
    )
    if isinstance(found, str):
        return {"why": found}
    return {"negative": found[0], "meta": {"injected": found[1].record()}}


def _name_pools(tasks: Sequence[Task]) -> dict[tuple[str, bool], list[str]]:
    """(source, is the answer one bare word) -> names in the good answers: what a name may be changed to."""
    pools: dict[tuple[str, bool], set[str]] = {}
    for task in tasks:
        try:
            good = good_answer(task)
        except ArmliteError:
            continue
        pools.setdefault((task.source, _is_bare(good)), set()).update(names_in(good))
    return {key: sorted(names) for key, names in pools.items()}


def _is_bare(answer: str) -> bool:
    return answer.strip() in names_in(answer)


def _unfit(task: Task, row: dict[str, Any], limit: float) -> str | None:
    """Why a flawed answer does not do."""
    negative = row["negative"]
    accepted = task.gold if task.kind == "open_qa" and isinstance(task.gold, tuple) else ()
    if normalised(negative) in {normalised(str(answer)) for answer in accepted}:
        return "is an accepted answer"
    try:
        keeps = satisfied(negative, task.constraints)
    except ToolError:
        return "a constraint cannot be checked"
    if keeps:
        return "keeps all constraints"
    known = "injected" in row["meta"] or keeps is False
    return too_similar(good_answer(task), negative, None if known else limit)


def _first_places(n: int, seed: int) -> list[bool]:
    """For each pair: does the good answer stand first? True for half of them, one less where the number is odd."""
    places = [i < n // 2 for i in range(n)]
    random.Random(f"places/{seed}").shuffle(places)
    return places


def _pair(task: Task, negative: str, meta: dict[str, Any], first: bool, file: Path, out: Path, name: str) -> Task:
    good = good_answer(task)
    kept = {key: value for key, value in task.meta.items() if key != "positive"}
    if "flaw" in meta:
        meta = {**meta, "negative_by": name}
    changes = {
        "id": f"{task.id}-pair",
        "kind": "pairwise",
        "responses": (good, negative) if first else (negative, good),
        "gold": 1 if first else 2,
        "meta": {**kept, **meta, "pair_of": task.id},
    }
    return moved(task, file.parent, out.parent).model_copy(update=changes)
