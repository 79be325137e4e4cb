"""Rows of a published set straight from the Hugging Face hub, for those who have a network and no local copy.

Images stay encoded as published. What a folder holds is read by `armlite.data.files`, which calls this.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.pictures import Pictures
from armlite.data.row import Row
from armlite.errors import ArmliteError
from armlite.remote import open_client


def stream(dataset: DataSet, pictures: Pictures) -> Iterator[Row]:
    """Rows as they arrive, from the first of the set's repositories that answers.

    Raises:
        ArmliteError: none answers, the set is on no hub, or the connection broke; says to give --path.
    """

    def open_rows(hub: str, revision: str | None) -> tuple[str, Iterator[dict[str, Any]], dict[str, Any] | None]:
        from datasets import load_dataset

        found = load_dataset(hub, dataset.config, split=dataset.split, revision=revision, streaming=True)
        rows = iter(found.decode(False))
        return hub, rows, next(rows, None)

    hub, rows, values = _first_that_answers(dataset, open_rows)
    number = 0
    while values is not None:
        number += 1
        yield Row(dataset.name, Path(hub), number, values, pictures)
        try:
            values = next(rows, None)
        except _failures() as error:
            raise ArmliteError(f"{dataset.name}: row {number + 1} of {hub} did not arrive: {_said(error)}") from error


def revision_of(hub: str) -> str | None:
    """The commit that a set on the hub is at now; None of a local folder, and without a network.

    Raises:
        ArmliteError: there is no such set, it is gated, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE or Path(hub).is_dir():
        return None
    _reach(hub)
    try:
        return HfApi().dataset_info(hub).sha
    except _failures() as error:
        raise ArmliteError(f"cannot get {hub}: {_said(error)}") from error


def download(dataset: DataSet) -> Path:
    """Folder with a copy of the set's repository, in the hub's cache: for sets whose rows name files beside them.

    Raises:
        ArmliteError: as `stream`.
    """
    from huggingface_hub import snapshot_download

    def fetch(hub: str, revision: str | None) -> Path:
        return Path(snapshot_download(hub, repo_type="dataset", revision=revision))

    return _first_that_answers(dataset, fetch)


def _first_that_answers(dataset: DataSet, fetch: Any) -> Any:
    """Try the set's own repository at its pinned revision, then the mirrors at whatever they hold now."""
    if dataset.hub is None:
        raise ArmliteError(f"{dataset.name} is on no hub that is known; give its folder with --path")
    if not Path(dataset.hub).is_dir():
        _reach(dataset.name)
    places = [(dataset.hub, dataset.revision), *((mirror, None) for mirror in dataset.mirrors)]
    said = []
    for hub, revision in places:
        try:
            return fetch(hub, revision)
        except _failures() as error:
            said.append(f"{hub}: {_said(error)}")
    raise ArmliteError(f"cannot get {dataset.name} ({'; '.join(said)}); give a local folder with --path")


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
            f"cannot get {name}: {constants.ENDPOINT} is out of reach ({_said(error)}); give a local folder with "
            "--path, or set HF_HUB_OFFLINE=1 to use what was downloaded before"
        ) from error


def _failures() -> tuple[type[Exception], ...]:
    """What a missing network, repository, split or configuration raises."""
    import httpx

    return OSError, ValueError, httpx.HTTPError


def _said(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError

    if isinstance(error, GatedRepoError) or isinstance(error.__cause__, GatedRepoError):
        return "it is gated: ask for access on its page there, then hf auth login"
    return " ".join(str(error).split())[:160] or type(error).__name__
