"""The data recipe: one YAML file is one folder of data. Defaults live here."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from armlite.data.dataset import DataSet
from armlite.data.location import Location
from armlite.errors import ArmliteError, nearest
from armlite.evals.benchmarks import get_set, set_names
from armlite.settings import Settings, read_yaml, validated
from armlite.types import Kind

OWN = ("pocket", "file")
"""What a source may be besides a published set: tasks of the pocket world, or a JSONL file of tasks."""


class Origin(Location):
    """Where rows come from."""

    set: str
    """A published set, as `armlite data list` shows it, `pocket`, or `file`."""
    rows: int | None = Field(None, gt=0)
    """Read so many usable rows, from the first; None: all."""

    @model_validator(mode="after")
    def _known(self) -> "Origin":
        names = [*set_names(), *OWN]
        if self.set not in names:
            raise ValueError(f"there is no data set {self.set!r}.{nearest(self.set, names)} Sets: {', '.join(names)}")
        if self.set == "file" and self.path is None:
            raise ValueError("set: file needs a path")
        if self.set == "pocket" and self.path is not None:
            raise ValueError("set: pocket makes its tasks and takes no path")
        return self

    def dataset(self) -> DataSet:
        """The set, with what this origin says differently."""
        return self.of(get_set(self.set))

    @property
    def licence(self) -> str:
        if self.set in OWN:
            return "made by armlite" if self.set == "pocket" else "your own"
        return get_set(self.set).licence


class SourceSettings(Origin):
    """One source of training tasks."""

    name: str = ""
    """In tables; the set's name if not given."""
    kinds: tuple[Kind, ...] = ()
    """Take only tasks of these kinds; empty: all."""
    make: Literal["ready", "pairs", "checks"] = "ready"
    """What becomes of a row: it is a task as it stands; its good answer and a flawed one become a pair; or of that pair
    one response, to be judged right or wrong."""
    negatives: str = "inject"
    """Who writes flawed answers: `inject` (one known change, no model), `base`, or a model as `--model` takes it."""
    n: int | None = Field(None, gt=0)
    """Of the tasks so many, else all of them, or by `weight` a share of `total`."""
    weight: float | None = Field(None, gt=0)
    cap: int | None = Field(None, gt=0)
    """At most so many tasks with the same `Task.source`."""

    @model_validator(mode="after")
    def _named(self) -> "SourceSettings":
        if "/" in self.name or self.name.startswith("."):
            raise ValueError(f"name {self.name!r} is to be a plain word: files are called so")
        return self

    @property
    def called(self) -> str:
        return self.name or (self.path.stem if self.set == "file" and self.path else self.set)


class FilterSettings(Settings):
    """The difficulty filter, as `armlite data filter`."""

    model: str = "base"
    k: int = Field(5, gt=0)
    drop_always_wrong: bool = False
    temperature: float = Field(1.0, ge=0)


class TraceSettings(Settings):
    """Traces for the cold start: judged by a model in our loop and screened, or published."""

    model: str = "base"
    """Who judges: `base`, which is to be trained and needs no teacher, or another as `--model` takes it."""
    n: int | None = Field(None, gt=0)
    """Judge only the first so many of the training tasks, which are shuffled."""
    k: int = Field(4, gt=0)
    """Samples of each task."""
    temperature: float = Field(1.0, ge=0)
    per_task: int = Field(1, gt=0)
    """Keep at most so many traces of a task, those with the fewest steps first."""
    family_ratio: float = Field(3.0, ge=1)
    """Keep at most so many times as many traces of a family as of the rarest."""
    rounds: int = Field(1, ge=1, le=2)
    """2: when `armlite train` has done GRPO stage 1, that judge makes traces of the same tasks, with the same `n`, `k`
    and `temperature`, and the stages go on from a second cold start (`stages.sft2`)."""
    published: Origin | None = None
    """Take these instead: `{set: arm-thinker-data}`."""

    @model_validator(mode="after")
    def _self_made(self) -> "TraceSettings":
        if self.published is not None and self.rounds > 1:
            raise ValueError("rounds: 2 is for traces that a model makes; leave it out, or leave out published")
        return self


class HeldOut(Settings):
    """What is not trained on. Tasks that share a picture or a document are held out together or not at all."""

    share: float = Field(0.1, ge=0, lt=1)
    """Of the tasks of each source."""
    sources: tuple[str, ...] = ()
    """Sources that are held out as a whole."""


class DataRecipe(Settings):
    """Sources, and what is made of them."""

    name: str = "data"
    """Set from the file's name."""
    seed: int = 0
    model: str | None = None
    """What `base` means, where no training recipe says it."""
    rules: Path | None = None
    """File, run or model folder with the rules of an episode that models judge by, where neither the model brings them
    nor a training recipe has them."""
    sources: tuple[SourceSettings, ...] = Field(min_length=1)
    total: int | None = Field(None, gt=0)
    """Tasks in all, where sources have weights."""
    benchmarks: tuple[Origin, ...] = ()
    """No task of these is trained on; the same question with the same picture, document or answer."""
    held_out: HeldOut = HeldOut()
    filter: FilterSettings | None = None
    traces: TraceSettings | None = TraceSettings()

    @model_validator(mode="after")
    def _fits(self) -> "DataRecipe":
        names = [source.called for source in self.sources]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two sources are called {twice}: give each a name")
        for name in self.held_out.sources:
            if name not in names:
                raise ValueError(f"held_out.sources: there is no source {name!r}.{nearest(name, names)}")
        if set(names) <= set(self.held_out.sources):
            raise ValueError("held_out.sources: all sources are held out, so that none is left to train on")
        for source in self.sources:
            if "prohibited" in source.licence:
                raise ValueError(f"source {source.called}: the licence of {source.set} says: {source.licence}")
        if why := self.overlap(self.benchmarks):
            raise ValueError(why)
        return self

    def overlap(self, benchmarks: Iterable[Origin]) -> str:
        """Which source is one of some benchmarks, as far as can be told without reading them, and what to do; empty:
        none is.
        """
        same = ((source, other) for source in self.sources for other in benchmarks if _same_rows(source, other))
        for source, _ in same:
            return (
                f"source {source.called} is {source.set}, which is one of the benchmarks, too: give one of the two "
                "another split, path or files, or leave it out"
            )
        return ""

    def models(self) -> dict[str, str]:
        """What a model is needed for -> the model."""
        asked = {f"negatives of {s.called}": s.negatives for s in self.sources if s.make != "ready"}
        if self.filter is not None:
            asked["filter"] = self.filter.model
        if self.traces is not None and self.traces.published is None:
            asked["traces"] = self.traces.model
        return {what: model for what, model in asked.items() if model != "inject"}


def _same_rows(one: Origin, other: Origin) -> bool:
    """Whether two origins are the same rows, as far as can be told without reading them."""
    if one.set != other.set or one.set == "pocket":
        return False
    places = one.path is None or other.path is None or one.path.resolve() == other.path.resolve()
    if one.set == "file":
        return places
    a, b = one.dataset(), other.dataset()
    return places and (a.hub, a.config, a.split, a.files) == (b.hub, b.config, b.split, b.files)


def load_data_recipe(path: Path | str) -> DataRecipe:
    """Read a data recipe.

    Raises:
        ArmliteError: missing or malformed, a key or set that is not known (names the nearest), a value out of range, a
            set that is both trained on and a benchmark.
    """
    path = Path(path)
    return validated(DataRecipe, {"name": path.stem, **read_yaml("data recipe", path)}, f"data recipe {path}")


def fits_base(recipe: DataRecipe, base: str | None) -> str | None:
    """The model that `base` stands for.

    Args:
        base: that of the training recipe.

    Raises:
        ArmliteError: `base` is asked for, and nobody says what it is.
    """
    found = base or recipe.model
    needs = [what for what, model in recipe.models().items() if model == "base"]
    if needs and found is None:
        raise ArmliteError(
            f"data recipe {recipe.name}: {needs[0]} is to be the work of the base model, and there is none: give "
            "`model:`, or --model; or leave it out (`traces: null`)"
        )
    return found
