"""The rules of a judge: what it was trained to see and say, in a file that goes where its weights go.

A judge that learnt with small pictures, short texts and two calls judges badly with others, and a server knows nothing
of that. A run directory has the rules in its recipe; a model folder carries them as `armlite_rules.yaml`, which
`armlite export` and training write.
"""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError
from armlite.hub import fetch_file
from armlite.imports import list_imports
from armlite.pocket.shipped import folder_of
from armlite.recipe import Recipe, saved_recipe
from armlite.settings import read_yaml, validated
from armlite.store import write_atomic

FILE = "armlite_rules.yaml"
"""What a model folder carries."""


HEAD = "# What this judge was trained to see and say. armlite reads it here, and by --rules FOLDER where it is served."


class Rules(BaseModel):
    """What a judge has to be given to judge as it was trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    episode: EpisodeSettings = EpisodeSettings()
    max_new_tokens: int = Field(default=2048, ge=1)
    """Tokens of a turn."""
    max_context: int = Field(default=16384, ge=2)
    """Tokens of a conversation; a server has its own."""


def rules_of(recipe: Recipe) -> Rules:
    """The rules that a recipe trains with."""
    evaluation = recipe.evaluation
    return Rules(episode=recipe.episode, max_new_tokens=evaluation.max_new_tokens, max_context=evaluation.max_context)


def read_rules(place: str | Path) -> Rules:
    """The rules of a run directory, a checkpoint, a model folder that carries them, or in a file: of rules or a recipe.

    Raises:
        ArmliteError: there are none, or they cannot be read.
    """
    path = folder_of(place)
    if (recipe := run_recipe(path)) is not None:
        return rules_of(recipe)
    file = path / FILE if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise ArmliteError(f"{place} has no rules: neither recipe.yaml of a run nor {FILE} is in it")
    raw = read_yaml("file of rules", file)
    if "stages" in raw:
        return rules_of(saved_recipe(file))
    return validated(Rules, raw, f"rules {file}")


def carries_rules(place: str | Path) -> bool:
    """Whether a folder on this disk is a run, a checkpoint of one, or a model folder with rules."""
    folder = folder_of(place)
    return run_of(folder) is not None or (folder / FILE).is_file()


def hub_rules(name: str) -> Rules | None:
    """The rules that a model on the hub carries; None where it has none, or the hub is out of reach (then warns)."""
    file = fetch_file(name, FILE)
    return read_rules(file) if file is not None else None


def write_rules(folder: Path, rules: Rules) -> None:
    """Let a model folder carry its rules.

    Raises:
        ArmliteError: it cannot be written to.
    """
    text = yaml.safe_dump(rules.model_dump(mode="json"), sort_keys=False)
    write_atomic(folder / FILE, f"{HEAD}\n{text}")


def run_recipe(model: str | Path) -> Recipe | None:
    """The recipe of the run directory that a model is, or is a checkpoint of; None for any other model.

    Its imports are told on stderr and not run: who made the run need not be who judges with it.

    Raises:
        ArmliteError: it cannot be read.
    """
    run = run_of(Path(model).expanduser())
    if run is None:
        return None
    recipe = saved_recipe(run / "recipe.yaml")
    list_imports(recipe.imports)
    return recipe


def run_of(folder: Path) -> Path | None:
    """The run directory that a folder is, or is a checkpoint of."""
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    return run if (run / "recipe.yaml").is_file() else None
