"""YAML files as records: a key that is not known is named with the nearest that is, a wrong value with what is allowed.

Recipes, data recipes, mixes and rules are such files; what is in them stands with each.
"""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from armlite.errors import ArmliteError, fields_of, nearest

Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """Base of all parts of a YAML file: a key that is not known is an error that names the nearest."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_yaml(what: str, path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        what: what the file is called in errors.

    Raises:
        ArmliteError: there is no such file (names the nearest), or no mapping in it.
    """
    if path.is_dir():
        raise ArmliteError(f"{what} {path} is a folder; give a YAML file")
    if not path.is_file():
        near = nearest(path.name, [p.name for p in path.parent.glob("*.yaml")]) if path.parent.is_dir() else ""
        raise ArmliteError(f"{what} {path} does not exist.{near}")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArmliteError(f"{what} {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ArmliteError(f"{what} {path} must hold `key: value` lines")
    return raw


def validated(kind: type[Model], raw: dict[str, Any], origin: str) -> Model:
    """The settings that plain data holds.

    Raises:
        ArmliteError: a key that is not known (names the nearest), a value out of range, an impossible combination.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        errors = error.errors()
        # Of a list one of whose items is wrong pydantic says, too, that it is too short without the item.
        told = [e for e in errors if e["type"] != "too_short" or not any(_within(other, e) for other in errors)]
        raise ArmliteError(f"{origin}: " + "; ".join(_sentence(kind, e) for e in told[:5])) from error


def _within(error: Any, other: Any) -> bool:
    """Whether an error is about a part of what another one is about."""
    size = len(other["loc"])
    return len(error["loc"]) > size and error["loc"][:size] == other["loc"]


def _sentence(kind: Any, error: Any) -> str:
    where = [str(part) for part in error["loc"] if part not in ("sft-tag", "grpo-tag")]
    if error["type"] != "extra_forbidden":
        message = error["msg"].removeprefix("Value error, ")
        return f"{'.'.join(where)}: {message}" if where else message
    known = fields_of(kind, where[:-1])
    return f"unknown key {'.'.join(where)}.{nearest(where[-1], known)} Known keys here: {', '.join(known)}"
