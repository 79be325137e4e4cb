"""The routes `/v1/chat/completions` and `/v1/models`: OpenAI's shapes, with the tool loop inside.

What is judged is the extra field `task`, as for `/v1/judge`. Without it the messages are asked as they are, so that
the judge prompts of others (grade this, compare these) work: the answer has the form that they ask for.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from armlite.adapters.asked import Asked
from armlite.batch.columns import pictures_in, text_of
from armlite.errors import first_fault, nearest
from armlite.images import image_key
from armlite.loop import OnStep
from armlite.serve.body import read_body
from armlite.serve.engine import ServedJudge
from armlite.serve.inputs import Inputs
from armlite.serve.judging import TRAJECTORY, header, outside
from armlite.serve.judgments import give_verdict, read_judgment
from armlite.serve.service import ClientLeft, Service
from armlite.serve.settings import Refusal
from armlite.types import Task, Verdict
from armlite.view.text import headline
from armlite.votes import count_votes

KEEP_ALIVE = 15.0
"""Seconds without news after which a stream says that it is still there."""
PIECE = 40
"""Characters of a piece of a stream, at most to the next blank."""
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ChatMessage(BaseModel):
    """One message; fields that other servers know are taken and not read."""

    model_config = ConfigDict(frozen=True)

    role: Role
    content: StrictStr | list[dict[str, Any]] | None = None


class ChatRequest(BaseModel):
    """The fields that are read. Those that say how a model writes (temperature, max_tokens) are the server's to set."""

    model_config = ConfigDict(frozen=True)

    model: StrictStr = ""
    messages: list[ChatMessage] = []
    task: dict[str, Any] | None = None
    stream: StrictBool = False
    stream_options: dict[str, Any] | None = None
    n: StrictInt = Field(default=1, ge=1, le=1)
    response_format: dict[str, Any] | None = None


@dataclass(frozen=True)
class Said:
    """A verdict as a chat model would say it."""

    text: str
    finish: str
    verdict: Verdict
    trajectory: str

    @property
    def usage(self) -> dict[str, int]:
        """Tokens read and written, in all turns of all votes."""
        turns = [step.turn for vote in self.verdict.trajectories for step in vote.steps]
        read, written = sum(turn.prompt_tokens for turn in turns), sum(turn.tokens for turn in turns)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    @property
    def more(self) -> dict[str, Any]:
        """What OpenAI's shapes have no place for."""
        whole = json.loads(self.verdict.model_copy(update={"trajectories": ()}).to_json())
        return {"trajectory": self.trajectory, "verdict": whole}


async def models(service: Service, request: Request) -> Response:
    """The one judge, in the shapes of OpenAI (`data`) and of decision models (`models`)."""
    return JSONResponse({"object": "list", "data": [_model(service)], "models": [_metadata(service)]})


async def model(service: Service, request: Request) -> Response:
    """The judge by its name."""
    check_model(request.path_params["model"], service)
    return JSONResponse(_model(service))


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.settings.name, "object": "model", "created": service.started, "owned_by": "armlite"}


def _metadata(service: Service) -> dict[str, Any]:
    day = time.strftime("%Y-%m-%d", time.gmtime(service.started))
    return {"name": service.settings.name, "description": "A judge that looks before it judges.", "release_date": day}


def check_model(name: str, service: Service) -> None:
    """See that a request means this judge.

    Raises:
        Refusal: it means another model.
    """
    own = service.settings.name
    if name and name != own:
        message = f"there is no model {name[:80]!r}.{nearest(name, [own])} This server has {own!r}"
        raise Refusal(message, 404, "model_not_found")


async def completions(service: Service, request: Request) -> Response:
    """Judge, and say the verdict with its reasons."""
    asked = _read(await read_body(request, service.settings), service)
    steps: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(_: Any, step: Any) -> None:
        call = step.turn.call
        loop.call_soon_threadsafe(steps.put_nowait, "answer" if call is None else call.name)

    work = _work(asked, service, tell if asked.stream else None)
    name = f"chatcmpl-{request.state.id}"
    if asked.stream:
        service.admit()
        pieces = _stream(service, request, asked, work, steps, name)
        first = await anext(pieces)  # a refusal is no stream
        headers = {"cache-control": "no-cache"}
        return StreamingResponse(_from(first, pieces), media_type="text/event-stream", headers=headers)
    said = await service.work(request, work)
    request.state.told = {"trajectory": said.trajectory}
    message = {"role": "assistant", "content": said.text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": said.finish, "logprobs": None}
    body = {"id": name, "object": "chat.completion", "created": int(time.time()), "model": service.settings.name}
    body |= {"choices": [choice], "usage": said.usage, "armlite": said.more}
    return JSONResponse(body, headers={TRAJECTORY: header(said.trajectory)})


def _read(body: Any, service: Service) -> ChatRequest:
    try:
        asked = ChatRequest.model_validate(body)
    except ValidationError as error:
        name, why = first_fault(error, ChatRequest)
        raise Refusal(f"{name}: {why}") from error
    check_model(asked.model, service)
    if not asked.messages and asked.task is None:
        raise Refusal("messages: there is none; send at least one, or a task")
    return asked


def _work(asked: ChatRequest, service: Service, on_step: OnStep | None) -> Callable[[ServedJudge], Said]:
    def work(own: ServedJudge) -> Said:
        with Inputs(service.settings) as inputs:
            if asked.task is not None:
                verdict = outside(give_verdict(read_judgment(asked.task, inputs, "task."), own, on_step=on_step))
                text, finish = _task_words(verdict)
            else:
                verdict = _ask(asked, inputs, own, on_step)
                text, finish = _own_words(verdict, asked.response_format)
            return Said(text, finish, verdict, service.keep(verdict))

    return work


def _ask(asked: ChatRequest, inputs: Inputs, own: ServedJudge, on_step: OnStep | None) -> Verdict:
    """Ask what the messages say as it is."""
    turns = [message.model_dump() for message in asked.messages]
    question = text_of(turns)
    if not question.strip():
        raise Refusal("messages: they hold no text")
    images: list[Image.Image] = inputs.images(pictures_in(turns), "messages.image_url")
    task = Task(id=f"chat-{digest_of(question, images)}", kind="open_qa", question=question)
    job = Asked(task, own.settings, pictures=lambda: images)
    [outcome] = own.play([job], on_step)
    return outside(count_votes("open_qa", [outcome.trajectory], own.calibration))


def digest_of(text: str, images: list[Image.Image]) -> str:
    """A short name of what is asked."""
    return hashlib.sha256("\n".join([text, *map(image_key, images)]).encode()).hexdigest()[:8]


def _task_words(verdict: Verdict) -> tuple[str, str]:
    """The verdict on a task: the reasons, then the verdict as a sentence."""
    reasons = [verdict.rationale] if verdict.rationale else []
    return "\n\n".join([*reasons, headline(verdict)]), _finish(verdict)


def _own_words(verdict: Verdict, form: dict[str, Any] | None) -> tuple[str, str]:
    """What was answered to another's prompt, after the reasons; alone where a form is asked for, as JSON."""
    if verdict.status != "judged":
        return _task_words(verdict)
    answer = verdict.answer or ""
    alone = form is not None and form.get("type") not in (None, "text")
    reasons = [verdict.rationale] if verdict.rationale and not alone else []
    return "\n\n".join([*reasons, answer]), _finish(verdict)


def _finish(verdict: Verdict) -> str:
    return "length" if verdict.status == "budget" else "stop"


async def _stream(
    service: Service,
    request: Request,
    asked: ChatRequest,
    work: Callable[[ServedJudge], Said],
    steps: "asyncio.Queue[str]",
    name: str,
) -> AsyncIterator[str]:
    """Server-sent events: while the judge looks a comment a step, then the words, and the verdict beside the last."""
    working = asyncio.ensure_future(service.work(request, work))
    base = {"id": name, "object": "chat.completion.chunk", "created": int(time.time()), "model": service.settings.name}

    def event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return f"data: {json.dumps({**base, 'choices': [choice], **more})}\n\n"

    try:
        while not working.done():
            step = asyncio.ensure_future(steps.get())
            await asyncio.wait((working, step), timeout=KEEP_ALIVE, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and working.exception() is not None:
                step.cancel()
                break
            yield f": {step.result()}\n\n" if step.done() else ": working\n\n"
            step.cancel()
        said = working.result()
        request.state.told = {"trajectory": said.trajectory}
        yield event({"role": "assistant", "content": ""})
        for piece in _pieces(said.text):
            yield event({"content": piece})
        yield event({}, said.finish, armlite=said.more)
        if (asked.stream_options or {}).get("include_usage"):
            yield f"data: {json.dumps({**base, 'choices': [], 'usage': said.usage})}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        working.cancel()


async def _from(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    """All pieces; an error amid them is one more event, since the status was sent long ago."""
    yield first
    try:
        async for piece in rest:
            yield piece
    except Refusal as refusal:
        yield f"data: {json.dumps(refusal.body)}\n\n"
    except ClientLeft:
        return


def _pieces(text: str) -> list[str]:
    """A text in pieces that end at blanks."""
    pieces, start = [], 0
    while start < len(text):
        end = start + PIECE
        while end < len(text) and not text[end - 1].isspace():
            end += 1
        pieces.append(text[start:end])
        start = end
    return pieces
