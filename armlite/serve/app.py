"""The HTTP side: routes, keys, errors as OpenAI words them, and a line of log for each request.

A route reads a body, has the service do its work, and answers; nothing is judged here.
"""

import hmac
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TextIO

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from armlite.judge import Judge
from armlite.serve import chat, judging
from armlite.serve.openapi import document
from armlite.serve.service import ClientLeft, Service
from armlite.serve.settings import Refusal, ServeSettings
from armlite.serve.systemone import systemone

Answering = Callable[[Service, Request], Awaitable[Response]]
OPEN = ("/health", "/openapi.json")
"""What needs no key."""
ID = "x-request-id"


async def health(service: Service, request: Request) -> Response:
    """Whether the judge is there, and how busy it is."""
    engines = service.engines
    return JSONResponse({"status": "ok", "in_flight": engines.in_flight, "waiting": engines.waiting})


async def metrics(service: Service, request: Request) -> Response:
    """Counters in Prometheus' text form."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


async def openapi(service: Service, request: Request) -> Response:
    """What there is to ask, for programs."""
    return JSONResponse(document())


ROUTES: tuple[tuple[str, str, Answering], ...] = (
    ("GET", "/health", health),
    ("GET", "/metrics", metrics),
    ("GET", "/openapi.json", openapi),
    ("POST", "/v1/judge", judging.judge),
    ("POST", "/v1/judge/batch", judging.judge_batch),
    ("POST", "/v1/chat/completions", chat.completions),
    ("GET", "/v1/models", chat.models),
    ("GET", "/v1/models/{model:path}", chat.model),
    ("POST", "/v1/systemone", systemone),
)
"""Method, path, and what answers."""


def make_app(judge: Judge, settings: ServeSettings, log: TextIO = sys.stderr) -> ASGIApp:
    """The application of a judge whose model is loaded.

    Args:
        log: where a line goes for each request, without contents.
    """
    service = Service(judge, settings)

    @asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    routes = [Route(path, partial(_answer, service, answering), methods=[method]) for method, path, answering in ROUTES]
    handlers: Any = {Refusal: _refused, HTTPException: _not_found, ClientLeft: _left, Exception: _bug}
    app = Starlette(routes=routes, lifespan=living, exception_handlers=handlers)
    return Logged(app, service, log)


async def _answer(service: Service, answering: Answering, request: Request) -> Response:
    path = request.scope["path"]
    request.state.route = next((own for _, own, other in ROUTES if other is answering), path)
    key = service.settings.key
    if key is not None and path not in OPEN:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")
        if not hmac.compare_digest(shown.strip().encode(), key.encode()):
            what = "is not the one of this server" if shown else "is missing"
            message = f"the key {what}: send it as Authorization: Bearer KEY"
            raise Refusal(message, 401, "authentication_error", {"WWW-Authenticate": "Bearer"})
    return await answering(service, request)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse(error.body, error.status, error.headers)


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = ", ".join(path for _, path, _ in ROUTES)
    message = f"there is no such route; there are {known}"
    if error.status_code == 405:
        message = f"this route does not take {request.method}"
    kind = {404: "not_found_error", 405: "method_not_allowed"}.get(error.status_code, "invalid_request_error")
    return JSONResponse(Refusal(message, kind=kind).body, error.status_code, error.headers)


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nginx's number; nobody reads it but the log


async def _bug(request: Request, error: Exception) -> Response:
    """Ours: told in general words here, with its traceback on stderr."""
    return JSONResponse(Refusal("a fault of the server; its log has more", kind="server_error").body, 500)


class Logged:
    """Gives each request an id, and writes a line of JSON about it when it has ended.

    Args:
        app: that answers.
        service: whose metrics count.
        log: where lines go.
    """

    def __init__(self, app: ASGIApp, service: Service, log: TextIO):
        self._app, self._service, self._log = app, service, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, name = time.monotonic(), uuid.uuid4().hex
        state: dict[str, Any] = scope.setdefault("state", {})
        state["id"] = name
        seen = {"status": 500, "sent": 0, "received": 0}

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                message["headers"] = [*message.get("headers", []), (ID.encode(), name.encode())]
            seen["sent"] += len(message.get("body", b""))
            await send(message)

        async def receiving() -> Message:
            message = await receive()
            seen["received"] += len(message.get("body", b""))
            return message

        try:
            await self._app(scope, receiving, sending)
        finally:
            seconds, route = time.monotonic() - start, state.get("route", "other")
            self._service.metrics.answered(route, seen["status"], seconds)
            line = {"time": round(time.time(), 3), "id": name, "method": scope["method"], "route": route, **seen}
            line |= {"seconds": round(seconds, 4)} | state.get("told", {})
            print(json.dumps(line), file=self._log, flush=True)
