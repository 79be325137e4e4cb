"""A build: every step of a data recipe in order, in one folder.

`tasks.jsonl` (training), `held_out.jsonl`, `traces.jsonl`, `rejects.jsonl` (each row that was left out, with step and
reason) and `build.json` (the table of counts) are what one reads; `parts/` holds what is between, `steps/` the stamps.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from armlite.curation.holdout import hold_out
from armlite.curation.recipe import DataRecipe, Origin, SourceSettings, fits_base
from armlite.curation.rounds import TRACES, judged_how, make_round
from armlite.curation.sources import check_left, digests, rows_step, screen
from armlite.curation.steps import Steps, write_rows
from armlite.data.making.checks import make_checks
from armlite.data.making.filter import filter_tasks
from armlite.data.making.mix import Mix, mix_tasks
from armlite.data.making.output import Counts, rejects_of, write_rejects
from armlite.data.making.pairs import make_pairs
from armlite.data.making.rollouts import Progress
from armlite.data.tasks import moved, read_tasks, write_tasks
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.lock import held
from armlite.models import model_prefix
from armlite.models.endpoint import place_free
from armlite.models.lazy import LazyModel, writer_of
from armlite.rules import Rules, read_rules
from armlite.settings import validated
from armlite.store import TORN, file_digest, write_atomic

TASKS, HELD_OUT, REJECTS, BUILD = "tasks.jsonl", "held_out.jsonl", "rejects.jsonl", "build.json"


@dataclass(frozen=True)
class Base:
    """What a training recipe says: of the model that is to be trained, and what it is measured by."""

    model: str | None = None
    quantize: Literal["none", "4bit"] = "none"
    rules: Rules | None = None
    benchmarks: tuple[Path, ...] = ()
    """Files of tasks that are not trained on, beside the data recipe's own `benchmarks`."""


def build(
    recipe: DataRecipe,
    out: Path,
    base: Base | None = None,
    workers: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    on_progress: Callable[[str, int, int], None] = lambda step, done, total: None,
) -> dict[str, Any]:
    """Build the data of a recipe, or go on with it; steps whose inputs are as they were stay as they are.

    Args:
        out: the folder; one that an earlier build made is brought up to date.
        workers: requests or episodes at once; None: as many as the model can use.
        say: told what becomes of each step.
        on_progress: called with (step, done, of how many).

    Returns:
        What `build.json` holds.

    Raises:
        ArmliteError: a source cannot be had or gives too little, a model cannot be asked, or the folder holds something
            else; what is done is kept.
    """
    fits_base(recipe, base.model if base else None)
    if out.exists() and not (out / "steps").is_dir() and (not out.is_dir() or _visible(out)):
        raise ArmliteError(f"{out} is not empty and holds no build; give another --out")
    with held(out):
        for torn in out.rglob(TORN):
            torn.unlink()
        return _Build(recipe, out, base or Base(), workers, say, on_progress).go()


def _visible(folder: Path) -> bool:
    return any(not path.name.startswith(".") for path in folder.iterdir())


class _Build:
    def __init__(
        self,
        recipe: DataRecipe,
        out: Path,
        base: Base,
        workers: int | None,
        say: Callable[[str], None],
        on_progress: Callable[[str, int, int], None],
    ):
        self.recipe, self.out, self.base, self.workers = recipe, out, base, workers
        self.parts, self.steps, self._on_progress = out / "parts", Steps(out, say), on_progress
        self._say = say
        self._models: dict[str, Judge] = {}

    def go(self) -> dict[str, Any]:
        benchmarks = [self._benchmark(i, origin) for i, origin in enumerate(self.recipe.benchmarks)]
        benchmarks += self.base.benchmarks
        files = {source.called: self._source(source, benchmarks) for source in self.recipe.sources}
        self._mix(files)
        self._split()
        self._filter()
        self._traces()
        for judge in self._models.values():
            if isinstance(judge.model, LazyModel):
                judge.model.release()
        self.steps.forget_others()
        return self._tell()

    def _shown(self, step: str) -> Progress:
        return lambda done, total: self._on_progress(step, done, total)

    def _rows(self, step: str, origin: Origin, name: str, out: Path) -> Path:
        rows_step(self.steps, step, origin, name, out, self.recipe.seed, self._shown(step))
        return out

    def _benchmark(self, number: int, origin: Origin) -> Path:
        if origin.set == "file" and origin.path is not None:
            return origin.path
        name = f"benchmark-{number + 1}-{origin.set}"
        return self._rows(name, origin, name, self.parts / f"{name}.jsonl")

    def _source(self, source: SourceSettings, benchmarks: list[Path]) -> Path:
        """All steps of a source; the file of its tasks."""
        name = source.called
        rows = self._rows(f"{name}.rows", source, name, self.parts / f"{name}.rows.jsonl")
        found = self.parts / f"{name}.screened.jsonl"
        inputs = {"rows": digests(rows), "benchmarks": digests(*benchmarks)}
        inputs |= source.model_dump(mode="json", include={"kinds", "make"}) | {"name": name}
        self.steps.run(f"{name}.screened", inputs, [found], lambda: screen(rows, found, source, benchmarks))
        if source.make == "ready":
            return found
        pairs = self._pairs(source, found)
        if source.make == "pairs":
            return pairs
        checks = self.parts / f"{name}.checks.jsonl"
        seed = self.recipe.seed
        inputs = {"pairs": digests(pairs), "seed": seed}
        self._run(f"{name}.checks", inputs, [checks], lambda: make_checks(pairs, checks, seed))
        return checks

    def _pairs(self, source: SourceSettings, good: Path) -> Path:
        step, out, seed = f"{source.called}.pairs", self.parts / f"{source.called}.pairs.jsonl", self.recipe.seed
        inputs: dict[str, Any] = {"tasks": digests(good), "seed": seed, "model": source.negatives}
        if source.negatives == "inject":
            self._run(step, inputs, [out], lambda: make_pairs(good, out, seed=seed, on_task=self._shown(step)))
            return out
        judge, name = self._judge(source.negatives, 0.7)
        how = {"seed": seed, "temperature": 0.7, "limits": judge.settings.limits, "in_flight": self.workers}
        inputs |= {"model": name, "limits": judge.settings.limits.model_dump(), "writer": writer_of(judge.model)}
        make = lambda: make_pairs(good, out, judge.model, name, on_task=self._shown(step), **how)  # noqa: E731
        self._run(step, inputs, [out], make)
        return out

    def _mix(self, files: dict[str, Path]) -> None:
        """All sources in one file, no task twice."""
        mixed, recipe = self.parts / "mixed.jsonl", self.recipe
        shares = [source.model_dump(include={"n", "weight", "cap"}) for source in recipe.sources]
        sources = [{"path": f, "name": name, **share} for (name, f), share in zip(files.items(), shares, strict=True)]
        raw = {"seed": recipe.seed, "total": recipe.total, "sources": sources}
        mix = validated(Mix, raw, f"data recipe {recipe.name}")
        inputs = {"sources": dict(zip(files, digests(*files.values()), strict=True)), "shares": shares}
        inputs |= {"seed": recipe.seed, "total": recipe.total}
        self._run("mixed", inputs, [mixed], lambda: mix_tasks(mix, mixed, self._shown("mixed")))
        for row in self.steps.counts["mixed"].more["sources"]:
            if row["asked"] is not None and row["taken"] < row["asked"]:
                self._say(f"source {row['source']} gives {row['taken']} of the {row['asked']} tasks it was asked for")

    def _split(self) -> None:
        mixed, train, out = self.parts / "mixed.jsonl", self.parts / "train.jsonl", self.out / HELD_OUT
        how, seed = self.recipe.held_out, self.recipe.seed
        inputs = {"mixed": digests(mixed), "held_out": how.model_dump(mode="json"), "seed": seed}
        self._run("held_out", inputs, [train, out], lambda: hold_out(mixed, train, out, how, seed))

    def _filter(self) -> None:
        """The training tasks: those that are neither held out nor too easy."""
        train, out, how = self.parts / "train.jsonl", self.out / TASKS, self.recipe.filter
        inputs: dict[str, Any] = {"train": digests(train)}
        if how is None:
            self._run("tasks", inputs, [out], lambda: _copied(train, out))
            return
        judge, name = self._judge(how.model, how.temperature)
        inputs |= {"model": name, **judged_how(judge), **how.model_dump(exclude={"model"}), "seed": self.recipe.seed}
        asked = train, judge.model, judge.settings, out, name, how.k, how.drop_always_wrong, self.recipe.seed
        make = lambda: filter_tasks(*asked, how.temperature, self.workers, self._shown("tasks"))  # noqa: E731
        self._run("tasks", inputs, [out], make)

    def _traces(self) -> None:
        how, out = self.recipe.traces, self.out / TRACES
        if how is None:
            out.unlink(missing_ok=True)
            return
        if how.published is not None:
            self._rows("traces", how.published, "traces", out)
            return
        judge, name = self._judge(how.model, how.temperature)
        make_round(self.steps, 1, self.recipe, judge, name, self.workers, self._shown)

    def _run(self, step: str, inputs: dict[str, Any], outputs: list[Path], make: Callable[[], Counts]) -> None:
        check_left(step, self.steps.run(step, inputs, outputs, make), rejects_of(outputs[0]))

    def _judge(self, model: str, temperature: float) -> tuple[Judge, str]:
        """A model of the recipe at a temperature, and what it is called."""
        spec = fits_base(self.recipe, self.base.model) if model == "base" else model
        assert spec is not None
        rules = self.base.rules or (read_rules(self.recipe.rules) if self.recipe.rules else None)
        options: dict[str, Any] = {"temperature": temperature, "seed": self.recipe.seed, "top_logprobs": 0}
        if rules is not None:
            options |= {"settings": rules.episode}
            options |= {"max_new_tokens": rules.max_new_tokens, "max_context": rules.max_context}
        if model == "base" and self.base.quantize != "none" and model_prefix(spec) is None:
            options["quantize"] = self.base.quantize
        key = f"{spec}@{temperature}"
        if key not in self._models:
            same = next((j for k, j in self._models.items() if k.startswith(f"{spec}@")), None)
            if same is not None and isinstance(same.model, LazyModel):
                self._models[key] = Judge(same.model.at(temperature), same.settings)
            else:
                self._models[key] = Judge.load(spec, **options)
        return self._models[key], place_free(spec)

    def _tell(self) -> dict[str, Any]:
        """Write the rejects of all steps and the table."""
        write_rows(self.out / REJECTS, self.steps.rejected())
        there = [name for name in (TASKS, HELD_OUT, TRACES) if (self.out / name).is_file()]
        found = {
            "recipe": self.recipe.model_dump(mode="json"),
            "licences": {source.called: source.licence for source in self.recipe.sources},
            "totals": self._totals(),
            "table": self.steps.table(),
            "files": {name: file_digest(self.out / name) for name in there},
        }
        write_atomic(self.out / BUILD, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return found

    def _totals(self) -> dict[str, int]:
        """From published rows to training tasks; every row and every task is somewhere."""
        counts, names = self.steps.counts, [source.called for source in self.recipe.sources]
        rows = [counts[f"{name}.rows"] for name in names]
        made = [*(f"{name}.{step}" for name in names for step in ("screened", "pairs", "checks")), "mixed", "tasks"]
        found = {
            "rows": sum(c.taken_in for c in rows),
            "rejected_rows": sum(sum(c.rejected.values()) for c in rows),
            "tasks_of_rows": sum(c.more["tasks"] for c in rows),
            "rejected_tasks": sum(sum(counts[step].rejected.values()) for step in made if step in counts),
            "held_out": sum(counts["held_out"].more["held_out"].values()),
            "training_tasks": counts["tasks"].kept,
        }
        if found["tasks_of_rows"] != found["rejected_tasks"] + found["held_out"] + found["training_tasks"]:
            raise RuntimeError(f"the counts of {self.out} do not add up: {found}")
        return found


def _copied(train: Path, out: Path) -> Counts:
    made = write_tasks(out, (moved(task, train.parent, out.parent) for task in read_tasks(train)))
    write_rejects(out, [])
    return Counts(made, made)
