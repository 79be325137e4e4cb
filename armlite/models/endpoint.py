"""What a user says of an endpoint: `openai:MODEL@URL`, and `--endpoint KEY=VALUE`. Nothing is asked here.

An address may hold a password or a key (`https://me:word@host/v1?api-key=..`); what is printed holds neither.
"""

import json
import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from armlite.errors import ArmliteError

DEFAULT_URL = "https://api.openai.com/v1"
OPTIONS: dict[str, type] = {"api_key": str, "timeout": float, "retries": int, "patience": float, "tool_role": str}
"""Keys of `--endpoint` that are options of `OpenAIModel`; `header.NAME` is a header, any other a field of requests."""


_HOST = r"localhost|\[[0-9a-fA-F:]+\]|[\w.-]+\.[A-Za-z]{2,}|\d+(?:\.\d+){3}|[\w.-]+(?=[:/])"
_ADDRESS = re.compile(rf"@((?:{_HOST})(?:[:/].*)?)$")
"""What looks like a host behind a model's name. A version, as in `model@20250514` or `model@001`, does not."""


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
    if not at and (address := _ADDRESS.search(model)):
        raise ArmliteError(
            f"{shown(spec)!r} names an address without its scheme: write openai:{model[: address.start()]}@http://"
            f"{address[1]} (or https://); without one it would be asked of {shown(url)}"
        )
    if not model or "://" in model:
        raise ArmliteError(f"model {shown(spec)!r} names no model: write openai:MODEL@http://host:port/v1")
    return model, checked_url(url)


def checked_url(url: str) -> str:
    """An address up to and with `/v1`, with its query string.

    Raises:
        ArmliteError: it is not one of http.
    """
    base, mark, query = url.strip().partition("?")
    base = base.rstrip("/").removesuffix("/chat/completions")
    try:
        parts = urlsplit(base)
        fine = parts.scheme in ("http", "https") and bool(re.fullmatch(r"[\w.:-]+", parts.hostname or ""))
        fine = fine and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise ArmliteError(f"address {shown(url)!r} is not one: write http://host:port/v1")
    return f"{base}{mark}{query}"


def shown(text: str) -> str:
    """A word for a model, or an address, without what must not be printed: a password, and the query string."""
    return re.sub(r"(?<=//)[^/@]*@|\?.*", "", text) if "//" in text else text


def place_free(spec: str) -> str:
    """A word for a model without its address: where a server stands decides nothing, and may change."""
    return spec.partition("@http")[0]


def endpoint_options(words: Iterable[str]) -> dict[str, Any]:
    """Options of `OpenAIModel` from words such as `max_completion_tokens=2048`, `stop=null`, `header.api-key=env:KEY`.

    A value is JSON if it can be read as such, else a text. `env:NAME` takes it from the environment: what is on a
    command line can be seen by others.

    Raises:
        ArmliteError: a word is of another form, a variable is not set, or an option's value is of another kind.
    """
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    headers: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise ArmliteError(f"--endpoint {word!r} is not of the form KEY=VALUE, for example timeout=60 or stop=null")
        key, value = key.strip(), _value(key, text)
        if key.startswith("header."):
            headers[key.removeprefix("header.")] = value if isinstance(value, str) else text
        elif key in OPTIONS:
            options[key] = _option(key, value if isinstance(value, str) else text)
        else:
            extra[key] = value
    return options | ({"extra": extra} if extra else {}) | ({"headers": headers} if headers else {})


def _value(key: str, text: str) -> Any:
    if text.startswith("env:"):
        return _variable(key, text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _variable(key: str, text: str) -> str:
    name = text.removeprefix("env:")
    if not os.environ.get(name):
        raise ArmliteError(f"--endpoint {key}={text}: the environment variable {name} is not set")
    return os.environ[name].strip()


def _option(key: str, value: Any) -> Any:
    try:
        return OPTIONS[key](value)
    except (TypeError, ValueError) as error:
        raise ArmliteError(f"--endpoint {key}={value!r} must be a number") from error
