"""What `/metrics` says of a server, in Prometheus' text form."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from armlite.serve.engine import Engines
from armlite.types import Verdict

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The counters of one server.

    Args:
        engines: that are asked how much they hold.
        waiting: requests that wait to be begun.
    """

    def __init__(self, engines: Engines, waiting: Any):
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("armlite_requests", "Requests that were answered.", ["route", "status"], **own)
        self._seconds = Histogram(
            "armlite_request_seconds", "From a request to its answer.", ["route"], buckets=SECONDS, **own
        )
        self._tokens = Counter("armlite_tokens", "Tokens read (prompt) and written (completion).", ["kind"], **own)
        self._calls = Counter("armlite_tool_calls", "Tool calls of the judge.", ["tool", "ok"], **own)
        self._verdicts = Counter("armlite_verdicts", "Verdicts by kind and status.", ["kind", "status"], **own)
        Gauge("armlite_requests_waiting", "Requests that wait for a place.", **own).set_function(waiting)
        playing = Gauge("armlite_judgments_in_flight", "Judgments that are played at this moment.", **own)
        playing.set_function(lambda: engines.in_flight)
        queued = Gauge("armlite_judgments_waiting", "Judgments that wait for a place in the batch.", **own)
        queued.set_function(lambda: engines.waiting)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def judged(self, verdict: Verdict) -> None:
        """Count a verdict, and what its votes took."""
        self._verdicts.labels(verdict.kind, verdict.status).inc()
        for vote in verdict.trajectories:
            for step in vote.steps:
                self._tokens.labels("prompt").inc(step.turn.prompt_tokens)
                self._tokens.labels("completion").inc(step.turn.tokens)
            for step in vote.calls:
                assert step.observation is not None
                self._calls.labels(step.observation.tool, str(step.observation.ok).lower()).inc()

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
