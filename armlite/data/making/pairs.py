"""Preference pairs: to each good answer a related but flawed one (paper, section on verifiable preference data).

A good answer is `meta["positive"]`, else what the gold says: an accepted answer of open_qa, the right option of
multiple_choice, the better response, a response that is right. The flawed one is written by a chat model
(`negatives`) or made by one known change (`inject`). Pairs that are too similar and tasks that a benchmark holds are
left out (`similarity`, `contamination`). The good answer stands first in half of the pairs.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from armlite.data.making.contamination import Benchmarks
from armlite.data.making.filter import Progress
from armlite.data.making.inject import inject, names_in, satisfied
from armlite.data.making.negatives import write_negatives
from armlite.data.making.similarity import MAX_SIMILARITY, normalised, too_similar
from armlite.data.making.work import Counts, Work, digest, moved
from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError, ToolError
from armlite.loop import ChatModel
from armlite.memory import Limits
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
    load: Callable[[], ChatModel] | None = None,
    name: str = "",
    benchmarks: Iterable[Path] = (),
    max_similarity: float = MAX_SIMILARITY,
    seed: int = 0,
    temperature: float = 0.0,
    limits: Limits | None = None,
    batch: int = 64,
    on_batch: Progress | None = None,
) -> Counts:
    """Write a pairwise task for each task of `file` that has a good answer and gets a flawed one.

    Each has `meta["pair_of"]`, and `meta["injected"]` (`kind`, `from`, `to`, `at`) or `meta["negative_by"]` and
    `meta["flaw"]`.

    Args:
        load: loads the model that writes the flawed answers, when it is needed; None: they are injected.
        name: of the model.
        benchmarks: JSONL files of tasks that must not be trained on.
        max_similarity: see `too_similar`.
        seed: decides changes and orders.
        temperature: what the model was loaded with.
        limits: how large the model sees pictures.
        batch: requests in flight.

    Raises:
        ArmliteError: a file cannot be read, `out` exists or was begun otherwise.
    """
    tasks, files, limits = read_tasks(file), list(benchmarks), limits or Limits()
    held = Benchmarks(files)
    setup = {
        "tasks": digest(file),
        "model": name if load else "inject",
        "temperature": temperature,
        "seed": seed,
        "limits": limits.model_dump(),
    }
    work = Work(out, setup | {"benchmarks": [digest(f) for f in files]})
    done, lost = work.rows(), {}
    names = _name_pools(tasks)
    left = [task for task in tasks if task.id not in done]
    model = load() if load and left else None
    for start in range(0, len(left), batch):
        rows = _flawed(left[start : start + batch], file.parent, held, model, limits, names, seed)
        work.add(row for row in rows if not row.get("again"))
        work.check_reach(row["detail"] if row.get("again") else None for row in rows)
        done |= {row["id"]: row for row in rows if not row.get("again")}
        lost |= {row["id"]: row for row in rows if row.get("again")}
        if on_batch is not None:
            on_batch(len(tasks) - len(left) + start + len(rows), len(tasks))
    return _finish(
        work, [(task, done.get(task.id) or lost[task.id]) for task in tasks], file, name, max_similarity, seed
    )


def _finish(
    work: Work, found: Sequence[tuple[Task, dict[str, Any]]], file: Path, name: str, max_similarity: float, seed: int
) -> Counts:
    """Write what came of all tasks: the pairs that are fit, in balanced order, and the rejects."""
    made: list[tuple[Task, str, dict[str, Any]]] = []
    rejects = []
    for task, row in found:
        why = row.get("why") or _unfit(task, row, max_similarity)
        if why:
            rejects.append({key: value for key, value in row.items() if key != "again"} | {"why": why})
        else:
            made.append((task, row["negative"], row["meta"]))
    first = _first_places(len(made), seed)
    pairs = [
        _pair(*row, first=place, file=file, out=work.out, name=name) for row, place in zip(made, first, strict=True)
    ]
    work.finish((pair.to_json() + "\n" for pair in pairs), rejects)
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


def _flawed(
    tasks: Sequence[Task],
    root: Path,
    held: Benchmarks,
    model: ChatModel | None,
    limits: Limits,
    names: dict[tuple[str, bool], list[str]],
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each task: its flawed answer, or why it has none."""
    rows: dict[str, dict[str, Any]] = {}
    jobs: list[tuple[Task, str]] = []
    for task in tasks:
        try:
            good = good_answer(task)
        except ArmliteError as error:
            rows[task.id] = {"why": str(error)}
            continue
        try:
            rule = held.rule(task, root)
        except ArmliteError as error:
            rows[task.id] = {"why": "cannot be read", "detail": str(error)}
            continue
        if rule is not None:
            rows[task.id] = {"why": RULES[rule]}
        elif model is None:
            rows[task.id] = _injected(task, good, names, seed)
        else:
            jobs.append((task, good))
    if model is not None:
        for key, written in write_negatives(jobs, model, limits, root).items():
            row: dict[str, Any] = {"negative": written.answer, "meta": {"flaw": written.flaw}}
            if written.answer is None:
                row = {"why": written.why, "detail": written.detail, "again": written.again}
            rows[key] = row
    return [{"id": task.id, **rows[task.id]} for task in tasks]


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
