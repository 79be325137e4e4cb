"""A judge behind any OpenAI-compatible chat-completions endpoint (vLLM, SGLang, llama.cpp, a hosted service).

The model reads and writes our wire format as plain text: tools stand in the system message and calls in the text, as
ARM-Thinker checkpoints were trained, so the server needs no tool support. It samples nothing itself and trains nothing.
A fault of one request ends at most its own episode; what only the user can mend is an `ArmliteError` at first contact.
"""

import base64
import json
import os
import queue
import random
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from armlite.errors import ArmliteError, cut, nearest
from armlite.images import as_png
from armlite.loop import Reply
from armlite.models.completion import STOP, read_reply, turn_seed
from armlite.protocol.render import Conversation, Message, system_text

if TYPE_CHECKING:
    import httpx
    from PIL import Image

DEFAULT_URL = "https://api.openai.com/v1"
_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|max_model_len|maximum (?:context|model) length|longer than the model"
    r"|context (?:length|size|window)|(?:prompt|input) is too long|exceeds the maximum number of tokens",
    re.IGNORECASE,
)
"""What OpenAI, vLLM, SGLang, llama.cpp and others say, under 400, 413, 422 and 500, when a prompt does not fit."""
_NO_MODEL = re.compile(
    r"model_not_found|model\b.*\b(?:not found|does not exist|not available)", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True)
class _Again:
    """A request that is worth repeating."""

    why: str
    after: float = 0.0
    """Seconds that the server asked us to wait."""


def parse_spec(spec: str) -> tuple[str, str]:
    """Split `openai:MODEL@http://host:port/v1` into the model's name and the address.

    Without an address it is that of the environment variable OPENAI_BASE_URL, else OpenAI's own. The prefix may be
    missing.

    Raises:
        ArmliteError: no model name, or an address that is not http.
    """
    rest = spec.strip().removeprefix("openai:")
    model, at, url = rest.rpartition("@http")
    model, url = (model, "http" + url) if at else (rest, os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL)
    if not model or "://" in model:
        raise ArmliteError(f"model {spec!r} names no model: write openai:MODEL@http://host:port/v1")
    return model, _checked_url(url)


def _checked_url(url: str) -> str:
    url = url.strip().rstrip("/").removesuffix("/chat/completions")
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(re.fullmatch(r"[\w.:-]+", parts.hostname or ""))
        fine = fine and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise ArmliteError(f"address {url!r} is not one: write http://host:port/v1")
    return url


class OpenAIModel:
    """A ChatModel that asks an endpoint.

    Args:
        model: name of the model as the server knows it.
        base_url: address up to and with `/v1`; else OPENAI_BASE_URL, else OpenAI's own.
        api_key: else OPENAI_API_KEY, else none is sent. Never logged, never in a record or message.
        workers: requests in flight at once.
        tool_role: role of tool results. `user` wraps them in `<tool_response>` ourselves, since many servers refuse a
            tool message without a tool_call_id; Qwen's template writes the same text for either.
        temperature: 0 is greedy.
        top_p: nucleus.
        max_tokens: budget of one turn.
        seed: base of the stream of each (task, rollout, turn); None sends no seed.
        extra: further keys of the request body; a value of None takes a key out, for servers that refuse it
            (`{"max_tokens": None, "max_completion_tokens": 2048}`).
        timeout: seconds to wait for one reply.
        retries: repetitions after a fault that may pass.
        backoff: seconds before the first repetition; doubled each time, with jitter.
        max_wait: longest pause in seconds; a server that asks for more gets no repetition.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        workers: int = 8,
        tool_role: Literal["user", "tool"] = "user",
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_tokens: int = 2048,
        seed: int | None = 0,
        extra: Mapping[str, Any] | None = None,
        timeout: float = 600.0,
        retries: int = 5,
        backoff: float = 1.0,
        max_wait: float = 120.0,
    ):
        if tool_role not in ("user", "tool"):
            raise ArmliteError(f"tool_role {tool_role!r} must be 'user' or 'tool'")
        if workers < 1:
            raise ArmliteError(f"workers must be at least 1, not {workers}")
        self.model, self.name = model, f"openai:{model}"
        self.url = _checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL)
        self.workers, self.in_flight, self.tool_role, self.seed = workers, workers, tool_role, seed
        self.timeout, self.retries, self.backoff, self.max_wait = timeout, retries, backoff, max_wait
        self._key = (api_key if api_key is not None else os.environ.get("OPENAI_API_KEY", "")).strip()
        if not re.fullmatch(r"[!-~]*", self._key):
            raise ArmliteError("the API key holds blanks or letters that no key has: check OPENAI_API_KEY")
        self._options = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "stop": [STOP]}
        self._extra = dict(extra or {})
        self._http: httpx.Client | None = None
        self._reached = False
        self._worked = False

    def session(self) -> "OpenAISession":
        import httpx

        if self._http is None:
            self._http = httpx.Client(
                base_url=self.url,
                # Reading the certificates takes longer than a local judgment may; http has no use for them.
                verify=self.url.startswith("https:"),
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, 20.0), pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=self.workers),
            )
        return OpenAISession(self)

    def wire(self, message: Message) -> dict[str, Any]:
        """A message in the endpoint's form: images first, then text."""
        images = [{"type": "image_url", "image_url": {"url": _data_url(i)}} for i in message.images]
        role, before, after = message.role, "", ""
        if role == "tool" and self.tool_role == "user":
            role, before, after = "user", "<tool_response>\n", "\n</tool_response>"
        text = message.text + after
        if not images:
            return {"role": role, "content": before + text}
        # Our template has the images inside of the tool response, so its opening tag is a block of its own.
        opening = [{"type": "text", "text": before}] if before else []
        return {"role": role, "content": [*opening, *images, {"type": "text", "text": text}]}

    def reply(self, conversation: Conversation, messages: list[dict[str, Any]], stopped: threading.Event) -> Reply:
        """Ask for one turn, repeating what may pass; `stopped` ends the waiting.

        Raises:
            ArmliteError: a mistake of the user, while no request has worked yet.
        """
        body = self._body(conversation, messages)
        tries = 0
        while not isinstance(outcome := self._ask(body), Reply):
            tries += 1
            pause = max(outcome.after, self.backoff * 2 ** (tries - 1) * random.uniform(0.5, 1.0))
            if tries > self.retries or outcome.after > self.max_wait or stopped.wait(min(pause, self.max_wait)):
                said = f" (tried {tries} times)" if tries > 1 else ""
                return Reply(f"{self._where()}: {outcome.why}{said}", "error")
        return outcome

    def _body(self, conversation: Conversation, messages: list[dict[str, Any]]) -> bytes:
        system = {"role": "system", "content": system_text(conversation.tools)}
        body = {"model": self.model, "messages": [system, *messages], **self._options}
        if self.seed is not None:
            body["seed"] = turn_seed(self.seed, conversation)
        body |= self._extra
        return json.dumps({k: v for k, v in body.items() if v is not None}).encode()

    def _ask(self, body: bytes) -> "Reply | _Again":
        import httpx

        assert self._http is not None
        try:
            response = self._http.post("chat/completions", content=body, headers={"Content-Type": "application/json"})
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if not self._reached:
                raise ArmliteError(
                    f"cannot reach {self._where()} ({_line(error) or 'timed out'}): is the server running there?"
                ) from error
            return _Again(f"no connection ({_line(error)})")
        except httpx.TimeoutException:
            return _Again(f"no reply within {self.timeout:g} s")
        except (httpx.NetworkError, httpx.ProtocolError, httpx.DecodingError) as error:
            return _Again(f"the connection broke ({_line(error) or type(error).__name__})")
        except httpx.HTTPError as error:
            raise ArmliteError(f"cannot ask {self._where()}: {self._hide(_line(error))}") from error
        self._reached = True
        return self._read(response)

    def _read(self, response: "httpx.Response") -> "Reply | _Again":
        status = response.status_code
        try:
            value = response.json()
        except ValueError:
            value = None
        if status == 200 and value is None:
            return _Again("the reply was cut off")
        if status == 200 and isinstance(value, dict) and value.get("choices"):
            try:
                reply = read_reply(value)
            except (KeyError, TypeError, AttributeError, IndexError):
                return _Again("the reply is not a chat completion")
            self._worked = True
            return reply
        code, why = self._complaint(value, response)
        if status != 429 and _OVERFLOW.search(f"{code} {why}"):
            return Reply(why, "overflow")
        passes = status in (408, 409, 425, 429) or status >= 500
        # An error in a reply of status 200 is a gateway's way to say that its own server failed.
        if status == 200 or (passes and "insufficient_quota" not in code):
            return _Again(f"{status} {why}", _retry_after(response.headers.get("Retry-After", "")))
        problem = "" if self._worked else self._problem(status, code, why)
        if problem:
            raise ArmliteError(f"{self._where()} {problem}")
        return Reply(f"{self._where()}: {status} {why}", "error")

    def _complaint(self, value: Any, response: "httpx.Response") -> tuple[str, str]:
        """(code and type, message) of an error, in any of the shapes that servers use."""
        error = value.get("error", value) if isinstance(value, dict) else value
        if not isinstance(error, dict):
            return "", self._hide(_line(error or response.text or response.reason_phrase))
        why = error.get("message") or error.get("detail") or error
        return f"{error.get('code')} {error.get('type')}", self._hide(_line(why))

    def _problem(self, status: int, code: str, why: str) -> str:
        """What the user has to mend after a refusal, or the empty string where it may concern this one request only."""
        if status == 401:
            return f"refuses the API key ({why}): {'check' if self._key else 'set'} OPENAI_API_KEY"
        if status in (402, 403, 429):
            return f"does not let this API key use {self.model!r}: {why}"
        no_model = _NO_MODEL.search(f"{code} {why}")
        if status == 404 or no_model:
            known = self._models()
            if known and self.model not in known:
                names = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
                return f"has no model {self.model!r}.{nearest(self.model, known)} It has {names}"
            if no_model:
                return f"has no model {self.model!r}: {why}"
        if status < 400 or status in (404, 405):
            return f"has no chat completions ({status} {why}): is the address right, and does it end in /v1?"
        return ""

    def _models(self) -> list[str]:
        """Names of the server's models; none where it does not say."""
        import httpx

        assert self._http is not None
        try:
            return [str(m["id"]) for m in self._http.get("models", timeout=10.0).json()["data"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return []

    def _where(self) -> str:
        """The address without a password in it."""
        return re.sub(r"//[^/@]*@", "//", self.url)

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


class OpenAISession:
    """Conversations in flight with one endpoint: at most `workers` threads, which end when nothing is left to ask."""

    def __init__(self, model: OpenAIModel):
        self._model, self.threads = model, model.workers
        self._lock = threading.Lock()
        self._begun: deque[tuple[int, Conversation]] = deque()
        self._new: deque[tuple[int, Conversation]] = deque()
        self._done: queue.SimpleQueue[tuple[int, Conversation, Reply | BaseException] | None] = queue.SimpleQueue()
        """None: `wait` is to return."""
        self._wired: dict[int, list[dict[str, Any]]] = {}
        self._stopped = threading.Event()
        self._count, self._running = 0, 0

    def submit(self, conversation: Conversation) -> None:
        with self._lock:
            # Going on comes before beginning: few conversations then hold encoded images, and prompt caches stay warm.
            line = self._begun if conversation.turns else self._new
            line.append((self._count, conversation))
            self._count += 1
            if self._running < self._model.workers:
                self._running += 1
                # A daemon, so that Ctrl-C does not wait for the last reply.
                threading.Thread(target=self._work, name="armlite-openai", daemon=True).start()

    def wait(self) -> list[tuple[Conversation, Reply]]:
        try:
            done = [self._done.get()]
            while not self._done.empty():
                done.append(self._done.get())
            replies = []
            for _, conversation, reply in sorted((d for d in done if d is not None), key=lambda d: d[0]):
                if isinstance(reply, BaseException):
                    raise reply
                replies.append((conversation, reply))
            return replies
        except BaseException:
            self._abandon()
            raise

    def wake(self) -> None:
        self._done.put(None)

    def close(self, conversation: Conversation) -> None:
        """Forget a conversation; a turn of it that was asked for and has not begun is not asked."""
        self._wired.pop(id(conversation), None)
        with self._lock:
            for line in (self._begun, self._new):
                for entry in [entry for entry in line if entry[1] is conversation]:
                    line.remove(entry)

    def _abandon(self) -> None:
        """Ask nothing more; requests in flight are left to themselves."""
        self._stopped.set()
        with self._lock:
            self._begun.clear()
            self._new.clear()

    def _work(self) -> None:
        while True:
            with self._lock:
                line = self._begun or self._new
                if not line:
                    self._running -= 1
                    return
                number, conversation = line.popleft()
            try:
                reply = self._model.reply(conversation, self._messages(conversation), self._stopped)
                self._done.put((number, conversation, reply))
            except BaseException as error:
                # Raised again by `wait`, in the thread of the caller.
                self._abandon()
                self._done.put((number, conversation, error))

    def _messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        """The conversation in the endpoint's form; each message is encoded once."""
        wired = self._wired.setdefault(id(conversation), [])
        wired += [self._model.wire(m) for m in conversation.messages[len(wired) :]]
        return wired


def _data_url(image: "Image.Image") -> str:
    return "data:image/png;base64," + base64.b64encode(as_png(image, compress_level=1)).decode()


def _retry_after(value: str) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date; 0 where it holds neither."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _line(value: object) -> str:
    """One line of at most 300 characters."""
    return cut(" ".join(str(value).split()), 300)
