"""Judges the rows of a file, and goes on with that after any interruption.

`--out` holds `tasks.jsonl` (the rows as Task records), `trajectories.jsonl` (a journal, for `view`), and what
`armlite.batch.written` makes of it as judgments end. Rows are streamed: a large file takes little memory.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from PIL import Image

from armlite.batch.budget import Budget, Price
from armlite.batch.cache import Cache, CachingWriter
from armlite.batch.columns import Columns, parse_map
from armlite.batch.grading import Gradings
from armlite.batch.parts import Parts
from armlite.batch.ranking import PAIR, Rankings
from armlite.batch.source import Source, forget_pipe, open_source
from armlite.batch.written import Verdicts
from armlite.calibration import Calibration
from armlite.data.files import Unreadable
from armlite.data.pictures import Pictures
from armlite.data.tasks import write_tasks
from armlite.errors import ArmliteError
from armlite.evals.orders import presented
from armlite.evals.run import check_model_of
from armlite.journal import Journal, Key, is_begun, is_fault
from armlite.jsonl import read_records
from armlite.judge import VOTING_TEMPERATURE, Judge
from armlite.lock import held
from armlite.models import asked_at_once, model_prefix
from armlite.models.endpoint import place_free
from armlite.models.lazy import writer_of
from armlite.rubric import Rubric
from armlite.runner import Job, run_jobs
from armlite.store import Saved
from armlite.tools.checks.measures import splitter_of
from armlite.tools.documents import ocr
from armlite.tools.documents.text_cache import cache_folder
from armlite.types import Task

TASKS, TRAJECTORIES = "tasks.jsonl", "trajectories.jsonl"
PANEL = "panel.json"
"""Stands in the folder of a batch of several models (`armlite.batch.panel`)."""
Told = Callable[[int, int], None]
"""Called with (judgments made, of how many)."""


class Asked(TypedDict, total=False):
    """How a file is judged, as keywords of `judge_file`."""

    columns: Sequence[str]
    """`ROLE=COLUMN`, separated by commas: what no rule can know of the columns."""
    n: int | None
    """The first so many rows; all unless given."""
    rate: bool
    """Rate single responses from 1 to 10 instead of checking them."""
    rubric: Rubric | None
    """Grade single responses by it, instead of checking them."""
    rank: bool
    """Put three or more responses in order, instead of finding the best."""
    swap: bool
    """Judge in both presented orders; else in one that the row's id draws."""
    votes: int
    """Rollouts of each presented order, 1 unless given; more than one of a greedy model are warmed up."""
    tools: bool
    """Show the model tools; True unless given."""
    temperature: float
    seed: int
    max_calls: int | None
    cache: Path | None
    """Folder of what was judged before, with the same model and settings; None: the user's own, `off`: none."""
    max_seconds: float | None
    """Begin no judgment after so many; in those in play no call is run any more, and one turn is left to answer."""
    max_total_tokens: int | None
    """Likewise once so many tokens have been read and written for the folder."""
    max_cost: float | None
    """Likewise once they have cost so much, by `price`."""
    price: str | None
    """`IN,OUT`: what a million tokens read and written cost; then cost is a column."""
    only: Collection[str] | None
    """Ids of the rows to judge; None: all. No part of what a folder is known by."""
    retry_failed: bool
    """Judge once more what could not be judged for a fault: a server that was away, a file that was not there."""


def judge_file(
    file: str | Path,
    model: str,
    out: Path,
    *,
    workers: int | None = None,
    on_progress: Told | None = None,
    say: Callable[[str], None] = lambda line: None,
    options: dict[str, Any] | None = None,
    **asked: Unpack[Asked],
) -> dict[str, Any]:
    """Judge a file's rows, or go on with that.

    Args:
        file: JSONL, JSON, CSV, TSV or parquet; `-`: JSONL from standard input; `hf:OWNER/NAME@CONFIG:SPLIT`: a set on
            the hub.
        model: anything that `Judge.load` takes.
        out: folder of the results.
        workers: episodes in flight; None: as many as the model can use.
        on_progress: see `Told`.
        say: told how the columns are read.
        options: further ones of `Judge.load`.
        asked: how it is judged.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ArmliteError: no such file or model, or a folder of something else.
        DataError: a row that cannot be read; nothing has been judged then.
    """
    votes, told = asked.get("votes", 1), on_progress or (lambda done, total: None)
    if votes < 1:
        raise ArmliteError(f"--votes {votes} must be at least 1")
    price = None if asked.get("price") is None else Price.of(asked["price"])
    budget = Budget(asked.get("max_seconds"), asked.get("max_total_tokens"), asked.get("max_cost"), price)
    warmth = asked.get("temperature", 0.0) or (VOTING_TEMPERATURE if votes > 1 else 0.0)
    given = {"max_calls": asked.get("max_calls"), **asked_at_once(model, workers), **(options or {})}
    judge = Judge.load(model, temperature=warmth, seed=asked.get("seed", 0), **given)
    if not asked.get("tools", True):
        judge = judge.without_tools()
    if (out / PANEL).exists():
        raise ArmliteError(f"{out} holds the verdicts of several models; give another --out")
    with held(out):
        source = open_source(file, out)
        settings = _settings(source, model, judge, asked)
        if not is_begun(out / TRAJECTORIES, settings) or not (out / TASKS).is_file():
            check_model_of(model)
            _write_tasks(source, out, asked, say)
        journal = Journal(out / TRAJECTORIES, settings)
        if asked.get("retry_failed"):
            journal.keep(lambda row: not is_fault(row))
        with ExitStack() as stack:
            parts = _parts(out, asked, votes, judge.calibration)
            verdicts = Verdicts(out, lambda task: len(_orders(task, asked)) * votes, parts, judge.calibration, price)
            stack.enter_context(verdicts)
            total = verdicts.begin(_rows(out, asked), budget.counting(journal.trajectories()))
            done = set(journal.done)
            told(len(done), total)
            cache = _cache(asked, settings, model)
            writer = stack.enter_context(CachingWriter(journal, cache))
            number = len(done)

            def take(row: Saved, images: Mapping[str, Image.Image]) -> None:
                nonlocal number
                number += 1
                writer.add(row, images, out)
                verdicts.add(row)
                told(number, total - (parts.spared if parts else 0))

            def unknown(jobs: Iterable[Job]) -> Iterator[Job]:
                for job in jobs:
                    if budget.spent():
                        return
                    key = cache.key(job) if cache is not None else None
                    known = cache.get(job, key, journal.file) if cache is not None else None
                    if known is not None:
                        take(known, {})
                        continue
                    writer.keys[job.key] = key
                    yield replace(job, hurried=budget.is_spent)

            for jobs in _plays(out, judge, asked, done, parts):
                played = run_jobs(
                    unknown(jobs), judge.model, in_flight=workers, on_step=budget.on_step, ahead=not budget.limited
                )
                for outcome in played:
                    take(Saved(trajectory=outcome.trajectory, seconds=round(outcome.seconds, 4)), outcome.images)
                if budget.spent():
                    break
            left = total - number - (parts.spared if parts else 0)
            return verdicts.finish(budget.spent() if left else None, left)


def _cache(asked: Asked, settings: dict[str, Any], model: str) -> Cache | None:
    """The cache that is asked for; None for a model of which nothing tells that it is still the same: one that the
    user's own code makes, or one on a hub.
    """
    place, served = asked.get("cache"), model_prefix(model) == "openai"
    if str(place) == "off" or not (served or settings["writer"].get("digest")):
        return None
    return Cache(place or cache_folder() / "judgments", settings, model)


def _settings(source: Source, model: str, judge: Judge, asked: Asked) -> dict[str, Any]:
    """All that decides the verdicts."""
    own = judge.settings
    return {
        "file": source.name,
        "digest": source.digest,
        "model": place_free(model),
        "columns": parse_map(asked.get("columns", ())),
        "n": asked.get("n"),
        "rate": asked.get("rate", False),
        "rank": asked.get("rank", False),
        "rubric": rubric.model_dump(mode="json") if (rubric := asked.get("rubric")) is not None else None,
        "swap": asked.get("swap", False),
        "votes": asked.get("votes", 1),
        "temperature": judge.model.sampling.temperature,  # type: ignore[attr-defined]  # it is lazy
        "seed": asked.get("seed", 0),
        "episode": own.model_dump(mode="json"),
        "machine": {"ocr": ocr.available(), "splitter": splitter_of(own.limits.verifier_mode)},
        "writer": writer_of(judge.model),
    }


def _write_tasks(source: Source, out: Path, asked: Asked, say: Callable[[str], None]) -> None:
    try:
        if not write_tasks(out / TASKS, tasks_of(source, out, asked, say)):
            (out / TASKS).unlink()
            raise ArmliteError(f"{source.name} has no row to judge")
    except ArmliteError:
        forget_pipe(out)
        raise


def tasks_of(source: Source, out: Path, asked: Asked, say: Callable[[str], None] = lambda line: None) -> Iterator[Task]:
    """Rows as tasks; an id that was there before gets the row's number behind it.

    Args:
        source: of the rows.
        out: folder that the tasks' paths are relative to, and that embedded pictures are written to.
        asked: of which `columns`, `rate`, `rank` and `n` count.
        say: told how the columns are read.

    Raises:
        DataError: a row that cannot be read.
    """
    columns = Columns(parse_map(asked.get("columns", ())), asked.get("rate", False), asked.get("rubric") is not None)
    seen: set[str] = set()
    for row in source.rows(Pictures(out)):
        if len(seen) == asked.get("n"):
            return
        if isinstance(row, Unreadable):
            raise row.error
        known = len(columns.said)
        task = columns.task(row)
        if len(columns.said) > known:
            say(f"row {row.number}: {list(columns.said.values())[-1]}")
        if task.id in seen or (asked.get("rank") and PAIR.search(task.id)):
            task = task.model_copy(update={"id": f"{task.id}#{row.number}"})
        seen.add(task.id)
        yield task


def _orders(task: Task, asked: Asked) -> tuple[tuple[int, ...], ...]:
    return presented(task, "both" if asked.get("swap") else "hash", asked.get("seed", 0))


def _parts(out: Path, asked: Asked, votes: int, calibration: Calibration | None) -> Parts | None:
    if (rubric := asked.get("rubric")) is not None:
        return Gradings(rubric, votes, calibration)
    return Rankings(out / TASKS, votes, asked.get("only")) if asked.get("rank") else None


def _rows(out: Path, asked: Asked) -> Iterator[tuple[int, Task]]:
    """The rows that are to be judged."""
    only = asked.get("only")
    return (row for row in read_records(out / TASKS, Task) if only is None or row[1].id in only)


def _plays(out: Path, judge: Judge, asked: Asked, done: set[Key], parts: Parts | None) -> Iterator[Iterable[Job]]:
    """The judgments that are not done yet; those that depend on others' outcomes a play a round, after all the rest."""
    yield _jobs(out, judge, asked, done, parts)
    if parts is not None:
        yield from parts.rounds(judge.settings, out, done)


def _jobs(out: Path, judge: Judge, asked: Asked, done: set[Key], parts: Parts | None) -> Iterator[Job]:
    votes = asked.get("votes", 1)
    for _, task in _rows(out, asked):
        if parts is not None and parts.asked(task) is not None:
            yield from parts.jobs(task, judge.settings, out, done)
            continue
        for first, shown in enumerate(_orders(task, asked)):
            for vote in range(votes):
                job = Job(task, judge.settings, out, shown, first * votes + vote)
                if job.key not in done:
                    yield job
