"""The way out to other machines; and pictures by http(s) URL, for `judge` and `chat`, where a person names them.

What is fetched is limited in size and time, and a redirect may not lead into a private network. Tasks in files hold no
URLs.
"""

import ipaddress
import os
import re
import socket
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from PIL import Image

from armlite.errors import ArmliteError, InputError
from armlite.images import decode_image

if TYPE_CHECKING:
    import httpx

PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
ENVIRONMENT = (*PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables, in capitals or not, that httpx reads."""
MAX_BYTES = 50 << 20
MAX_SECONDS = 30.0
"""From asking to the last byte, redirects included."""
MAX_REDIRECTS = 5


def open_client(*, timeout: tuple[float, float], kept_connections: int = 20, **options: Any) -> "httpx.Client":
    """An httpx client in the environment's proxies and certificates.

    Args:
        timeout: seconds without a byte, and until there is a connection.
        kept_connections: that stay open between requests; there is no limit to those in use.
        options: of `httpx.Client`.

    Raises:
        ArmliteError: the environment names a proxy or a file of certificates that cannot be used.
    """
    import httpx

    try:
        return httpx.Client(
            timeout=httpx.Timeout(timeout[0], connect=timeout[1], pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=kept_connections),
            **options,
        )
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        raise ArmliteError(f"cannot ask other machines: {_environment(error)}") from error


def _environment(error: BaseException) -> str:
    """What httpx could not use of the environment, and where that stands."""
    why = "the file of certificates is not there or holds none" if isinstance(error, OSError) else str(error)
    if isinstance(error, ImportError):
        why = "a socks proxy needs `pip install socksio`"
    why = re.sub(r"//[^/@\s]*@", "//", " ".join(why.split()))
    return f"{why}{told_environment()}"


def told_environment(names: Iterable[str] = ENVIRONMENT) -> str:
    """Which variables change the way to other machines, as the end of a sentence; nothing where none is set."""
    names = [name for name in names if os.environ.get(name) or os.environ.get(name.lower())]
    return f" (set in the environment: {', '.join(names)})" if names else ""


def is_url(source: object) -> bool:
    """Whether an image is named by an http(s) URL."""
    return isinstance(source, str) and re.match(r"https?://", source, re.IGNORECASE) is not None


def refuse_urls(sources: Iterable[str]) -> None:
    """What `--offline` means.

    Raises:
        ArmliteError: an image is named by a URL.
    """
    for source in sources:
        if is_url(source):
            raise ArmliteError(f"image {source} is on the web, which --offline rules out: give a file, or leave it out")


def fetch_image(url: str) -> Image.Image:
    """The picture at an http(s) URL, as `armlite.images.open_image` gives it.

    Raises:
        InputError: it cannot be fetched, is too large or too slow, redirects to a private address, or is no picture.
    """
    import httpx

    start, place = time.monotonic(), url
    try:
        with open_client(timeout=(MAX_SECONDS, MAX_SECONDS), headers={"User-Agent": "armlite"}) as client:
            for _ in range(MAX_REDIRECTS + 1):
                with client.stream("GET", place) as response:
                    if response.has_redirect_location:
                        place = str(response.url.join(response.headers["location"]))
                        _check_public(url, place)
                        continue
                    if response.status_code != 200:
                        raise InputError(f"image {url} cannot be fetched: the server says {response.status_code}")
                    return decode_image(_body(url, response, start), f"image {url}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InputError(f"image {url} cannot be fetched: {error or type(error).__name__}") from error
    raise InputError(f"image {url} cannot be fetched: it redirects more than {MAX_REDIRECTS} times")


def _body(url: str, response: "httpx.Response", start: float) -> bytes:
    data = bytearray()
    for part in response.iter_bytes():
        data += part
        if len(data) > MAX_BYTES:
            raise InputError(f"image {url} is too large: the most is {MAX_BYTES >> 20} MiB; save a smaller copy")
        if time.monotonic() - start > MAX_SECONDS:
            raise InputError(f"image {url} takes longer than {MAX_SECONDS:g} seconds; save it and give the file")
    return bytes(data)


def _check_public(url: str, place: str) -> None:
    """A page elsewhere must not be able to make us look into the network that we are in."""
    parts = urlsplit(place)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or parts.scheme) if is_url(place) else []
    except (OSError, ValueError):
        found = []
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(address.is_global for address in addresses):
        raise InputError(f"image {url} cannot be fetched: it redirects to {place}, which is no public address")
