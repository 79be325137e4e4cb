"""A benchmark run: published rows in, judgments on disk as they are made, the benchmark's own figures out.

It goes on where a killed run stopped and makes failed judgments again; results depend neither on how many are in
flight nor on where it was interrupted. Scorers are in `armlite.evals.benchmarks`, other figures in
`armlite.evals.conduct`.
"""

import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from armlite.data.convert import MISSING, convert, missing_words
from armlite.data.sets import get_set
from armlite.data.tasks import read_tasks
from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ArmliteError
from armlite.evals.benchmarks import get_benchmark
from armlite.evals.figures import Benchmark, Order
from armlite.evals.folder import (
    TASKS,
    TRAJECTORIES,
    BenchRun,
    BenchSettings,
    Key,
    add_times,
    begin,
    is_begun,
    mend,
    read_run,
)
from armlite.evals.orders import presented
from armlite.evals.report import summarise, write_results
from armlite.images import is_as_stored, open_image
from armlite.judge import VOTING_TEMPERATURE, Judge
from armlite.loop import ChatModel, play
from armlite.memory import image_file
from armlite.store import Saved, append
from armlite.types import Step, StopReason, Task, Trajectory, Turn

ENDPOINT_WORKERS, LOCAL_WORKERS = 8, 32
"""Episodes in flight unless told otherwise."""


@dataclass(frozen=True)
class Job:
    """One judgment to be made."""

    task: Task
    shown: tuple[int, ...]
    """Presented order."""
    rollout: int


@dataclass(frozen=True)
class Judged:
    """One judgment that was made, or why it could not be."""

    trajectory: Trajectory
    pixels: Mapping[str, Image.Image]
    seconds: float | None


class _Episode(Episode):
    """An episode that a page or picture which cannot be read during it ends, and nothing else with it."""

    def advance(
        self, text: str, finish: Literal["stop", "length", "overflow", "error"] = "stop", tokens: int = 0
    ) -> Step | None:
        try:
            return super().advance(text, finish, tokens)
        except ArmliteError as error:
            return super().advance(str(error), "error")


def default_folder(model: str, tools: bool) -> Path:
    """`runs/eval/<model>`: where runs go that were given no place."""
    name = re.sub(r"@https?://.*", "", model.removeprefix("openai:"))
    slug = re.sub(r"[^\w.]+", "-", name).strip("-.") or "model"
    return Path("runs/eval") / (slug if tools else f"{slug}-no-tools")


def run_benchmark(
    name: str,
    model: str,
    path: Path | None = None,
    out: Path | None = None,
    *,
    n: int | None = None,
    tools: bool = True,
    votes: int = 1,
    order: Order | None = None,
    workers: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    max_calls: int | None = None,
    skip_missing: bool = False,
    on_progress: Callable[[int, int | None], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Judge a benchmark and score it, or go on with that.

    Args:
        name: of the benchmark.
        model: anything that `Judge.load` takes.
        path: folder of the published files; None: the hub.
        out: folder that the run's own folder, `<out>/<name>`, goes to.
        n: the first so many items.
        votes: rollouts of each presented order; more than one of a greedy model are warmed up.
        order: how responses are presented; None: as the official protocol does.
        workers: episodes in flight.
        skip_missing: judge without the items whose image files are not there.
        on_progress: called with (rows read, None), then with (judgments made, of how many).
        options: further ones of `Judge.load`.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ArmliteError: no such benchmark, model or data, image files that are missing, or a folder of another run.
    """
    benchmark = get_benchmark(name)
    if votes < 1:
        raise ArmliteError(f"--votes {votes} must be at least 1")
    if path is not None and not path.exists():
        raise ArmliteError(f"there is no folder {path} to read {name} from")
    endpoint = model.startswith("openai:")
    warmth = temperature or (VOTING_TEMPERATURE if votes > 1 else 0.0)
    workers = workers or (ENDPOINT_WORKERS if endpoint else LOCAL_WORKERS)
    given = {"workers": workers, **(options or {})} if endpoint else dict(options or {})
    judge = Judge.load(model, temperature=warmth, seed=seed, max_calls=max_calls, **given)
    rules = judge.settings if tools else judge.settings.model_copy(update={"tools": ()})
    settings = BenchSettings(
        bench=name,
        model=re.sub(r"//[^/@]*@", "//", model),
        path=None if path is None else str(path.resolve()),
        n=n,
        tools=tools,
        votes=votes,
        order=order or benchmark.order,
        temperature=warmth,
        seed=seed,
        max_calls=rules.max_calls if rules.tools != () else 0,
        skip_missing=skip_missing,
    )
    folder = (out or default_folder(model, tools)) / name
    if not is_begun(folder, settings):
        check_model_of(model)
        _convert(benchmark, path, folder, n, skip_missing, on_progress)
        begin(folder, settings)
    _judge_all(judge, rules, settings, folder, workers, endpoint, on_progress)
    return finish(folder)


def finish(folder: Path) -> dict[str, Any]:
    """Score what a run's folder holds and write summary, report, official files and exports; returns the summary."""
    run: BenchRun = read_run(folder)
    benchmark, dataset = get_benchmark(run.settings.bench), get_set(run.settings.bench)
    summary = summarise(benchmark, run)
    write_results(benchmark, dataset, run, summary)
    return summary


def check_model_of(model: str) -> None:
    """Find out that there is no such model before rows are converted for it.

    Raises:
        ArmliteError: as `Judge.load` and loading would later.
    """
    if model.startswith("openai:"):
        from armlite.models.openai import parse_spec

        parse_spec(model)
    else:
        from armlite.models.loading import check_model

        check_model(model)


def jobs_of(tasks: Iterable[Task], order: Order, votes: int) -> list[Job]:
    """All judgments of a run. Rollouts are numbered through a task's orders, so each has a random stream of its own."""
    return [
        Job(task, shown, first * votes + vote)
        for task in tasks
        for first, shown in enumerate(presented(task, order))
        for vote in range(votes)
    ]


def _convert(
    benchmark: Benchmark,
    path: Path | None,
    folder: Path,
    n: int | None,
    skip_missing: bool,
    on_progress: Callable[[int, int | None], None] | None,
) -> None:
    told = on_progress or (lambda done, total: None)
    made = convert(get_set(benchmark.name), path, folder / TASKS, n=n, on_row=lambda rows: told(rows, None))
    if made.missing and not skip_missing:
        (folder / TASKS).unlink()
        raise ArmliteError(
            f"{benchmark.name}: {len(made.missing)} files that {made.incomplete} rows name are not there "
            f"(all in {folder / MISSING}; --skip-missing judges without them): {missing_words(made.missing, path)}"
        )


def _judge_all(
    judge: Judge,
    rules: EpisodeSettings,
    settings: BenchSettings,
    folder: Path,
    workers: int,
    endpoint: bool,
    on_progress: Callable[[int, int | None], None] | None,
) -> None:
    """Make the judgments that are not there yet, and write each down as it is made."""
    jobs = jobs_of(read_tasks(folder / TASKS), settings.order, settings.votes)
    done = mend(folder, ((job.task.id, job.rollout) for job in jobs))
    left = [job for job in jobs if (job.task.id, job.rollout) not in done]
    count = len(done)
    if on_progress is not None:
        on_progress(count, len(jobs))
    if not left:
        return
    model = judge.model
    if endpoint:
        model.session()  # makes its connections before threads share them
    play_all = _in_threads if endpoint else _in_batches
    for judged in play_all(left, lambda some: _play(some, model, rules, folder), workers):
        rows = [Saved(trajectory=j.trajectory) for j in judged]
        append(folder / TRAJECTORIES, rows, {f: image for j in judged for f, image in j.pixels.items()})
        times = {_key(j): j.seconds for j in judged if j.seconds is not None}
        add_times(folder, times, alone=endpoint)
        count += len(judged)
        if on_progress is not None:
            on_progress(count, len(jobs))


Play = Callable[[Sequence[Job]], list[Judged]]


def _play(jobs: Sequence[Job], model: ChatModel, rules: EpisodeSettings, root: Path) -> list[Judged]:
    """Play jobs as one batch; one whose files cannot be read is recorded with the reason."""
    episodes: list[_Episode] = []
    judged: list[Judged] = []
    for job in jobs:
        try:
            episodes.append(_Episode.open(job.task, rules, root, job.shown, job.rollout))  # type: ignore[arg-type]
        except ArmliteError as error:
            judged.append(Judged(_unopened(job, str(error), model.name), {}, None))
    started = time.monotonic()
    if episodes:
        play(episodes, model)
    seconds = (time.monotonic() - started) / max(1, len(episodes))
    for episode in episodes:
        link_pictures(episode.trajectory(), root)
    return judged + [Judged(e.trajectory(), e.pixels(), seconds) for e in episodes]


def link_pictures(trajectory: Trajectory, folder: Path) -> None:
    """Let the run's `images/` point to the task's own files where these hold the very pixels of the record.

    A PNG of each would double a large benchmark's size and take longer than some judgments; pictures that were turned
    or flattened on opening, and file systems without links, get one all the same.
    """
    infos = {info.id: info for info in trajectory.images}
    for path, name in zip(trajectory.task.images, trajectory.prompt_images, strict=False):
        target = folder / "images" / infos[name].file
        if target.exists():
            continue
        if is_as_stored(folder / path) and image_file(open_image(folder / path)) == infos[name].file:
            target.parent.mkdir(exist_ok=True)
            with suppress(OSError):
                target.symlink_to(os.path.relpath(folder / path, target.parent))


def _unopened(job: Job, why: str, model: str) -> Trajectory:
    """The record of an item whose images or document cannot be read."""
    turn = Turn(text=why, finish="error")
    return Trajectory(
        task=job.task,
        order=job.shown,
        steps=(Step(turn=turn),),
        stop=StopReason.MODEL_ERROR,
        model=model,
        rollout=job.rollout,
    )


def _in_batches(jobs: Sequence[Job], play_some: Play, size: int) -> Iterator[list[Judged]]:
    rest = iter(jobs)
    while batch := list(islice(rest, size)):
        yield play_some(batch)


def _in_threads(jobs: Sequence[Job], play_some: Play, workers: int) -> Iterator[list[Judged]]:
    """One job at a time in each of so many threads, results as they come.

    Daemon threads, so that Ctrl-C need not wait for replies; a bounded queue, so that pictures do not pile up.
    """
    rest, lock = iter(jobs), threading.Lock()
    results: queue.Queue[list[Judged] | BaseException] = queue.Queue(2 * workers)
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            with lock:
                job = next(rest, None)
            if job is None:
                return
            try:
                results.put(play_some([job]))
            except BaseException as error:
                # Raised again below, in the thread of the caller.
                results.put(error)
                return

    for _ in range(min(workers, len(jobs))):
        threading.Thread(target=work, name="armlite-bench", daemon=True).start()
    try:
        for _ in jobs:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stopped.set()


def _key(judged: Judged) -> Key:
    return judged.trajectory.task.id, judged.trajectory.rollout
