"""What the routes share: the judge and its engine, the line of requests, the limits, and who has left."""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

from armlite.errors import ArmliteError
from armlite.judge import Judge, save
from armlite.serve.engine import Engines, GivenUp, ServedJudge, Ticket
from armlite.serve.metrics import Metrics
from armlite.serve.settings import Refusal, ServeSettings
from armlite.types import Verdict

Answer = TypeVar("Answer")
AHEAD = 4
"""Requests beyond those in flight whose pictures are opened, so that a place that becomes free is taken at once."""


class Service:
    """A judge that many ask.

    Args:
        judge: whose model is loaded.
        settings: the limits.
    """

    def __init__(self, judge: Judge, settings: ServeSettings):
        self.judge, self.settings = judge, settings
        self.in_flight = settings.workers or judge.model.in_flight
        self.engines, self.started = Engines(self.in_flight), int(time.time())
        self.metrics = Metrics(self.engines, lambda: self._waiting)
        self._places = asyncio.Semaphore(self.in_flight + AHEAD)
        self._threads = ThreadPoolExecutor(self.in_flight + AHEAD, "armlite-request")
        self._waiting = 0
        self._seconds = 1.0
        """What a request took of late, for `Retry-After`."""
        self._writing = threading.Lock()

    def close(self) -> None:
        """Give up what is left; called in the loop's thread. Threads that end now have a loop to tell it to."""
        self.engines.close()
        self._threads.shutdown(cancel_futures=True)

    async def work(self, request: Request, work: Callable[[ServedJudge], Answer]) -> Answer:
        """Do a request's work in a thread, when there is a place for it, for as long as its client waits.

        Args:
            work: is given the judge; all that it judges is played beside what others ask.

        Raises:
            Refusal: too many wait, the time is over, or the judge's model cannot be asked.
            ClientLeft: nobody waits any more.
        """
        self.admit()
        ticket = Ticket()
        working = asyncio.ensure_future(self._when_there_is_a_place(ticket, work))
        try:
            return await self.unless_left(request, working)
        finally:
            ticket.leave()

    def admit(self) -> None:
        """See that the line is not too long.

        Raises:
            Refusal: it is.
        """
        if self._waiting >= self.settings.queue:
            wait = math.ceil(max(1.0, self._seconds * self._waiting / self.in_flight))
            message = f"{self._waiting} requests wait already; come again in {wait} s"
            raise Refusal(message, 429, "rate_limit_error", {"Retry-After": str(wait)})

    async def unless_left(self, request: Request, working: "asyncio.Future[Answer]") -> Answer:
        """What a future gives, unless the client leaves or the time is over before; then it is cancelled."""
        leaving = asyncio.ensure_future(_left(request))
        try:
            first, _ = await asyncio.wait(
                (working, leaving), timeout=self.settings.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if working in first:
                return working.result()
            working.cancel()
            if leaving in first:
                raise ClientLeft
            raise Refusal(f"the time for a request, {self.settings.seconds:g} s, is over; ask for less", 504, "timeout")
        finally:
            leaving.cancel()
            working.cancel()

    async def _when_there_is_a_place(self, ticket: Ticket, work: Callable[[ServedJudge], Answer]) -> Answer:
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        loop = asyncio.get_running_loop()
        start = loop.time()
        running = self._threads.submit(self._in_turn, work, ServedJudge(self.judge, self.engines, ticket))
        running.add_done_callback(lambda _: loop.call_soon_threadsafe(self._places.release))
        try:
            return await asyncio.wrap_future(running)
        except GivenUp as error:  # and not by the client, who would have ended this
            raise Refusal(
                "the server is stopping; come again later", 503, "unavailable", {"Retry-After": "5"}
            ) from error
        except ArmliteError as error:
            raise Refusal(f"the judge's model cannot be asked: {error}", 503, "unavailable") from error
        finally:
            self._seconds += 0.1 * (loop.time() - start - self._seconds)

    def _in_turn(self, work: Callable[[ServedJudge], Answer], judge: ServedJudge) -> Answer:
        with self.engines.turn:
            return work(judge)

    def keep(self, verdict: Verdict) -> str:
        """Count a verdict and keep its trajectories, where that is asked for; returns their id. Called in a thread."""
        self.metrics.judged(verdict)
        if self.settings.save is not None:
            with self._writing:
                save(verdict, self.settings.save)
        vote = verdict.trajectory
        return vote.task.id if vote is not None else ""


class ClientLeft(Exception):
    """Nobody waits for the answer."""


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
