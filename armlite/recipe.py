"""The recipe: one YAML file is one run. Defaults live here; a recipe lists what differs, and may begin with another one
(`extends: FILE`, relative to its folder), of which it then lists what differs.

Reference values (ARM-Thinker's released scripts) stand behind each knob, so that a recipe can say where it departs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from armlite.data.location import Location
from armlite.episode import EpisodeSettings
from armlite.errors import ArmliteError
from armlite.imports import located, run_imports
from armlite.journal import differences
from armlite.models.sampling import EngineSettings
from armlite.pocket.model import POCKETS
from armlite.pocket.worlds import WorldName
from armlite.rewards import get_reward
from armlite.settings import Settings, read_yaml, validated
from armlite.stages import STAGES, BaseSettings, GrpoSettings, Stages
from armlite.tools import get_tool


class ModelSettings(Settings):
    path: str = "Qwen/Qwen2.5-VL-7B-Instruct"
    """Hub id or folder; `pocket` and `pocket-qwen3-vl` build the pocket model in the run directory."""
    quantize: Literal["none", "4bit"] = "none"
    """`4bit`: NF4 with double quantisation of the language model; the vision tower and lm_head stay as they are."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: bfloat16 on a GPU, or float16 with loss scaling where it has no bfloat16; float32 on a CPU."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    backend: Literal["transformers", "unsloth"] = "transformers"
    """Who loads the model for training; `unsloth` is an extra with pins of its own and needs an NVIDIA GPU."""

    @property
    def pocket(self) -> str | None:
        """Architecture of the pocket model that `path` stands for; None of any other model."""
        return POCKETS.get(self.path)


class LoraSettings(Settings):
    r: int = Field(16, gt=0)
    alpha: int = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target: str = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
    """Regular expression of the modules that get an adapter."""


class DataSettings(Settings):
    build: str | None = None
    """Data recipe, relative to this recipe or to where the command runs: `armlite train` builds it first, into `data/`
    of the run, and its files take the place of those of the following three that are left at `pocket`."""
    tasks: str = "pocket"
    """Training tasks: `pocket`, or a JSONL file of Task records."""
    traces: str = "pocket"
    """Cold start traces: `pocket`, a JSONL file of trajectories as `armlite judge --save` writes them, or one of
    published conversations as `armlite data convert arm-thinker-data` does."""
    evaluation: str = "pocket"
    """Tasks that each stage is evaluated on: `pocket`, or a JSONL file."""
    world: WorldName = "pocket"
    """What `pocket` stands for in the three above: the pocket world, or the `lab` world, in which tasks need no call,
    one or two (`armlite docs claims`)."""
    n_traces: int | None = Field(None, gt=0)
    """How many to make or take; None: all of a file."""
    n_tasks: int | None = Field(None, gt=0)
    n_evaluation: int | None = Field(None, gt=0)
    n_transfer: int | None = Field(None, gt=0)
    """lab only: how many tasks of the transfer split each stage is evaluated on, too; None: none."""
    expert_share: float = Field(0.5, ge=0, le=1)
    """pocket only: share of the traces that use the tool; the others guess. How good the cold start is."""
    idle_share: float = Field(0.0, ge=0, le=1)
    """lab only: share of the traces with tools that call what is of no use, and believe what it brings."""
    second_round: int = Field(4, gt=0)
    """pocket only: judgments of each training task by the judge after grpo1; of these `sft2` learns the right ones,
    beside the traces of `sft`."""
    without_tools: float = Field(0.0, ge=0, le=1)
    """Share of traces and of GRPO tasks played without tools, so that the model can still judge when it has none."""


class BenchmarkSettings(Location):
    """A benchmark that a run reports on."""

    name: str
    """As `armlite eval --benchmark` takes it, `pocket`, or `file` with the JSONL file of tasks as `path`."""
    n: int | None = Field(None, gt=0)
    """The first so many tasks; None: all (of the pocket world 300)."""

    @model_validator(mode="after")
    def _named(self) -> "BenchmarkSettings":
        if self.name == "file" and self.path is None:
            raise ValueError("name: file needs a path")
        return self

    @property
    def called(self) -> str:
        """In tables, and as a folder."""
        return self.path.stem if self.name == "file" and self.path is not None else self.name


class EvaluationSettings(Settings):
    batch: int = Field(64, gt=0)
    """Episodes in flight."""
    temperature: float = Field(1.0, ge=0)
    """The stages are compared at the rollout temperature with a fixed seed; a greedy evaluation stands beside it."""
    max_new_tokens: int = Field(1024, gt=0)
    max_context: int = Field(8192, gt=0)
    swap: bool = False
    """Judge each pair in both orders too, for the swap consistency."""
    benchmarks: tuple[BenchmarkSettings, ...] = ()
    """What the run reports on: judged greedily, by the rules of the recipe, with and without tools. Their tasks are
    read before anything else, and none of them is trained on where `data.build` makes the data."""
    benchmarks_at: tuple[Literal["base", "sft", "grpo1", "sft2", "grpo2", "last"], ...] = ("base", "last")
    """Checkpoints that are judged by: before training, after a stage, after the last one."""

    @model_validator(mode="after")
    def _told_apart(self) -> "EvaluationSettings":
        names = [benchmark.called for benchmark in self.benchmarks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"benchmarks: two are called {twice}, as their folders of results would be: leave one out")
        return self


class Recipe(Settings):
    name: str = "run"
    """Set from the file's name."""
    seed: int = 0
    threads: int | None = None
    """CPU threads; part of what makes a run repeatable bit for bit."""
    imports: tuple[str, ...] = ()
    """Files and modules of your own with tools, rewards or models, as `--import` takes them; `armlite train` runs them.
    A file is relative to the recipe's folder; a run directory keeps its absolute path."""
    report_to: tuple[str, ...] = ()
    """Trackers that transformers' Trainer reports each stage's steps to as well: `tensorboard` (in `logs/` of the run
    directory), `wandb`, `trackio`, `mlflow` ..., which have to be installed."""
    model: ModelSettings = ModelSettings()
    lora: LoraSettings = LoraSettings()
    episode: EpisodeSettings = EpisodeSettings()
    data: DataSettings = DataSettings()
    base: BaseSettings | None = None
    """With `model.path: pocket` in a world that has one: a base model that is trained beforehand, once."""
    stages: Stages = Stages()
    engine: EngineSettings = EngineSettings()
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="after")
    def _possible(self) -> "Recipe":
        for name, stage in self.stages.named().items():
            if self.model.quantize == "4bit" and stage.adapter == "none":
                raise ValueError(
                    f"stages.{name}.adapter: 4-bit weights cannot be trained; use adapter: lora or quantize: none"
                )
            if stage.train_vision and stage.adapter == "lora":
                raise ValueError(
                    f"stages.{name}.train_vision: needs adapter: none (adapters sit on the language model)"
                )
            if isinstance(stage, GrpoSettings):
                self._check_room(name, stage)
        if not self.stages.named():
            raise ValueError(f"stages: a recipe needs at least one of {', '.join(STAGES)}")
        named = self.stages.named()
        there = {*named, "base", "last"} | ({"sft2"} if self.data.build else set())  # which a data recipe may bring
        if absent := [at for at in self.evaluation.benchmarks_at if at not in there]:
            raise ValueError(
                f"evaluation.benchmarks_at: the recipe has no stage {absent[0]}; it has {', '.join(named)}"
            )
        second = self.data.build is not None or self.data.traces == self.data.tasks == "pocket"
        if self.stages.sft2 is not None and not (second and self.stages.grpo1):
            raise ValueError(
                "stages.sft2: learns from traces that the judge after grpo1 makes, which takes stages.grpo1, and "
                "data.build with a data recipe that says traces.rounds: 2, or tasks and traces of a pocket world"
            )
        if self.episode.parse != "strict":
            raise ValueError("episode.parse: lenient is for judging with checkpoints made elsewhere, not for training")
        if self.base is not None and (self.model.path != "pocket" or self.data.world == "pocket"):
            raise ValueError("base: is for model.path: pocket with data.world: lab; other models are trained already")
        if (self.data.n_transfer or self.data.idle_share) and self.data.world == "pocket":
            raise ValueError(
                "data.n_transfer and data.idle_share: the pocket world has neither; data.world: lab has both"
            )
        if self.data.idle_share + self.data.expert_share > 1:
            raise ValueError("data.idle_share and data.expert_share are shares of the same traces: at most 1 together")
        if self.model.pocket and self.data.traces != "pocket":
            raise ValueError("model.path: a pocket model needs data.traces: pocket, which its tokenizer is trained on")
        return self

    def _check_room(self, name: str, stage: GrpoSettings) -> None:
        cache, n_tasks = self.engine.max_tokens_in_cache, self.data.n_tasks
        longest = max(stage.max_context, self.evaluation.max_context)
        if cache is not None and cache < longest:
            raise ValueError(f"engine.max_tokens_in_cache ({cache}) is below max_context ({longest})")
        if n_tasks is not None and n_tasks < stage.tasks_per_step:
            raise ValueError(f"data.n_tasks ({n_tasks}) is below stages.{name}.tasks_per_step ({stage.tasks_per_step})")

    def to_yaml(self) -> str:
        """The resolved recipe, every default spelt out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_recipe(path: Path | str, overrides: Sequence[str] = (), imports: Sequence[str] | None = None) -> Recipe:
    """Read a recipe and apply `key.sub=value` overrides.

    Args:
        imports: run the recipe's imports, and these, which become part of it. None: nothing is run; then names that
            the recipe's imports may know are not checked.

    Raises:
        ArmliteError: missing or malformed file, a key or name that is not known (names the nearest), a value out of
            range, an impossible combination, an import that fails.
    """
    raw = _read(Path(path), overrides)
    if imports is not None:
        raw["imports"] = list(dict.fromkeys([*raw["imports"], *located(imports)]))
        run_imports(raw["imports"])
    return check_recipe(raw, str(path), None if imports is None else True)


def saved_recipe(path: Path | str) -> Recipe:
    """The recipe of a run directory: nothing is imported, and its rewards and tools may be unknown here.

    Raises:
        ArmliteError: as `load_recipe`.
    """
    raw = _read(Path(path))
    if isinstance(raw.get("engine"), dict):
        raw["engine"].pop("tool_threads", None)  # a setting of version 0.1.0
    return check_recipe(raw, str(path), known=False)


def _read(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A recipe as plain data, its imports as they are found from anywhere."""
    raw = {"name": path.stem, "imports": [], **_whole(path)}
    for override in overrides:
        _override(raw, override)
    return _placed(raw, path)


def _whole(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What stands in a recipe, with what it extends behind it.

    Raises:
        ArmliteError: a file is missing or malformed, or recipes extend each other in a circle.
    """
    raw = read_yaml("recipe", path)
    if "extends" not in raw:
        return raw
    other = raw.pop("extends")
    if not isinstance(other, str):
        raise ArmliteError(
            f"recipe {path}: extends: must be the file of another recipe, such as qwen2.5-vl-7b-24gb.yaml"
        )
    seen, place = (*seen, path.resolve()), path.parent / other
    if place.resolve() in seen:
        raise ArmliteError(f"recipe {path}: extends: {other} extends this recipe in turn; leave one of the two out")
    return _laid_over(_placed(_whole(place, seen), place), _placed(raw, path))


def _laid_over(below: Any, above: Any) -> Any:
    """Plain data over other plain data: groups of keys are gone into, all else is taken from above."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: _laid_over(below.get(key), value) for key, value in above.items()}}


def _placed(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """What stands in a recipe's file, with imports and its data recipe as they are found from anywhere."""
    raw = dict(raw)
    if "imports" in raw:
        names = raw["imports"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ArmliteError(f"recipe {path}: imports: must be a list of files or modules, such as [my_tools.py]")
        raw["imports"] = located(names, path.parent)
    data = raw.get("data")
    if isinstance(data, dict) and isinstance(data.get("build"), str) and (path.parent / data["build"]).is_file():
        raw["data"] = {**data, "build": str(path.parent / data["build"])}
    return raw


def check_recipe(raw: dict[str, Any], origin: str, known: bool | None = None) -> Recipe:
    """Validate a recipe given as plain data.

    Args:
        known: check the names of rewards, their parts and tools, too. None: unless the recipe lists imports, which may
            not have been run.

    Raises:
        ArmliteError: as `load_recipe`.
    """
    recipe = validated(Recipe, raw, f"recipe {origin}")
    try:
        if known if known is not None else not recipe.imports:
            check_names(recipe)
    except ArmliteError as error:
        raise ArmliteError(f"recipe {origin}: {error}") from error
    return recipe


def check_names(recipe: Recipe) -> None:
    """See that the rewards, their parts and the tools of a recipe are known.

    Raises:
        ArmliteError: one is not; names the nearest.
    """
    for name, stage in recipe.stages.named().items():
        if isinstance(stage, GrpoSettings):
            get_reward(stage.reward).weighted(stage.weights, f"stages.{name}.weights").counting(stage.success)
    for tool in recipe.episode.tools or ():
        get_tool(tool)


def difference(old: Recipe, new: Recipe, free: str | None = None) -> str | None:
    """The first value that two recipes disagree on, as a sentence; name, imports (files move) and keys that begin with
    `free` may differ.
    """
    for key, there, here in sorted(differences(old.model_dump(mode="json"), new.model_dump(mode="json"))):
        if key not in ("name", "imports") and not (free and f"{key}.".startswith(free)):
            return f"{key} is {there!r} there and {here!r} here"
    return None


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ArmliteError(f"override {override!r} is not of the form key=value, for example stages.sft.steps=100")
    *parents, last = key.split(".")
    node = raw
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ArmliteError(f"override {override!r}: {parent} is a value, not a group of keys")
        node = child
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ArmliteError(f"override {override!r}: the value is not valid YAML") from error
