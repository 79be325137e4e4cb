"""The runner: plays many jobs with one model. Jobs go in, outcomes come out as they end; no job can end the others.

Every command that plays episodes calls `run_jobs`. It decides nothing: what a job is, what is kept of its outcome and
where are its callers' business. `armlite.journal` is where long work is written down.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from armlite.episode import Episode, EpisodeSettings, fault_of
from armlite.errors import DataError, InputError
from armlite.loop import ChatModel, ChatSession, OnStep, OnText, play
from armlite.types import Fault, StopReason, Task, Trajectory

AHEAD, THREADS = 8, 4
"""Jobs that are opened before there is a place for them, and threads that open them."""


@dataclass(frozen=True, eq=False)
class Job:
    """One episode that is to be played. Its files are opened when its turn comes.

    A subclass may open something else that is played like an episode: with `conversation`, `advance`, `stop`, `fault`
    and `model` (see `armlite.data.making.negatives`).
    """

    task: Task
    settings: EpisodeSettings
    root: Path | str = "."
    """Folder that the task's paths are relative to."""
    order: tuple[int, ...] = ()
    """`order[i]` is the caller's number of the response shown as `resp_{i+1}`; empty: as given."""
    rollout: int = 0
    images: Sequence[Image.Image] | None = None
    """The task's images where they are already open."""
    hurried: Callable[[], bool] | None = None
    """Says, while it is played, whether the model has to answer now (`Episode.hurried`)."""

    @property
    def key(self) -> tuple[str, int]:
        """Task id and rollout: what a job is known by."""
        return self.task.id, self.rollout

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for the outcome; a subclass may come to say no while it is played."""
        return True

    def open(self) -> Episode:
        """Open the task's files and begin.

        Raises:
            InputError: one cannot be read.
        """
        episode = Episode.open(self.task, self.settings, self.root, self.order, self.rollout, self.images)
        episode.hurried = self.hurried
        return episode


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a job: an episode that came to its own end, or a fault."""

    job: Job
    episode: Any
    """What was played, perhaps not to its end; None: the job could not be opened."""
    fault: Fault | None
    """Why it was not played to an end of its own, and whose fault that is."""
    seconds: float
    """From the opened job to its end, the time of others in flight included."""
    model: str

    @property
    def task(self) -> Task:
        return self.job.task

    @cached_property
    def trajectory(self) -> Trajectory:
        """The record; of a job that could not be opened one without steps."""
        if self.episode is not None:
            return self.episode.trajectory()
        job, count = self.job, len(self.job.task.responses)
        return Trajectory(
            task=job.task,
            order=job.order or tuple(range(1, count + 1)),
            stop=StopReason.BAD_INPUT,
            model=self.model,
            rollout=job.rollout,
            fault=self.fault,
        )

    @property
    def images(self) -> Mapping[str, Image.Image]:
        """File name -> pixels, for the store."""
        return self.episode.pixels() if self.episode is not None else {}

    @property
    def tokens(self) -> int:
        """Sampled tokens; 0 where the model does not say."""
        return sum(step.turn.tokens for step in self.trajectory.steps)


class _Unopened:
    """Stands in for the episode of a job that could not be opened: it has stopped."""

    stop = StopReason.BAD_INPUT
    conversation = None

    def __init__(self, fault: Fault):
        self.fault = fault


def run_jobs(
    jobs: Iterable[Job | None],
    model: ChatModel,
    *,
    in_flight: int | None = None,
    on_step: OnStep | None = None,
    on_text: OnText | None = None,
    session: ChatSession | None = None,
    ahead: bool = True,
) -> Iterator[Outcome]:
    """Play jobs; yields outcomes as they end.

    The next job is taken when a place is free, or, where the model is on this machine, up to `AHEAD` places earlier: a
    photo takes a tenth of a second to open, in which a card would have nothing to do. A job whose files cannot be read,
    or whose tool raises an `ArmliteError`, is an outcome with a fault. The model's session begins once one job could be
    opened: a model that loads itself then is not loaded for nothing.

    Args:
        jobs: None among them stands for no other yet: those in flight are played on, and it is asked again; where none
            is in flight, the run ends.
        in_flight: episodes that are open at once; None: as many as the model can use.
        on_step: told each step as it happens.
        on_text: told what the model writes, while it does.
        session: an open one, for a caller that wants the token ids of what was played.
        ahead: False: no job is taken before there is a place for it.

    Raises:
        ArmliteError: the model cannot be loaded or reached at all, or the settings name a tool that there is not.
        Exception: a bug of ours, or of a tool.
    """
    started: dict[int, tuple[Job, float]] = {}

    def opened(job: Job) -> Episode:
        try:
            return job.open()
        except (InputError, DataError) as error:  # another mistake of the user concerns all jobs alike
            return _Unopened(fault_of(error))  # type: ignore[return-value]  # `play` asks for no more than that

    def begun(job: Job, opening: Callable[[], Episode]) -> Episode:
        episode = opening()
        started[id(episode)] = job, time.monotonic()
        return episode

    def outcome(episode: Episode) -> Outcome:
        job, start = started.pop(id(episode))
        episode.model = model.name  # not before: a model that loads itself knows its name by then
        opened = None if isinstance(episode, _Unopened) else episode
        return Outcome(job, opened, episode.fault, time.monotonic() - start, model.name)

    rest = iter(jobs)
    while (job := next(rest, None)) is not None:
        first = begun(job, partial(opened, job))
        if first.stop is None:
            break
        yield outcome(first)
    else:
        return
    session = session or model.session()
    if on_text is not None:
        session.on_text = on_text
    wanted = lambda episode: started[id(episode)][0].wanted  # noqa: E731
    way = _opened_ahead if ahead and not session.threads else _opened_in_turn
    with closing(way(rest, opened)) as coming:
        others = (None if pair is None else partial(begun, *pair) for pair in coming)
        openings: Iterator[Callable[[], Episode] | None] = chain([lambda: first], others)
        for episode in play(openings, session, in_flight or model.in_flight, on_step, wanted):
            yield outcome(episode)


Coming = Generator[tuple[Job, Callable[[], Episode]] | None]
"""Jobs, each with what opens it or waits until it is open; None: no other yet."""


def _opened_in_turn(jobs: Iterator[Job | None], opened: Callable[[Job], Episode]) -> Coming:
    for job in jobs:
        yield None if job is None else (job, partial(opened, job))


def _opened_ahead(jobs: Iterator[Job | None], opened: Callable[[Job], Episode]) -> Coming:
    """As in turn and in the same order, so that nothing depends on the clock; the next ones are opened in threads."""
    line: deque[tuple[Job, Future[Episode]]] = deque()
    pool = ThreadPoolExecutor(THREADS, "armlite-opening")  # which begins a thread when there is something to do
    try:
        while True:
            while len(line) < AHEAD and (job := next(jobs, None)) is not None:
                line.append((job, pool.submit(opened, job)))
            if line:
                job, opening = line.popleft()
                yield job, opening.result
            else:
                yield None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
