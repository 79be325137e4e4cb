"""Rows of a published set straight from the Hugging Face hub, for those who have a network and no local copy.

Images stay encoded as published. What a folder holds is read by `armlite.data.files`, which calls this.
"""

import errno
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.pictures import Pictures
from armlite.data.row import Row
from armlite.errors import ArmliteError
from armlite.hub import PAUSES, causes_of, fetch_all, may_pass, patiently, transport_error
from armlite.remote import open_client

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the operating system says of a disk, or of a user's share of it, that is full."""


def stream(dataset: DataSet, pictures: Pictures) -> Iterator[Row]:
    """Rows as they arrive, from the first of the set's repositories that answers.

    All rows are of one commit. Where the connection breaks it goes on with the row that is due, a few times; offline
    (HF_HUB_OFFLINE) the rows are those of the copy in the hub's cache.

    Raises:
        ArmliteError: none answers, the set is on no hub, or no more rows arrive; says to give --path.
    """

    def open_rows(hub: str, revision: str | None) -> Any:
        commit = _commit_of(hub, revision)
        rows = _rows(hub, commit, dataset, 0)
        return hub, commit, rows, next(rows, None)

    hub, commit, rows, values = _first_that_answers(dataset, open_rows)
    number, failures = 0, 0
    while values is not None:
        number, failures = number + 1, 0
        yield Row(dataset.name, Path(hub), number, values, pictures)
        while True:
            try:
                values = next(rows, None)
                break
            except _failures() as error:
                if failures == len(PAUSES) or not may_pass(error):
                    said = _said(error, hub)
                    raise ArmliteError(f"{dataset.name}: row {number + 1} of {hub} did not arrive: {said}") from error
                time.sleep(PAUSES[failures])
                failures += 1
                rows = _rows(hub, commit, dataset, number)


def _commit_of(hub: str, revision: str | None) -> str | None:
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE or Path(hub).is_dir():
        return revision
    return HfApi().dataset_info(hub, revision=revision).sha


def _rows(hub: str, commit: str | None, dataset: DataSet, done: int) -> Iterator[dict[str, Any]]:
    """The rows of one commit but the first `done`."""
    from datasets import load_dataset
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if constants.HF_HUB_OFFLINE and not Path(hub).is_dir():
        hub, commit = str(fetch_all(hub, "dataset", commit)), None
    elif not Path(hub).is_dir():
        # The card says which files are a split. Where it does not come, `datasets` goes on as if there were none.
        try:
            hf_hub_download(hub, "README.md", repo_type="dataset", revision=commit)
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            pass
    found = load_dataset(hub, dataset.config, split=dataset.split, revision=commit, streaming=True).decode(False)
    yield from (found.skip(done) if done else found)


def revision_of(hub: str) -> str | None:
    """The commit that a set on the hub is at now; None of a local folder, and without a network.

    Raises:
        ArmliteError: there is no such set, it is gated, or the hub cannot be reached.
    """
    if not Path(hub).is_dir():
        _reach(hub)
    try:
        return patiently(lambda: _commit_of(hub, None))
    except _failures() as error:
        raise ArmliteError(f"cannot get {hub}: {_said(error, hub)}") from error


def size_of(dataset: DataSet) -> int | None:
    """Bytes of all files of a set's repository; None where nobody can tell now: no network, gated, on no hub."""
    from huggingface_hub import HfApi, constants

    if dataset.hub is None or constants.HF_HUB_OFFLINE:
        return None
    try:
        _reach(dataset.hub)
        info = HfApi().dataset_info(dataset.hub, revision=dataset.revision, files_metadata=True)
    except (ArmliteError, *_failures()):
        return None
    return sum(file.size or 0 for file in info.siblings or ())


def download(dataset: DataSet) -> Path:
    """Folder with a copy of the set's repository, in the hub's cache: for sets whose rows name files beside them.

    Raises:
        ArmliteError: as `stream`.
    """

    def fetch(hub: str, revision: str | None) -> Path:
        return fetch_all(hub, "dataset", revision)

    return _first_that_answers(dataset, fetch)


def _first_that_answers(dataset: DataSet, fetch: Any) -> Any:
    """Try the set's own repository at its pinned revision, then the mirrors at whatever they hold now."""
    from huggingface_hub import constants

    if dataset.hub is None:
        raise ArmliteError(f"{dataset.name} is on no hub that is known; give its folder with --path")
    if not Path(dataset.hub).is_dir():
        _reach(dataset.name)
    places = [(dataset.hub, dataset.revision), *((mirror, None) for mirror in dataset.mirrors)]
    said = []
    for hub, revision in places:
        try:
            return patiently(partial(fetch, hub, revision))
        except _failures() as error:
            if full := next((c for c in causes_of(error) if isinstance(c, OSError) and c.errno in FULL), None):
                raise ArmliteError(
                    f"cannot keep {dataset.name} in the hub's cache, {constants.HF_HUB_CACHE}: {full.strerror}; make "
                    "room, or set HF_HOME to a larger disk: what has arrived is kept, and the same command goes on"
                ) from error
            said.append(f"{hub}: {_said(error, hub)}")
    raise ArmliteError(f"cannot get {dataset.name} ({'; '.join(said)}); give a file, or a local folder with --path")


def _reach(name: str) -> None:
    """Ask the hub once, since its libraries would try again for half a minute where there is no network."""
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return
    try:
        with open_client(timeout=(15, 15)) as client:
            client.head(constants.ENDPOINT)
    except httpx.HTTPError as error:
        raise ArmliteError(
            f"cannot get {name}: {constants.ENDPOINT} is out of reach ({_said(error)}); give a file, "
            "or a local folder with --path, or set HF_HUB_OFFLINE=1 to use what was downloaded before"
        ) from error


def _failures() -> tuple[type[Exception], ...]:
    """What a missing network, repository, split or configuration raises."""
    import httpx

    return OSError, ValueError, httpx.HTTPError, transport_error()


def _said(error: Exception, hub: str = "") -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE and hub and any(isinstance(c, LocalEntryNotFoundError) for c in causes_of(error)):
        return f"it is not in the hub's cache; where there is a network: hf download {hub} --repo-type dataset"
    if any(isinstance(cause, GatedRepoError) for cause in causes_of(error)):
        return f"it is gated: ask for access at {constants.ENDPOINT}/datasets/{hub}, then hf auth login"
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes_of(error)):
        return f"{constants.ENDPOINT} has no data set of that name that you may see; hf auth login shows it who you are"
    return " ".join(str(error).split())[:160] or type(error).__name__
