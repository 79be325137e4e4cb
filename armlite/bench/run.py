"""One row of figures a workload: builds what plays it, warms up, repeats, and takes the median with its ends.

`run` is what the command calls.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers

from armlite.bench.measure import GIB, Counted, Figures, Ours, Stock, at_rest, forget_peaks, memory
from armlite.bench.models import Measured, bench_recipe
from armlite.bench.script import write_play
from armlite.bench.stock_trl import make_stock, shallow, share_weights
from armlite.bench.workloads import Workload
from armlite.episode import Episode, presented_order
from armlite.errors import ArmliteError
from armlite.models.engine.vision import VisionCache
from armlite.models.engine.vocabulary import Vocabulary
from armlite.recipe import GrpoSettings, Recipe, SftSettings
from armlite.rewards import hierarchical
from armlite.runner import Job, run_jobs
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
    on_row: Callable[[Row], None] | None = None,
    notify: Callable[[str], None] | None = None,
) -> list[Row]:
    """Measure workloads.

    Args:
        measured: the model; its weights are not changed, adapters on it are.
        recipe: the settings of training; None: those of the default workload.
        against_trl: measure the stock trainer too, in turns with ours.
        on_row: called with each row when it is done.
        notify: called with a line of text after each repetition of steps or rollouts.
    """
    rows = []
    for work in works:
        with TemporaryDirectory(prefix="armlite-bench-") as folder:
            bench = _Bench(measured, work, recipe, Path(folder), notify)
            row = bench.row(against_trl and work.play in ("step", "rollout"), repetitions)
        rows.append(row)
        if on_row is not None:
            on_row(row)
        forget_peaks()
    return rows


class _Bench:
    """One workload on one model."""

    def __init__(
        self,
        measured: Measured,
        work: Workload,
        recipe: Recipe | None,
        folder: Path,
        notify: Callable[[str], None] | None = None,
    ):
        self._measured, self._work, self._folder, self._notify = measured, work, folder, notify
        self._processor = shallow(measured.processor)
        vision = VisionCache(measured.model, self._processor)
        vocabulary = self._vocabulary = self._words()
        self._play = write_play(work, vision, vocabulary, folder / "tasks", measured.cell, 0)
        self._longest = 0
        self._scores = dict(self._played(vision))
        self.recipe = bench_recipe(recipe, self._play, self._longest + SPARE)
        (stage,) = self.recipe.stages.named().values()
        assert isinstance(stage, GrpoSettings)
        self._stage = stage

    def _words(self) -> Vocabulary:
        return Vocabulary(self._processor.tokenizer, self._measured.model.config.get_text_config().vocab_size)

    def _played(self, vision: VisionCache) -> Iterator[tuple[tuple[str, int], dict[str, float]]]:
        """What each rollout of the script earns; sets the longest's number of tokens."""
        from armlite.protocol.render import render

        tasks = {task.id: task for task in self._play.tasks}
        for (name, rollout), turns in self._play.turns.items():
            task = tasks[name]
            episode = Episode.open(task, self._play.settings, self._play.root, presented_order(task, 0), rollout)
            for turn in turns:
                episode.advance(self._vocabulary.text(turn[:-1]))
            messages = episode.conversation.messages
            visual = sum(vision.look(image).tokens for message in messages for image in message.images)
            text = render(messages, episode.conversation.tools, add_generation_prompt=False)
            self._longest = max(self._longest, len(self._vocabulary.ids(text)) + visual)
            yield (name, rollout), hierarchical(episode.trajectory()).parts

    def row(self, against_trl: bool, repetitions: int) -> Row:
        """Measure, and compare with the goals."""
        play = {"step": self._steps, "rollout": self._steps, "judge": self._judge, "sft": self._sft}.get(
            self._work.play, self._exact
        )
        figures, stock, ratio = play(against_trl, repetitions)
        row: Row = {
            "work": self._work.id,
            "what": self._work.what,
            "repetitions": repetitions,
            "ours": _spread(figures),
        }
        if stock:
            row["stock"] = _spread(stock)
            row["ratio"] = {name: statistics.median(values) for name, values in ratio.items()}
            row["ratios"] = ratio
        values = {goal: goal.value(row) for goal in self._work.goals}
        row["goals"] = {str(goal): None if value is None else goal.met(value) for goal, value in values.items()}
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

    def _ours(self) -> tuple[Ours, Counted]:
        transformers.set_seed(0)
        policy, play = self._policy(self._processor), self._play
        like = chat_model(self.recipe, self._stage, policy)
        chat = Counted(policy.model, policy.processor, like.sampling, like.settings, like.vision, play.script)
        trainer = make_trainer(
            self.recipe, self._stage, chat, policy.peft_config, play.tasks, play.root, self._folder / "work"
        )
        return Ours(trainer, self._play, chat), chat

    def _steps(
        self, against_trl: bool, repetitions: int
    ) -> tuple[list[Figures], list[Figures], dict[str, list[float]]]:
        ours, _ = self._ours()
        systems: list[Any] = [ours]
        if against_trl:
            transformers.set_seed(0)
            rewards, policy = partial(_looked_up, self._scores), self._policy(shallow(self._measured.processor))
            stock = make_stock(ours.trainer, self._stage, policy, self._play, rewards)
            systems.append(Stock(stock, self._play))
        alone = self._work.play == "rollout"
        if self._work.steps == 1:
            for system in systems:
                system.repeat(alone)  # to warm up
        figures: list[list[Figures]] = [[] for _ in systems]
        for n in range(repetitions):
            for i in range(len(systems)) if n % 2 == 0 else reversed(range(len(systems))):
                figures[i].append(systems[i].repeat(alone))
                self._tell(n + 1, repetitions, type(systems[i]).__name__.lower(), figures[i][-1])
        if not against_trl:
            return figures[0], [], {}
        names = ("rollout",) if alone else ("rollout", "step")
        pairs = list(zip(*figures, strict=True))
        ratio = {name: [b[f"{name}_seconds"] / a[f"{name}_seconds"] for a, b in pairs] for name in names}
        return figures[0], figures[1], ratio

    def _tell(self, n: int, of: int, who: str, figures: Figures) -> None:
        if self._notify is not None:
            known = [name for name in ("rollout", "step") if f"{name}_seconds" in figures]
            times = [f"{name} {figures[f'{name}_seconds']:.2f} s" for name in known]
            self._notify(f"{self._work.id}: repetition {n} of {of}, {who}: {', '.join(times)}")

    def _judge(self, _: bool, repetitions: int) -> tuple[list[Figures], list[Figures], dict[str, list[float]]]:
        like = chat_model(self.recipe, self._stage, Policy(self._measured.model, self._processor))
        chat = Counted(self._measured.model, self._processor, like.sampling, like.settings, like.vision)
        chat.script = self._play.script
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
        return figures, [], {}

    def _sft(self, _: bool, repetitions: int) -> tuple[list[Figures], list[Figures], dict[str, list[float]]]:
        from armlite.train.metrics import MetricsFile
        from armlite.train.sft import run_sft

        shared = {k: v for k, v in self._stage.model_dump().items() if k in SftSettings.model_fields and k != "kind"}
        cold = SftSettings(**{**shared, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1})
        conversations = []
        for (name, rollout), turns in self._play.turns.items():
            task = next(t for t in self._play.tasks if t.id == name)
            episode = Episode.open(task, self._play.settings, self._play.root, presented_order(task, 0), rollout)
            for turn in turns:
                episode.advance(self._vocabulary.text(turn[:-1]))
            conversations.append(episode.conversation)
        figures = []
        for n in range(repetitions):
            forget_peaks()
            start = at_rest()
            folder = self._folder / f"sft-{n}"
            folder.mkdir()
            run_sft(
                self.recipe,
                "sft",
                cold,
                self._policy(self._processor),
                conversations,
                folder,
                MetricsFile(folder / "metrics.jsonl"),
                False,
            )
            step = (at_rest() - start) / cold.steps
            figures.append({"step_seconds": step, "tokens": self._longest, **memory()})
        return figures, [], {}

    def _exact(self, _: bool, repetitions: int) -> tuple[list[Figures], list[Figures], dict[str, list[float]]]:
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
            figures.append(
                {
                    "logprob_mean_difference": differences.mean().item(),
                    "logprob_largest_difference": differences.max().item(),
                }
            )
        return figures, [], {}


def _looked_up(scores: dict[tuple[str, int], dict[str, float]], task: str, rollout: int) -> dict[str, float]:
    return scores[task, rollout]


def _spread(figures: Sequence[Figures]) -> dict[str, dict[str, float]]:
    """Median, least and most of each figure."""
    made = {}
    for name in figures[0]:
        values = [f[name] for f in figures]
        made[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return made
