"""A request's body: read up to its limit, as JSON that no later step can trip over."""

import json
from typing import Any, NoReturn

from starlette.requests import Request

from armlite.serve.settings import Refusal, ServeSettings

DEPTH = 32
"""Of lists and objects within each other."""


async def read_body(request: Request, settings: ServeSettings) -> Any:
    """The JSON value of a request.

    Raises:
        Refusal: it is none, is too large, or comes in another form.
    """
    form = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if form != "application/json":
        # A page in a browser may send plain text to any address unasked, and JSON only where the server agrees.
        raise Refusal(f"the content type must be application/json, not {form[:60] or 'none'!r}", 415)
    if (packed := request.headers.get("content-encoding", "identity")) != "identity":
        raise Refusal(f"the content encoding must be none, not {packed[:60]!r}", 415)
    most = int(settings.body_mib * 2**20)
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > most:
            raise Refusal(
                f"the request is larger than {settings.body_mib:g} MiB: send smaller pictures, or fewer tasks", 413
            )
    return parse_body(bytes(data))


def parse_body(data: bytes) -> Any:
    """The JSON value of some bytes.

    Raises:
        Refusal: they are no JSON in UTF-8, or hold what no text or number is.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise Refusal(f"the body is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise Refusal(f"the body is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise Refusal("the body holds a number that is too long") from error
    except RecursionError as error:
        raise Refusal(f"the body is nested more than {DEPTH} deep") from error
    _check(value, 0)
    return value


def _no_number(name: str) -> NoReturn:
    raise Refusal(f"the body holds {name}, which is no JSON number")


def _check(value: Any, depth: int) -> None:
    """See that a value is of a modest depth, its texts are Unicode and its numbers finite.

    Raises:
        Refusal: it is not.
    """
    if depth > DEPTH:
        raise Refusal(f"the body is nested more than {DEPTH} deep")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Refusal("the body holds half of a surrogate pair, which is no text") from error
    elif isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise Refusal("the body holds a number that is too large")
    elif isinstance(value, int):
        if abs(value) >= 2**63:
            raise Refusal("the body holds a number that is too large")
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check(name, depth + 1)
            _check(item, depth + 1)
