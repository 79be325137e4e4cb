"""The Hugging Face hub's faults: which of them may pass, and asking again after these.

Its own client asks again for files; what it knows of a repository it asks for once. Sets are read by
`armlite.data.hub`, models fetched by `armlite.models.loading`, judges pushed by `armlite.train.push`.
"""

import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

Answer = TypeVar("Answer")
PAUSES = (1, 2, 4, 8)
"""Seconds between tries after a fault that may pass."""


def patiently(ask: Callable[[], Answer], answered: bool = False) -> Answer:
    """Ask, and again after faults that may pass.

    Args:
        answered: only after those that the hub itself tells of: without a network nobody wants to wait.

    Raises:
        Exception: what `ask` raised last.
    """
    for pause in PAUSES:
        try:
            return ask()
        except Exception as error:
            if not (is_hub_s_own(error) if answered else may_pass(error)):
                raise
            time.sleep(pause)
    return ask()


def fetch_all(name: str, kind: str, revision: str | None = None, patterns: Sequence[str] | None = None) -> Path:
    """All files of a repository, at one commit, in the hub's cache; offline what is there.

    The hub's client calls a cached folder whole, however few files are in it, where it gets no list of them.

    Args:
        kind: `model` or `dataset`.
        patterns: only files that match one.

    Raises:
        Exception: the hub's client's, or ConnectionError of a file that did not arrive.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.utils import filter_repo_objects

    allowed = list(patterns) if patterns else None
    if constants.HF_HUB_OFFLINE:
        return Path(snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=allowed))
    info: Any = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=10)
    told = (file.rfilename for file in info.siblings or ())
    # By the branch's name: a folder that was asked for by its commit is not found offline without it.
    folder = Path(snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=allowed))
    if folder.name != info.sha:
        raise ConnectionError(f"{name} changed, or its newest commit did not arrive")
    missing = [file for file in filter_repo_objects(told, allow_patterns=allowed) if not (folder / file).is_file()]
    if missing:
        raise ConnectionError(f"{missing[0]} did not arrive")
    return folder


def is_hub_id(name: str) -> bool:
    """Whether a word is OWNER/NAME, and nothing on this disk."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name)) and not Path(name).exists()


def fetch_file(name: str, file: str) -> Path | None:
    """One file of a model on the hub, in the hub's cache; None where the model has none, or is not to be had.

    Where the hub does not answer and it is not known whether there is one, a warning says so.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    known = try_to_load_from_cache(name, file)
    if isinstance(known, str):
        return Path(known)
    if known is not None:  # the hub has said before that there is none
        return None

    def ask() -> str:
        try:
            get_hf_file_metadata(hf_hub_url(name, file))  # once: the download asks for 23 s where there is no network
        except HfHubHTTPError:
            pass  # the download tells it better, and keeps that there is no such file
        except (transport_error(), OfflineModeIsEnabled) as error:
            raise LocalEntryNotFoundError(str(error)) from error
        return hf_hub_download(name, file)

    try:
        return Path(patiently(ask, answered=True))
    except LocalEntryNotFoundError as error:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            warnings.warn(
                f"whether {name} has a {file} is not known, as the hub is out of reach: {error}", stacklevel=2
            )
        return None
    except (EntryNotFoundError, HfHubHTTPError):
        return None


def may_pass(error: BaseException) -> bool:
    """Whether a fault is the connection's or the hub's own, and not an answer to what was asked."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    causes = list(causes_of(error))
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes):
        return False
    if any(_status(cause) for cause in causes):
        return is_hub_s_own(error)
    return any(isinstance(cause, (transport_error(), ConnectionError, TimeoutError)) for cause in causes)


def is_hub_s_own(error: BaseException) -> bool:
    """Whether the hub says that it is busy or broken."""
    status = next(filter(None, map(_status, causes_of(error))), 0)
    return status in (408, 429) or status >= 500


def _status(error: BaseException) -> int:
    from huggingface_hub.errors import HfHubHTTPError

    return error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else 0


def transport_error() -> type[Exception]:
    """The base of all that the hub's HTTP library raises: httpx or httpx2, by the version of `huggingface_hub`."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError" and "httpx" in kind.__module__)


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__
