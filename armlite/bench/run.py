"""One row of figures a workload: builds what plays it, warms up, repeats, and takes the median with its ends.

`run` is what the command calls.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers

from armlite.bench.measure import (
    GIB,
    Counted,
    Figures,
    Ours,
    Stock,
    System,
    Watch,
    Watched,
    at_rest,
    forget_peaks,
    memory,
)
from armlite.bench.models import Measured, bench_recipe
from armlite.bench.parts import Parts, compared, planned
from armlite.bench.script import write_play
from armlite.bench.stock_trl import make_stock, share_weights
from armlite.bench.workloads import Workload
from armlite.episode import Episode, presented_order
from armlite.errors import ArmliteError
from armlite.models.engine.vision import VisionCache
from armlite.models.engine.vocabulary import Vocabulary
from armlite.plan.memory import Load
from armlite.plan.shapes import from_config
from armlite.protocol.render import render
from armlite.recipe import Recipe
from armlite.rewards import hierarchical
from armlite.runner import Job, run_jobs
from armlite.stages import GrpoSettings, SftSettings
from armlite.train.grpo import chat_model, make_trainer
from armlite.train.policy import Policy

Row = dict[str, Any]
SPARE = 64
"""Tokens of context kept free behind the longest conversation."""


def cap_memory(gib: float) -> None:
    """Let this process have no more than so much of the card.

    Raises:
        ArmliteError: there is no card, or it is smaller.
    """
    if not torch.cuda.is_available():
        raise ArmliteError("--cap limits the memory of a CUDA card, and this machine (or this build of torch) has none")
    total = torch.cuda.get_device_properties(0).total_memory / GIB
    if not 0 < gib <= total:
        raise ArmliteError(f"--cap is {gib:g} GiB; the card has {total:.1f}: give a number above 0 and up to that")
    torch.cuda.set_per_process_memory_fraction(gib / total)


def run(
    measured: Measured,
    works: Sequence[Workload],
    recipe: Recipe | None = None,
    against_trl: bool = False,
    repetitions: int = 3,
    notify: Callable[[str], None] = lambda line: None,
    parts: bool = False,
) -> Iterator[Row]:
    """Measure workloads; each row as soon as it is done.

    Args:
        measured: the model; its weights are not changed, adapters on it are.
        recipe: the settings of training; None: those of the default workload.
        against_trl: measure the stock trainer too, in turns with ours.
        notify: called with a line of text after each repetition of steps or rollouts.
        parts: say what each part of memory takes, beside the plan's figure; of steps, rollouts and the cold start, in
            a repetition more, which with 0 `repetitions` is the only one.
    """
    for work in works:
        with TemporaryDirectory(prefix="armlite-bench-") as folder:
            row = _Bench(measured, work, recipe, Path(folder), notify).row(against_trl, repetitions, parts)
        yield row
        forget_peaks()


class _Bench:
    """One workload on one model."""

    def __init__(
        self,
        measured: Measured,
        work: Workload,
        recipe: Recipe | None,
        folder: Path,
        notify: Callable[[str], None] = lambda line: None,
    ):
        self._measured, self._work, self._folder, self._notify = measured, work, folder, notify
        self._processor = copy(measured.processor)  # a trainer may replace its image processor
        vision = VisionCache(measured.model, self._processor)
        self._vocabulary = Vocabulary(self._processor.tokenizer, measured.model.config.get_text_config().vocab_size)
        self._play = write_play(work, vision, self._vocabulary, folder / "tasks", measured.cell, 0)
        self._scores: dict[tuple[str, int], dict[str, float]] = {}
        """(task id, rollout) -> the parts of its reward."""
        self._longest = 0
        """Tokens of the longest conversation."""
        self._largest = 0
        """Tokens of the largest image."""
        self._parts: dict[str, dict[str, float]] | None = None
        """What each part of memory takes, where that is asked for; see `parts.compared`."""
        for key, episode in self._episodes():
            self._scores[key] = hierarchical(episode.trajectory()).parts
            messages = episode.conversation.messages
            shown = [vision.look(image).tokens for message in messages for image in message.images]
            self._largest = max([self._largest, *shown])
            text = render(messages, episode.conversation.tools, add_generation_prompt=False)
            self._longest = max(self._longest, len(self._vocabulary.ids(text)) + sum(shown))
        self.recipe = bench_recipe(recipe, self._play, self._longest + SPARE)
        (stage,) = self.recipe.stages.named().values()
        assert isinstance(stage, GrpoSettings)
        self._stage = stage

    def _episodes(self) -> Iterator[tuple[tuple[str, int], Episode]]:
        """All rollouts of the script, played to their ends."""
        tasks = {task.id: task for task in self._play.tasks}
        for (name, rollout), turns in self._play.turns.items():
            order = presented_order(tasks[name], 0)
            episode = Episode.open(tasks[name], self._play.settings, self._play.root, order, rollout)
            for turn in turns:
                episode.advance(self._vocabulary.text(turn[:-1]))
            yield (name, rollout), episode

    def row(self, against_trl: bool, repetitions: int, parts: bool = False) -> Row:
        """Measure, and compare with the goals."""
        alone = {"judge": self._judge, "sft": self._sft, "exact": self._exact}.get(self._work.play)
        self._parts = {} if parts else None
        ours, *stock = [alone(repetitions)] if alone else self._steps(against_trl, repetitions)
        row: Row = {
            "work": self._work.id,
            "what": self._work.what,
            "repetitions": repetitions,
            "ours": _spread(ours),
        }
        for other in stock:
            names = [name for name in ("rollout", "step") if f"{name}_seconds" in ours[0]]
            pairs = list(zip(ours, other, strict=True))
            row["stock"] = _spread(other)
            row["ratios"] = {name: [b[f"{name}_seconds"] / a[f"{name}_seconds"] for a, b in pairs] for name in names}
            row["ratio"] = {name: statistics.median(values) for name, values in row["ratios"].items()}
        values = {goal: goal.value(row) for goal in self._work.goals}
        row["goals"] = {str(goal): None if value is None else goal.met(value) for goal, value in values.items()}
        if self._parts:
            row["memory"] = self._parts
        base = next(self._measured.model.parameters())
        row["settings"] = {
            "micro_batch": self._stage.per_device_train_batch_size,
            "accumulation": self._stage.gradient_accumulation_steps,
            "gradient_checkpointing": self._stage.gradient_checkpointing,
            "dtype": str(base.dtype).removeprefix("torch."),
            "quantize": self.recipe.model.quantize,
            "lora_r": self.recipe.lora.r,
            "optim": self._stage.optim,
            "beta": self._stage.beta,
            "max_slots": self.recipe.engine.max_slots,
            "cuda_graphs": self.recipe.engine.cuda_graphs,
            "threads": torch.get_num_threads(),
        }
        return row

    def _policy(self, processor: Any) -> Policy:
        """The measured weights with a new adapter."""
        return Policy(share_weights(self._measured.model), processor).with_adapter(self.recipe.lora)

    def _counted(self, policy: Policy) -> Counted:
        like = chat_model(self.recipe, self._stage, policy)
        return Counted(policy.model, policy.processor, like.sampling, like.settings, like.vision, self._play.script)

    def _ours(self) -> tuple[Ours, Counted]:
        transformers.set_seed(0)
        policy, play = self._policy(self._processor), self._play
        chat, adapter, work = self._counted(policy), policy.peft_config, self._folder / "work"
        trainer = make_trainer(self.recipe, self._stage, chat, adapter, play.tasks, play.root, work)
        return Ours(trainer, self._play, chat), chat

    def _stock(self, ours: Ours) -> Stock:
        transformers.set_seed(0)
        policy = self._policy(copy(self._measured.processor))
        return Stock(make_stock(ours.trainer, self._stage, policy, self._play, self._scores), self._play)

    def _steps(self, against_trl: bool, repetitions: int) -> list[list[Figures]]:
        """Figures of our system, and those of the stock one."""
        ours, chat = self._ours()
        systems: list[System] = [ours, self._stock(ours)] if against_trl else [ours]
        alone = self._work.play == "rollout"
        if self._work.steps == 1 and repetitions:
            for system in systems:
                system.repeat(alone)  # to warm up
        figures: list[list[Figures]] = [[] for _ in systems]
        for n in range(repetitions):
            for i in range(len(systems)) if n % 2 == 0 else reversed(range(len(systems))):
                figures[i].append(systems[i].repeat(alone))
                self._tell(n + 1, repetitions, type(systems[i]).__name__.lower(), figures[i][-1])
        if self._parts is not None:
            found, last = ours.parts(alone)
            figures[0] = figures[0] or [last]
            passes = ours.trainer.largest_pass, max(stats.largest_prefill for stats in chat.stats)
            self._parts = compared(self._planned(self._stage, *passes), found)
        return figures

    def _planned(self, stage: SftSettings | GrpoSettings, update: int, prefill: int | None = None) -> Parts:
        """What the plan predicts for what went through the model, so many tokens in its largest passes."""
        work, model = self._work, self._measured.model
        rollouts = work.prompts * max(2, work.group)
        images = rollouts * max(1, self._play.images)
        load = Load(rollouts, self._longest, self._largest, images, update, prefill=prefill)
        size = model.model.language_model.embed_tokens.weight.element_size()
        return planned(self.recipe, stage, from_config(model.config.to_dict(), self._measured.name), load, size)

    def _tell(self, n: int, of: int, who: str, figures: Figures) -> None:
        known = [name for name in ("rollout", "step") if f"{name}_seconds" in figures]
        times = [f"{name} {figures[f'{name}_seconds']:.2f} s" for name in known]
        self._notify(f"{self._work.id}: repetition {n} of {of}, {who}: {', '.join(times)}")

    def _judge(self, repetitions: int) -> list[Figures]:
        chat = self._counted(Policy(self._measured.model, self._processor))
        figures = []
        for n in range(repetitions + 1):
            forget_peaks()
            chat.vision.clear()
            start = at_rest()
            jobs = [
                Job(task, self._play.settings, self._play.root, presented_order(task, 0)) for task in self._play.tasks
            ]
            decisions = [outcome.trajectory.decision for outcome in run_jobs(jobs, chat, in_flight=len(jobs))]
            seconds = at_rest() - start
            if None in decisions:
                raise RuntimeError("a scripted judgment did not end in a verdict")
            if n:  # the first one warms up
                rate = 60 * len(jobs) / seconds
                figures.append({"verdict_seconds": seconds, "verdicts_per_minute": rate, **memory()})
        return figures

    def _sft(self, repetitions: int) -> list[Figures]:
        from armlite.train.metrics import MetricsFile
        from armlite.train.sft import run_sft

        shared = {k: v for k, v in self._stage.model_dump().items() if k in SftSettings.model_fields and k != "kind"}
        cold = SftSettings(**{**shared, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1})
        conversations = [episode.conversation for _, episode in self._episodes()]
        figures = []
        for n in range(repetitions):
            forget_peaks()
            start = at_rest()
            folder, policy = self._folder / f"sft-{n}", self._policy(self._processor)
            folder.mkdir()
            metrics = MetricsFile(folder / "metrics.jsonl")
            run_sft(self.recipe, "sft", cold, policy, conversations, folder, metrics)
            step = (at_rest() - start) / cold.steps
            figures.append({"step_seconds": step, "tokens": self._longest, **memory()})
        if self._parts is not None:
            watch, folder = Watch(on=True), self._folder / "sft-watched"
            folder.mkdir()
            policy = self._policy(self._processor)
            run_sft(self.recipe, "sft", cold, policy, conversations, folder, Watched(folder / "metrics.jsonl", watch))
            watch.parts["sft activations"] = watch.parts.pop("activations")
            self._parts = compared(self._planned(cold, self._longest), watch.parts)
            figures = figures or [{"tokens": self._longest, "gradient_norm": watch.gradient_norm or 0.0, **memory()}]
        return figures

    def _exact(self, repetitions: int) -> list[Figures]:
        """The engine's log-probabilities of sampled tokens, and the trainer's of the same."""
        ours, chat = self._ours()
        trainer = ours.trainer
        figures = []
        for _n in range(repetitions):
            chat.vision.clear()
            with chat.vision.features_from_ids(), torch.no_grad():
                trainer.model.train()
                batch = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
                again = trainer.logprobs(batch)
            differences = torch.cat(
                [
                    (again[i, : len(r.mask)].cpu() - torch.tensor(r.logprobs)).abs()[torch.tensor(r.mask).bool()]
                    for i, r in enumerate(batch["records"])
                ]
            )
            mean, largest = differences.mean().item(), differences.max().item()
            figures.append({"logprob_mean_difference": mean, "logprob_largest_difference": largest})
        return figures


def _spread(figures: Sequence[Figures]) -> dict[str, dict[str, float]]:
    """Median, least and most of each figure."""
    made = {}
    for name in figures[0]:
        values = [f[name] for f in figures]
        made[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return made
