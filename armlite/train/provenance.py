"""What a run was made with (versions, machine, revision: `environment.json`), and what it reads (`inputs.json`)."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.models.lazy import weights_digest
from armlite.recipe import Recipe
from armlite.store import file_digest, read_json

INPUTS = "inputs.json"
"""In a run directory: key of the recipe -> hash of what it names, as it was when the run began."""
PACKAGES = ("armlite", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes")


def environment() -> dict[str, Any]:
    """Versions, machine and git revision of this process."""
    import torch

    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "git": revision.stdout.strip() or None,
    }


def inputs_of(recipe: Recipe) -> dict[str, str]:
    """Key of a recipe -> hash of the files that it names: tasks, traces, a model on this disk, imports.

    Raises:
        ArmliteError: a file of data is not there.
    """
    data = recipe.data
    files = {"data.tasks": data.tasks, "data.traces": data.traces, "data.evaluation": data.evaluation}
    found = {key: file_digest(Path(file)) for key, file in files.items() if file != "pocket"}
    if not recipe.model.pocket and (weights := weights_digest(recipe.model.path)):
        found["model.path"] = weights
    for name in filter(os.path.isfile, recipe.imports):
        found[f"imports: {Path(name).name}"] = file_digest(Path(name))
    return found


def check_inputs(run: Path, found: Mapping[str, str]) -> None:
    """See that a run that goes on reads what it read before; code of the user's own may change, which is told.

    Raises:
        ArmliteError: data or a model have changed.
    """
    for key, before in read_json(run / INPUTS, {}).items():
        if found.get(key, before) == before:  # a model that has gone may not be needed any more
            continue
        if not key.startswith("imports"):
            raise ArmliteError(
                f"the content of {key} has changed since {run} was begun, whose results rest on it: put it back as it "
                "was, or give another --output"
            )
        print(f"{key} has changed since {run} was begun; what is done stays as it is", file=sys.stderr, flush=True)
