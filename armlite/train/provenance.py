"""What a run was made with: versions, machine and revision, for `environment.json`."""

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
