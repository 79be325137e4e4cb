"""An exported judge to the Hugging Face hub, by the hub's own client; private unless told otherwise."""

import re
from pathlib import Path

from armlite.errors import ArmliteError, first_line
from armlite.hub import causes_of, patiently, transport_error


def check_push(name: str) -> str:
    """Find out before long work who one is there.

    Returns:
        The user's name.

    Raises:
        ArmliteError: it is no hub id, nobody is logged in, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ArmliteError(f"--push is {name!r}; give a hub id like {name.strip('/').rpartition('/')[2] or 'me'}/judge")
    try:
        return str(patiently(lambda: HfApi().whoami(), answered=True)["name"])
    except LocalTokenNotFoundError as error:
        raise ArmliteError("--push needs to know who you are there: hf auth login, or HF_TOKEN") from error
    except (OSError, transport_error()) as error:
        status = next((c.response.status_code for c in causes_of(error) if isinstance(c, HfHubHTTPError)), None)
        if status in (401, 403):
            raise ArmliteError(
                "--push: the hub does not take your token: hf auth login, or another HF_TOKEN"
            ) from error
        raise ArmliteError(f"--push: the hub cannot be asked who you are: {first_line(error)}") from error


def push(folder: Path, name: str, public: bool = False) -> str:
    """Make a repository where there is none, and put a folder there as one commit.

    Returns:
        The address of its page.

    Raises:
        ArmliteError: it is to be private, but is there already and public; the hub refuses, or the connection breaks
            for good; the folder stays.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        page = patiently(lambda: api.create_repo(name, private=not public, exist_ok=True))
        if not public and not patiently(lambda: api.model_info(name)).private:
            raise ArmliteError(
                f"{name} is there already and public: say --public, or give another id; {folder} is written"
            )
        patiently(lambda: api.upload_folder(repo_id=name, folder_path=folder, commit_message="A judge by armlite"))
    except (OSError, ValueError, transport_error()) as error:
        raise ArmliteError(
            f"{folder} is written, but could not be pushed to {name}: {first_line(error)}; "
            f"hf upload {name} {folder} tries it again"
        ) from error
    return str(page)
