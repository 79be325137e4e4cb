"""What a server means by a reply that is no completion: pure functions on its status and words.

The dialects are those of OpenAI, Azure, vLLM, SGLang, llama.cpp, `transformers serve`, LiteLLM and OpenRouter. Whether
it concerns one request or all of them is for `armlite.models.openai` to decide.
"""

import json
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from armlite.errors import cut

_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|max_model_len|maximum (?:context|model) length|longer than the model"
    r"|context (?:length|size|window)|(?:prompt|input) is too long|exceeds the maximum number of tokens",
    re.IGNORECASE,
)
"""Under 400, 413, 422 and 500, when a prompt does not fit."""
_BUDGET = re.compile(
    r"max_(?:completion_|new_)?tokens\b[^.]{0,40}?(?:cannot be greater|is too large|must be (?:less|at most)|exceeds)"
    r"|max_(?:completion_)?tokens`? is too large|(?:maximum|max).{0,20} completion tokens",
    re.IGNORECASE,
)
"""The turn's budget is at fault, whatever else is named."""
_ROOM = (
    re.compile(r"\(\d+ > (?P<context>\d+) - (?P<prompt>\d+)\)"),
    re.compile(
        r"maximum (?:context|model) length (?:is|of) (?P<context>\d+)\b.*?requested \d+ output tokens and your prompt "
        r"contains (?:at least )?(?P<prompt>\d+)"
    ),
    re.compile(
        r"maximum context length is (?P<context>\d+) tokens\. However, you requested \d+ tokens "
        r"\((?P<prompt>\d+) in the messages, \d+ in the completion\)"
    ),
)
"""What vLLM and OpenAI say where prompt and budget together are more than the context."""
_NO_MODEL = re.compile(
    r"model_not_found|invalid model name|not a valid model|no model named"
    r"|model\b.*\b(?:not found|does not exist|not available|not a valid|was not found|is not served)"
    r"|pinned to .*requested",
    re.IGNORECASE | re.DOTALL,
)
_NO_IMAGES = re.compile(
    r"image input is not supported|not a multimodal model|text-only model|at most 0 image|mmproj"
    r"|(?:does not|doesn't|do not|not) support (?:image|vision|multi)|no endpoints found that support image"
    r"|image_url.{0,60}(?:not supported|invalid|unsupported|only supported by certain models)"
    r"|(?:unsupported|unknown|invalid) content.{0,20}(?:type|part).{0,40}image|images? (?:is|are) not supported",
    re.IGNORECASE | re.DOTALL,
)
_MODERATED = re.compile(
    r"content.?(?:filter|policy|management)|moderation|flagged|safety|usage polic|invalid_prompt|responsible.?ai",
    re.IGNORECASE,
)
_NO_SYSTEM = re.compile(
    r"system.{0,20}(?:role|message|prompt)s?.{0,30}(?:not|n't|un)\s?(?:be )?(?:support|allow)"
    r"|only user and assistant roles|(?:support|allow)\w* .{0,30}system role|roles? must alternate"
    r"|developer instruction is not enabled",
    re.IGNORECASE,
)
_UNWANTED = re.compile(
    r"unsupported|un-?recogni[sz]ed|unknown|unexpected|extra (?:inputs|fields)|extra_forbidden|not support"
    r"|not permitted|not allowed|not accept|no longer|deprecated|only the default|cannot both|cannot be used|use '"
    r"|must be strictly|invalid (?:argument|parameter|field)|should not|additional properties",
    re.IGNORECASE,
)
FIELDS = (
    "stream_options",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "temperature",
    "top_p",
    "seed",
    "logprobs",
    "top_logprobs",
)
"""Optional fields of a request that servers are known to refuse."""


@dataclass(frozen=True)
class Complaint:
    """A reply that is no completion."""

    status: int
    why: str
    """The server's own message, in one line."""
    code: str = ""
    """Its code, type and parameter, where it gives them."""
    after: float = 0.0
    """Seconds that the server asks us to wait."""

    def __str__(self) -> str:
        return f"{self.status} {self.why}"

    def _says(self, pattern: re.Pattern[str]) -> bool:
        return pattern.search(f"{self.code} {self.why}") is not None

    @property
    def no_credit(self) -> bool:
        """The key's money is spent: waiting does not help."""
        return "insufficient_quota" in self.code

    @property
    def busy(self) -> bool:
        """The server asks for patience."""
        return self.status == 429 and not self.no_credit

    @property
    def passes(self) -> bool:
        """The same request may work in a moment."""
        if self.no_images or self.overflow or self.too_many or self.moderated:
            return False
        # An error in a reply of status 200 is a gateway's way to say that its own server failed.
        return self.status in (200, 408, 409, 425) or self.status >= 500

    @property
    def overflow(self) -> bool:
        """The prompt does not fit the context."""
        return self.status != 429 and not self.too_many and self._says(_OVERFLOW)

    @property
    def too_many(self) -> bool:
        """The budget of a turn is more than the server can give."""
        return self.status in (400, 422, 500) and self._says(_BUDGET)

    @property
    def room(self) -> int:
        """The budget that would fit behind this prompt, where the server says how long both are; else 0."""
        found = next(filter(None, (pattern.search(self.why) for pattern in _ROOM)), None)
        return max(0, int(found["context"]) - int(found["prompt"])) if found and self.status != 429 else 0

    @property
    def says_nothing(self) -> bool:
        """The server failed without a word of why."""
        return self.status == 500 and self.why.lower() in ("internal server error", "")

    @property
    def no_model(self) -> bool:
        """The server has no model of that name."""
        return self.status in (400, 404, 422, 500) and self._says(_NO_MODEL)

    @property
    def no_images(self) -> bool:
        """The model takes no pictures."""
        return self.status not in (200, 429) and self._says(_NO_IMAGES)

    @property
    def moderated(self) -> bool:
        """The content of this request is refused."""
        return self.status in (400, 403, 422, 451) and self._says(_MODERATED)

    @property
    def no_system(self) -> bool:
        """The model's template has no system role."""
        return self.status in (400, 422, 500) and self._says(_NO_SYSTEM)

    def refused(self, fields: Collection[str]) -> str | None:
        """The field of a request, of those that it could do without, that the server does not take."""
        if self.status not in (400, 422, 500, 501) or self.too_many or not self._says(_UNWANTED):
            return None
        words = f"{self.code} {self.why}"
        named = {f: m.start() for f in fields if (m := re.search(rf"(?<![\w-]){re.escape(f)}(?![\w-])", words))}
        # Of two that cannot be used together, the one that says less.
        if "cannot both" in words and {"temperature", "top_p"} <= set(named):
            return "top_p"
        return min(named, key=lambda field: named[field], default=None)


def complaint_of(status: int, body: bytes, headers: Mapping[str, str], reason: str) -> Complaint:
    """Read an error in any of the shapes that servers use."""
    try:
        value: Any = json.loads(body)
    except ValueError:
        value = None
    after = _retry_after(headers.get("Retry-After", ""))
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return Complaint(status, line(error or body.decode("utf-8", "replace") or reason), "", after)
    why = error.get("message") or error.get("detail") or error
    if isinstance(why, list):
        why = "; ".join(_detail(entry) for entry in why)
    code = " ".join(str(error[key]) for key in ("code", "type", "param") if error.get(key) is not None)
    reasons = (error.get("metadata") or {}).get("reasons") if isinstance(error.get("metadata"), dict) else None
    return Complaint(status, line(why), f"{code} {reasons or ''}".strip(), after)


def _detail(entry: Any) -> str:
    """One complaint of pydantic's, which web frameworks hand on."""
    if not isinstance(entry, dict):
        return str(entry)
    return f"{'.'.join(map(str, entry.get('loc', ())))}: {entry.get('msg')} ({entry.get('type')})"


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


def line(value: object) -> str:
    """One line of at most 300 characters."""
    return cut(" ".join(str(value).split()), 300)
