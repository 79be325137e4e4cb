"""A judge behind any OpenAI-compatible chat-completions endpoint (vLLM, SGLang, llama.cpp, a hosted service).

The model reads and writes our wire format as plain text: tools stand in the system message and calls in the text, as
ARM-Thinker checkpoints were trained, so the server needs no tool support. It samples nothing itself and trains nothing.
A fault of one request ends at most its own episode; what only the user can mend is an `ArmliteError` at first contact,
and so is a server that is gone.
"""

import json
import os
import random
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from armlite.errors import ArmliteError, nearest
from armlite.loop import Reply
from armlite.models.completion import STOP, read_reply, turn_seed
from armlite.models.endpoint import DEFAULT_URL, checked_url, shown
from armlite.models.openai_session import OpenAISession
from armlite.models.pictures import data_url
from armlite.models.refusal import FIELDS, Complaint, complaint_of, line
from armlite.models.streaming import Assembly
from armlite.protocol.render import Conversation, Message, system_text
from armlite.remote import PROXIES, open_client, told_environment

if TYPE_CHECKING:
    import httpx

BUDGETS = ("max_tokens", "max_completion_tokens")
LONGEST_PAUSE = 60.0
"""Seconds between two tries, unless the server asks for more."""
SLOW_TRIES = 2
"""Tries of a request that gets no reply in time: what was too slow once is hardly faster the second time."""
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
OnPiece = Callable[[str], None]
"""Takes a piece of a turn's text as it is written."""
INSTEAD = {
    "max_tokens": "max_completion_tokens is sent instead",
    "system": "its text is put before the first question",
    "logprobs": "the probability of a verdict is not known, only that of votes",
    "top_logprobs": "the probability of a verdict is not known, only that of votes",
    "stop": "it is left out, and turns are cut behind their call here",
}
"""Field (`system`: the role) that a server refuses -> what is done then."""


@dataclass(frozen=True)
class _Again:
    """A request that is worth repeating."""

    why: str
    kind: Literal["fault", "gone", "slow", "busy", "changed"] = "fault"
    """`gone`: nobody answered; `slow`: not in time; `busy`: the server asks for patience; `changed`: at once, for what
    was refused has been left out."""
    after: float = 0.0
    """Seconds that the server asked us to wait."""
    room: int = 0
    """Tokens that a turn may have behind this prompt, where that is less than its budget."""


class OpenAIModel:
    """A ChatModel that asks an endpoint. What a server refuses of a request's optional fields is left out, and said.

    Args:
        model: name of the model as the server knows it.
        base_url: address up to and with `/v1`, perhaps with a query string; else OPENAI_BASE_URL, else OpenAI's own.
        api_key: else OPENAI_API_KEY, else none is sent. Never logged, never in a record or message.
        headers: further ones of each request; secret like the key.
        workers: requests in flight at once.
        tool_role: role of tool results. `user` wraps them in `<tool_response>` ourselves, since many servers refuse a
            tool message without a tool_call_id; Qwen's template writes the same text for either.
        temperature: 0 is greedy.
        top_p: nucleus.
        max_tokens: budget of one turn.
        seed: base of the stream of each (task, rollout, turn); None sends no seed.
        top_logprobs: likeliest tokens to ask for in place of each that is written: what the probability of a verdict is
            read from. 0: none.
        extra: further keys of the request body; a value of None takes a key out.
        timeout: seconds that one whole reply may take; a request that takes longer is repeated once.
        retries: repetitions after a fault that may pass.
        backoff: seconds before the first repetition; doubled each time, with jitter.
        patience: seconds that a request may wait altogether because the server says that it is too busy.
        probe: find out before the first turn what the server makes of a request (`armlite.models.probe`).
        ruled: the rules that the model was trained with are known to the caller.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        workers: int = 8,
        tool_role: Literal["user", "tool"] = "user",
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_tokens: int = 2048,
        seed: int | None = 0,
        top_logprobs: int = 0,
        extra: Mapping[str, Any] | None = None,
        timeout: float = 180.0,
        retries: int = 5,
        backoff: float = 1.0,
        patience: float = 900.0,
        probe: bool = True,
        ruled: bool = True,
    ):
        if tool_role not in ("user", "tool"):
            raise ArmliteError(f"tool_role {tool_role!r} must be 'user' or 'tool'")
        if workers < 1:
            raise ArmliteError(f"workers must be at least 1, not {workers}")
        self.model, self.name = model, f"openai:{model}"
        self.url = checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL)
        self.workers, self.in_flight, self.tool_role, self.seed = workers, workers, tool_role, seed
        self.timeout, self.retries, self.backoff, self.patience = timeout, retries, backoff, patience
        self.on_wait: OnPiece | None = None
        """Told why a request waits, and for how long."""
        self._key = (api_key if api_key is not None else os.environ.get("OPENAI_API_KEY", "")).strip()
        if not re.fullmatch(r"[!-~]*", self._key):
            raise ArmliteError("the API key holds blanks or letters that no key has: check OPENAI_API_KEY")
        self._headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._headers |= {"Content-Type": "application/json", **(headers or {})}
        self._secrets = [word for word in (self._key, *(headers or {}).values()) if word]
        self._options = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "stop": [STOP]}
        if top_logprobs:
            self._options |= {"logprobs": True, "top_logprobs": top_logprobs}
        self._extra = dict(extra or {})
        self._left_out: set[str] = set()
        """Fields that the server refuses; `system` is its role."""
        self.ruled, self._probe_first, self._first = ruled, probe, threading.Lock()
        self._http: httpx.Client | None = None
        self._reached = False
        self._worked = False
        self._failed = 0
        """Requests in a row that ended without a reply."""
        self._said: set[str] = set()
        self._saying = threading.Lock()

    def session(self) -> OpenAISession:
        if self._http is None:
            base, _, query = self.url.partition("?")
            self._http = open_client(
                base_url=base,
                params=query,
                # Reading the certificates takes longer than a local judgment may; http has no use for them.
                verify=self.url.startswith("https:"),
                headers=self._headers,
                timeout=(self.timeout, min(self.timeout, 20.0)),
                kept_connections=self.workers,
            )
        return OpenAISession(self)

    def wire(self, message: Message) -> dict[str, Any]:
        """A message in the endpoint's form: images first, then text."""
        images = [{"type": "image_url", "image_url": {"url": data_url(i)}} for i in message.images]
        role, before, after = message.role, "", ""
        if role == "tool" and self.tool_role == "user":
            role, before, after = "user", "<tool_response>\n", "\n</tool_response>"
        text = message.text + after
        if not images:
            return {"role": role, "content": before + text}
        # Our template has the images inside of the tool response, so its opening tag is a block of its own.
        opening = [{"type": "text", "text": before}] if before else []
        return {"role": role, "content": [*opening, *images, {"type": "text", "text": text}]}

    def reply(
        self,
        conversation: Conversation,
        messages: list[dict[str, Any]],
        stopped: threading.Event,
        on_text: OnPiece | None = None,
    ) -> Reply:
        """Ask for one turn, repeating what may pass; `stopped` ends the waiting, `on_text` is told what is written.

        Raises:
            ArmliteError: a mistake of the user, while no request has worked yet; the server is gone.
        """
        self._look_first(conversation)
        tries, slow, waited, room = 0, 0, 0.0, 0
        while not isinstance(outcome := self.ask(self.body(conversation, messages, room), on_text), Reply):
            if outcome.kind == "changed":
                room = outcome.room or room
                continue
            if outcome.kind == "busy":
                pause = outcome.after or min(LONGEST_PAUSE, max(self.backoff, waited) * random.uniform(0.7, 1.3))
                waited += pause
                over = waited > self.patience
                if not over:
                    self._say(f"{self._where()} asks for patience ({outcome.why}): waiting, up to {self.patience:g} s")
            else:
                tries, slow = tries + 1, slow + (outcome.kind == "slow")
                pause = max(outcome.after, self.backoff * 2 ** (tries - 1) * random.uniform(0.5, 1.0))
                over = tries > self.retries or slow >= SLOW_TRIES or outcome.after > self.patience
            if self.on_wait is not None and not over:
                which = f", {tries} of {self.retries}" if outcome.kind != "busy" else ""
                self.on_wait(f"{outcome.why}: again in {pause:.0f} s{which}")
            if over or stopped.wait(min(pause, max(LONGEST_PAUSE, outcome.after))):
                return self._given_up(outcome, tries, waited, stopped.is_set())
        self._failed = 0
        return outcome

    def _given_up(self, outcome: _Again, tries: int, waited: float, stopped: bool) -> Reply:
        """The end of a request that never got its reply.

        Raises:
            ArmliteError: none did any more: the server is gone.
        """
        said = f" (tried {tries} times)" if tries > 1 else f" (waited {waited:.0f} s)" if waited else ""
        self._failed += 1
        many = self._failed >= (self.workers if outcome.kind == "gone" else 2 * self.workers + 1)
        if many and not stopped and self._reached:
            raise ArmliteError(
                f"{self._where()} does not answer any more: the last {self._failed} requests all failed, this one with "
                f"{outcome.why}{said}; what was done before is kept"
            )
        return Reply(f"{self._where()}: {outcome.why}{said}", "error")

    def body(self, conversation: Conversation, messages: list[dict[str, Any]], room: int = 0) -> dict[str, Any]:
        """What is asked of the server for a turn, less what it has refused.

        Args:
            room: the turn's budget, where that is less than the usual one.
        """
        system = {"role": "system", "content": system_text(conversation.tools, conversation.system)}
        if "system" in self._left_out:
            messages = [_with_text(system["content"], messages[0]), *messages[1:]]
        else:
            messages = [system, *messages]
        body = {"model": self.model, "messages": messages, **self._options}
        if self.seed is not None:
            body["seed"] = turn_seed(self.seed, conversation)
        if "max_tokens" in self._left_out:
            body["max_completion_tokens"] = body["max_tokens"]
        body |= self._extra
        body |= {name: room for name in BUDGETS if room and body.get(name)}
        return {k: v for k, v in body.items() if v is not None and k not in self._left_out}

    def ask(self, body: dict[str, Any], on_text: OnPiece | None = None) -> "Reply | _Again":
        """Ask once; the reply is streamed where `on_text` is to be told what is written.

        Raises:
            ArmliteError: a mistake of the user, while no request has worked yet.
        """
        import httpx

        assert self._http is not None
        if on_text is not None and "stream" not in self._left_out:
            body |= {key: value for key, value in STREAM.items() if key not in self._left_out}
        try:
            answer = self._post(json.dumps(body).encode(), on_text)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if not self._reached:
                raise self._unreachable(error) from error
            return _Again(f"no connection ({line(error) or 'timed out'})", "gone")
        except httpx.TimeoutException:
            return _Again(f"no reply within {self.timeout:g} s", "slow")
        except (httpx.NetworkError, httpx.ProtocolError, httpx.DecodingError) as error:
            return _Again(f"the connection broke ({line(error) or type(error).__name__})")
        except httpx.HTTPError as error:
            raise ArmliteError(f"cannot ask {self._where()}: {self._hide(line(error))}") from error
        self._reached = True
        return self._read(body, *answer)

    def _post(self, body: bytes, on_text: OnPiece | None = None) -> tuple[int, bytes, Mapping[str, str], str]:
        """Status, content, headers and reason of a response that is there in time as a whole."""
        import httpx

        assert self._http is not None
        end, data = time.monotonic() + self.timeout, bytearray()
        with self._http.stream("POST", "chat/completions", content=body) as response:
            if on_text is not None and "text/event-stream" in response.headers.get("Content-Type", ""):
                assembly = Assembly()
                for text in response.iter_lines():
                    if piece := assembly.feed(text):
                        on_text(piece)
                    if time.monotonic() > end:
                        raise httpx.ReadTimeout("the reply takes too long")
                whole = assembly.whole()
                said = b"" if whole is None else json.dumps(whole).encode()
                return response.status_code, said, response.headers, response.reason_phrase
            for part in response.iter_bytes():
                data += part
                if time.monotonic() > end:
                    raise httpx.ReadTimeout("the reply takes too long")
            return response.status_code, bytes(data), response.headers, response.reason_phrase

    def _read(
        self, body: dict[str, Any], status: int, data: bytes, headers: Mapping[str, str], reason: str
    ) -> "Reply | _Again":
        try:
            value = json.loads(data)
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
        complaint = complaint_of(status, data, headers, reason)
        complaint = replace(complaint, why=self._hide(complaint.why))
        if 0 < complaint.room < max(body.get(name, 0) for name in BUDGETS):
            return _Again(str(complaint), "changed", room=complaint.room)
        if complaint.overflow:
            return Reply(complaint.why, "overflow")
        if complaint.busy:
            return _Again(str(complaint), "busy", complaint.after)
        if self._leave_out(complaint, body):
            return _Again(str(complaint), "changed")
        if complaint.passes:
            return _Again(str(complaint), after=complaint.after)
        problem = "" if self._worked and not complaint.too_many else self._problem(complaint, body)
        if problem:
            raise ArmliteError(f"{self._where()} {problem}")
        return Reply(f"{self._where()}: {complaint}", "error")

    def _leave_out(self, complaint: Complaint, body: dict[str, Any]) -> bool:
        """Leave out what the server has refused of a request that it could do without; False: it has not."""
        optional = [field for field in (*FIELDS, *self._extra) if field in body]
        field = "system" if complaint.no_system else complaint.refused(optional)
        if field is None and complaint.says_nothing and not self._worked and "stop" in body:
            field = "stop"  # `transformers serve` fails at it so
        elif field is None and complaint.says_nothing and not self._worked and "logprobs" in body:
            field = "logprobs"
        if field is None or (field == "system" and body["messages"][0]["role"] != "system"):
            return False
        self._left_out |= {"logprobs", "top_logprobs"} if field in ("logprobs", "top_logprobs") else {field}
        self._say(f"{self._where()} refuses {field} ({complaint.why}): {INSTEAD.get(field, 'it is left out')}")
        return True

    def _problem(self, complaint: Complaint, body: dict[str, Any]) -> str:
        """What the user has to mend after a refusal, or the empty string where it may concern this one request only."""
        status, why = complaint.status, complaint.why
        if complaint.too_many:
            return f"cannot give so many tokens a turn ({why}): say --max-tokens"
        if status == 401:
            return f"refuses the API key ({why}): {'check' if self._key else 'set'} OPENAI_API_KEY"
        if complaint.moderated:
            return ""
        if complaint.no_images:
            return f"takes no pictures with {self.model!r}: {why}"
        if status in (402, 403, 429):
            return f"does not let this API key use {self.model!r}: {why}"
        if status == 404 or complaint.no_model:
            known = self.models()
            if known and self.model not in known:
                names = ", ".join(list(known)[:8]) + (", ..." if len(known) > 8 else "")
                return f"has no model {self.model!r}.{nearest(self.model, known)} It has {names}"
            if complaint.no_model:
                return f"has no model {self.model!r}: {why}"
        if status < 400 or status in (404, 405):
            return f"has no chat completions ({complaint}): is the address right, and does it end in /v1?"
        return ""

    def reach(self) -> None:
        """See that a server answers at the address, and takes the key.

        Raises:
            ArmliteError: it does not.
        """
        import httpx

        self.session()
        assert self._http is not None
        try:
            status = self._http.get("models", timeout=min(self.timeout, 10.0)).status_code
        except httpx.TimeoutException:
            return  # a server that is busy with something else
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if status == 401:
            raise ArmliteError(f"{self._where()} refuses the API key: {'check' if self._key else 'set'} OPENAI_API_KEY")

    def _unreachable(self, error: Exception) -> ArmliteError:
        return ArmliteError(
            f"cannot reach {self._where()} ({self._hide(line(error)) or 'timed out'}): is the server running there?"
            f"{told_environment(PROXIES)}"
        )

    def models(self) -> dict[str, dict[str, Any]]:
        """The server's models by name, with what it says of each; none where it does not say."""
        import httpx

        assert self._http is not None
        try:
            return {str(m["id"]): m for m in self._http.get("models", timeout=10.0).json()["data"]}
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return {}

    def _look_first(self, conversation: Conversation) -> None:
        """The probe, once; whoever comes meanwhile waits for it."""
        from armlite.models.probe import look

        with self._first:
            if self._probe_first:
                for finding in look(self, conversation):
                    self._say(f"{self._where()} {finding}")
                self._probe_first = False

    def _say(self, text: str) -> None:
        """Tell the user, once."""
        about = text.partition(" (")[0]
        with self._saying:
            new = about not in self._said
            self._said.add(about)
        if new:
            warnings.warn(self._hide(text), UserWarning, stacklevel=2)

    def _where(self) -> str:
        return shown(self.url)

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _with_text(text: str, message: dict[str, Any]) -> dict[str, Any]:
    """A message that begins with a text."""
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": f"{text}\n\n{content}"}
    return {**message, "content": [{"type": "text", "text": f"{text}\n\n"}, *content]}
