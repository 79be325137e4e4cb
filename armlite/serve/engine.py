"""One thread that plays what all requests ask: a judgment joins the running batch, and leaves it as it ends.

It calls the runner as every command does. HTTP is `armlite.serve.app`'s business.
"""

import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from armlite.episode import Episode
from armlite.errors import ArmliteError, DataError, InputError
from armlite.judge import Judge
from armlite.loop import ChatModel, ChatSession, OnStep, OnText
from armlite.runner import Job, Outcome, run_jobs
from armlite.types import Step


class GivenUp(Exception):
    """Nobody waits for a judgment any more, or the server stops."""


class Ticket:
    """A request, for as long as somebody waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[tuple[Engine, Asked]] = []
        self.wanted = True

    def add(self, engine: "Engine", asked: "Asked") -> None:
        """Take note of what is asked for this request; it is given up where nobody waits any more."""
        with self._lock:
            if self.wanted:
                self._asked.append((engine, asked))
                return
        asked.ended.cancel()

    def leave(self) -> None:
        """Nobody waits any more: what is asked is given up, and what is played is closed."""
        with self._lock:
            self.wanted = False
            left, self._asked = self._asked, []
        for engine in {engine for engine, asked in left if asked.ended.cancel()}:  # those that have ended are not
            engine.wake()


@dataclass(frozen=True, eq=False)
class Asked(Job):
    """A job of a request, and its outcome once there is one."""

    job: Job = field(kw_only=True)
    """What is opened, and whose outcome it is; it may be of a kind of its own."""
    ticket: Ticket = field(default_factory=Ticket)
    on_step: OnStep | None = None
    ended: "Future[Outcome]" = field(default_factory=Future)
    opened: list[Episode] = field(default_factory=list)
    """The episode, once it has a place."""

    @property
    def wanted(self) -> bool:
        return self.ticket.wanted

    def open(self) -> Episode:
        """As `Job.open`, but whatever the user did wrong concerns this request alone.

        Raises:
            InputError: a file cannot be read, or a setting is wrong.
        """
        try:
            self.opened.append(self.job.open())
        except (InputError, DataError):
            raise
        except ArmliteError as error:
            raise InputError(str(error)) from error
        return self.opened[0]


class Engine:
    """A thread and a session of a model, from its making to `close`.

    Args:
        model: loaded by now, or one that its first session loads.
        places: judgments in flight at once.
    """

    def __init__(self, model: ChatModel, places: int):
        self.model, self._places = model, places
        self._lines: dict[Ticket, deque[Asked]] = {}
        """What waits for a place, by request: these take turns, so that a large one does not keep others waiting."""
        self._playing: set[Asked] = set()
        """What has a place."""
        self._there = threading.Condition()
        self._open, self._session = True, None
        self._thread = threading.Thread(target=self._work, name="armlite-engine", daemon=True)
        self._thread.start()

    @property
    def in_flight(self) -> int:
        """Judgments that are played at this moment."""
        return len(self._playing)

    @property
    def waiting(self) -> int:
        """Judgments that wait for a place."""
        return sum(map(len, list(self._lines.values())))

    def ask(self, jobs: Iterable[Asked]) -> None:
        """Play jobs when there is a place for them; the outcome of each is in its `ended`."""
        with self._there:
            for job in jobs:
                job.ticket.add(self, job)
                self._lines.setdefault(job.ticket, deque()).append(job)
            self._there.notify()
        self.wake()

    def wake(self) -> None:
        """From any thread: look whether somebody came or went."""
        session: ChatSession | None = self._session
        if session is not None:
            session.wake()

    def close(self) -> None:
        """Take nothing more; what waits is given up."""
        with self._there:
            self._open = False
            waiting = [job for line in self._lines.values() for job in line]
            self._lines.clear()
            self._there.notify()
        for job in [*waiting, *self._playing]:
            job.ticket.leave()
        self.wake()
        self._thread.join(timeout=10)

    def _work(self) -> None:
        while (first := self._next(wait=True)) is not None:
            try:
                jobs, session = chain([first], self._others()), self._begun()
                played = run_jobs(
                    jobs,
                    self.model,
                    in_flight=self._places,
                    on_step=self._step,
                    session=session,
                    ahead=False,  # requests bring open pictures
                )
                for outcome in played:
                    asked: Asked = outcome.job  # type: ignore[assignment]
                    self._playing.discard(asked)
                    # The job's, not what holds the outcome: a cycle would keep the pictures until a full collection.
                    _settle(asked.ended, replace(outcome, job=asked.job))
            except Exception as error:  # a model that is gone, or a bug of ours: told to all that were in flight
                self._session = None
                if not isinstance(error, ArmliteError):
                    traceback.print_exc(file=sys.stderr)
                lost, self._playing = self._playing, set()
                for asked in lost:
                    _settle(asked.ended, error)

    def _begun(self) -> ChatSession:
        if self._session is None:
            self._session = self.model.session()
            if hasattr(self._session, "keeps_tokens"):
                self._session.keeps_tokens = False  # it may go on for weeks
        return self._session

    def _others(self) -> Iterator[Asked | None]:
        while True:
            yield self._next(wait=False)

    def _next(self, wait: bool) -> Asked | None:
        """The next job of the request whose turn it is; None where there is none yet, or never again."""
        with self._there:
            while True:
                while self._lines:
                    ticket, line = next(iter(self._lines.items()))
                    del self._lines[ticket]
                    job = line.popleft()
                    if line and ticket.wanted:
                        self._lines[ticket] = line
                    if ticket.wanted:
                        self._playing.add(job)
                        return job
                if not wait or not self._open:
                    return None
                self._there.wait()

    def _step(self, episode: Episode, step: Step) -> None:
        for asked in self._playing:
            if asked.on_step is not None and asked.opened and asked.opened[0] is episode:
                asked.on_step(episode, step)


def _settle(ended: "Future[Any]", result: Outcome | Exception) -> None:
    try:
        if isinstance(result, Exception):
            ended.set_exception(result)
        else:
            ended.set_result(result)
    except InvalidStateError:  # the client has left
        return


class Engines:
    """An engine for each temperature that is asked for: greedy judgments, and votes of a greedy judge.

    Args:
        places: judgments in flight at once, of each.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self.turn = threading.Lock()
        """Of the request that works beside the engine: if more did, they would take its turns at the interpreter."""
        self._engines: dict[Any, Engine] = {}
        self._lock = threading.Lock()

    def of(self, model: ChatModel) -> Engine:
        """The engine of a model at its temperature, made when it is first asked for."""
        temperature = getattr(getattr(model, "sampling", None), "temperature", None)
        with self._lock:
            if temperature not in self._engines:
                self._engines[temperature] = Engine(model, self._places)
            return self._engines[temperature]

    @property
    def in_flight(self) -> int:
        return sum(engine.in_flight for engine in list(self._engines.values()))

    @property
    def waiting(self) -> int:
        return sum(engine.waiting for engine in list(self._engines.values()))

    def close(self) -> None:
        for engine in list(self._engines.values()):
            engine.close()


class ServedJudge(Judge):
    """A judge for one request: its judgments are played by the engine, beside those of others.

    Args:
        judge: the server's.
        engines: that play.
        ticket: of the request.
    """

    def __init__(self, judge: Judge, engines: Engines, ticket: Ticket):
        super().__init__(judge.model, judge.settings)
        self.calibration = judge.calibration  # read from its file once
        self._engines, self._ticket = engines, ticket

    def play(self, jobs: Sequence[Job], on_step: OnStep | None = None) -> list[Outcome]:
        """Outcomes of jobs of other kinds than a Judge makes, in their order; raises as `judge_many`."""
        return list(self._run(jobs, self.model, on_step, None))

    def _run(
        self, jobs: Sequence[Job], model: ChatModel, on_step: OnStep | None, on_text: OnText | None
    ) -> Iterable[Outcome]:
        """Outcomes in the order of the jobs; `on_text` is not told, for no route asks for it.

        Raises:
            ArmliteError: the model cannot be asked at all, or a setting is wrong.
            GivenUp: the client has left meanwhile, or the server stops.
        """
        asked = [Asked(job.task, job.settings, job=job, ticket=self._ticket, on_step=on_step) for job in jobs]
        self._engines.of(model).ask(asked)
        for own in asked:
            self._engines.turn.release()
            try:
                outcome = own.ended.result()
            except CancelledError as error:
                raise GivenUp from error
            finally:
                self._engines.turn.acquire()
            yield outcome
