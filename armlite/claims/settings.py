"""A claims file: variants of a recipe, and what is claimed of them (`armlite docs training`)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from armlite.claims.checks import Check, parse_check
from armlite.claims.figures import check_path
from armlite.errors import ArmliteError, nearest
from armlite.recipe import Recipe, load_recipe
from armlite.settings import Settings, read_yaml, validated
from armlite.stages import STAGES, GrpoSettings

KIND = "claims"


class VariantSettings(Settings):
    text: str = ""
    """What it is, for the report."""
    overrides: dict[str, Any] = {}
    """Keys of the recipe -> what differs here: `stages.grpo2.reward: accuracy_only`; a stage that is null is left
    out."""
    control_of: str | None = None
    """Spend the training time of this earlier variant on its SFT alone: one cold start of as many steps as fit, the
    same mix, one optimiser throughout."""


class ClaimSettings(Settings):
    text: str
    """What is claimed, in a sentence."""
    checks: tuple[str, ...] = Field(min_length=1)
    """Inequalities that must all hold (`armlite.claims.checks`)."""


class ClaimsSettings(Settings):
    kind: Literal["claims"]
    recipe: str
    """The recipe that the variants are of, relative to this file."""
    text: str = ""
    """What the claims are about, for the report."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Unless `--seeds` says others."""
    overrides: dict[str, Any] = {}
    """Of all variants."""
    variants: dict[str, VariantSettings] = Field(min_length=1)
    claims: dict[str, ClaimSettings] = {}


@dataclass(frozen=True)
class Variant:
    """A variant with its recipe; of a control the steps of its SFT are found when the other has run."""

    name: str
    text: str
    recipe: Recipe
    control_of: str | None = None


@dataclass(frozen=True)
class Claim:
    """What is claimed, and the checks that decide it."""

    id: str
    text: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Claims:
    """A claims file that has been read."""

    name: str
    text: str
    seeds: tuple[int, ...]
    variants: tuple[Variant, ...]
    claims: tuple[Claim, ...]

    def variant(self, name: str) -> Variant:
        """A variant by its name."""
        return next(variant for variant in self.variants if variant.name == name)


def is_claims(path: Path) -> bool:
    """Whether a YAML file is one of claims."""
    return path.is_file() and path.suffix in (".yaml", ".yml") and read_yaml("recipe", path).get("kind") == KIND


def load_claims(path: Path, overrides: Sequence[str] = (), imports: Sequence[str] = ()) -> Claims:
    """Read a claims file and the recipes of its variants.

    Args:
        overrides: `key=value` of all variants; what a variant says of itself counts more.
        imports: files and modules of one's own, beside the recipe's.

    Raises:
        ArmliteError: what `load_recipe` says of a variant, or a check or a variant's name that cannot be read.
    """
    settings = validated(ClaimsSettings, read_yaml("claims", path), f"claims {path}")
    place = path.parent / settings.recipe
    common = [*_words(settings.overrides), *overrides]
    variants: list[Variant] = []
    for name, said in settings.variants.items():
        if "/" in name or name.startswith("."):
            raise ArmliteError(f"claims {path}: variants: {name!r} names a folder; use letters, digits, - and _")
        try:
            variants.append(_variant(name, said, settings, place, common, imports))
        except ArmliteError as error:
            raise ArmliteError(f"claims {path}: variant {name}: {error}") from error
    known = {variant.name: variant.recipe for variant in variants}
    claims = tuple(
        Claim(key, claim.text, tuple(_check(text, f"claims {path}: claim {key}", known) for text in claim.checks))
        for key, claim in settings.claims.items()
    )
    return Claims(path.stem, settings.text, settings.seeds, tuple(variants), claims)


def _words(overrides: dict[str, Any]) -> list[str]:
    """Overrides as `load_recipe` takes them; JSON is YAML."""
    return [f"{key}={json.dumps(value)}" for key, value in overrides.items()]


def _variant(
    name: str, said: VariantSettings, file: ClaimsSettings, place: Path, common: list[str], imports: Sequence[str]
) -> Variant:
    words = [*common, *_words(said.overrides)]
    if said.control_of is not None:
        earlier = list(file.variants)[: list(file.variants).index(name)]
        other = file.variants.get(said.control_of)
        if said.control_of not in earlier or other is None or other.control_of is not None:
            near = nearest(said.control_of, earlier)
            raise ArmliteError(f"control_of: {said.control_of!r} is no earlier variant with stages of its own.{near}")
        trained = load_recipe(place, [*common, *_words(other.overrides)], imports).stages
        if trained.sft is None or not any(isinstance(stage, GrpoSettings) for stage in trained.named().values()):
            raise ArmliteError(f"control_of: {said.control_of} needs sft and a GRPO stage, whose time is to be spent")
        alone = [*(f"stages.{name}=null" for name in STAGES if name != "sft"), "evaluation.benchmarks=[]"]
        alone += ["evaluation.benchmarks_at=[]"]
        words = [*common, *_words(other.overrides), *alone, *_words(said.overrides)]
    recipe = load_recipe(place, words, imports).model_copy(update={"name": name})
    return Variant(name, said.text, recipe, said.control_of)


def _check(text: str, where: str, variants: dict[str, Recipe]) -> Check:
    try:
        check = parse_check(text)
        for path in check.paths:
            name, checkpoint = check_path(path)
            if name not in variants:
                raise ArmliteError(f"{path}: there is no variant {name!r}.{nearest(name, variants)}")
            stages = ["last", "base", *(stage for stage in STAGES if stage in variants[name].stages.named())]
            if checkpoint not in stages:
                raise ArmliteError(f"{path}: {name} has no checkpoint {checkpoint!r}; it has {', '.join(stages)}")
    except ArmliteError as error:
        raise ArmliteError(f"{where}: {error}") from error
    return check
