"""Trackers that transformers' Trainer reports to, where a recipe names some."""

import os
from pathlib import Path

from armlite.errors import ArmliteError
from armlite.recipe import Recipe

LOGS = "TENSORBOARD_LOGGING_DIR"
"""Where transformers has TensorBoard's files written; else they would go with a stage's work files."""


def check_reporting(recipe: Recipe) -> None:
    """See that the trackers of a recipe are there.

    Raises:
        ArmliteError: one is not known, or not installed.
    """
    from transformers.integrations import get_available_reporting_integrations

    known = get_available_reporting_integrations()
    for name in recipe.report_to:
        if name not in known:
            there = f"installed are {', '.join(known)}" if known else "none is installed"
            raise ArmliteError(f"report_to: {name} is not there; {there}")


def reporting(recipe: Recipe, folder: Path) -> list[str] | str:
    """What `report_to` is for a stage that works in a folder of the run directory."""
    logs = folder.parents[1] / "logs"
    if "tensorboard" in recipe.report_to and os.environ.get(LOGS, str(logs)).startswith(str(logs)):
        os.environ[LOGS] = str(logs / folder.name)
    return list(recipe.report_to) or "none"
