"""A trainer that plays a script, measured: ours with its engine's counts, or the stock one.

A repetition is so many whole optimisation steps from cold caches, so that nothing of one is left to the next. Times on
CUDA are taken with the device at rest. Called by `armlite.bench.run`.
"""

import gc
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from armlite.bench.parts import Parts, Window, gradient_bytes, state_bytes
from armlite.bench.script import Play
from armlite.models.engine.sequence import Stats
from armlite.models.engine.session import EngineSession
from armlite.models.engine.vocabulary import Vocabulary
from armlite.models.local import LocalModel
from armlite.train.metrics import MetricsFile

Figures = dict[str, float]
GIB = 1 << 30


def at_rest() -> float:
    """Seconds of a clock, when the device has nothing left to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def memory() -> Figures:
    """Peak memory in GiB: of the card since `forget_peaks`, or of the process since its start."""
    if torch.cuda.is_available():
        return {
            "allocated_gib": torch.cuda.max_memory_allocated() / GIB,
            "reserved_gib": torch.cuda.max_memory_reserved() / GIB,
        }
    return {"rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)}


def forget_peaks() -> None:
    """Collect garbage; what is free goes back to the card, and its peaks start anew."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


class Counted(LocalModel):
    """A local model that keeps its sessions' statistics."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.stats: list[Stats] = []

    def session(self) -> EngineSession:
        made = super().session()
        self.stats.append(made.stats)
        return made


class Watch(TrainerCallback):
    """Notes the most bytes of each part in the optimisation steps of a trainer while it is `on`.

    An update goes from `begin_update` to just before the optimizer's step.

    Args:
        on: watch from the first step on, which is an update as a whole.
    """

    def __init__(self, on: bool = False) -> None:
        self.on = self._whole = on
        self.parts: Parts = {}
        self.gradient_norm: float | None = None
        """Of the last step."""
        self._window: Window | None = None

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if self._whole:
            self.begin_update()

    def note(self, found: Parts) -> None:
        """Keep the most of each part."""
        self.parts |= {part: max(value, self.parts.get(part, 0)) for part, value in found.items()}

    def begin_update(self) -> None:
        if self.on and self._window is None:
            self._window = Window()

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        if self._window is not None:
            self.gradients = gradient_bytes(model)
            # At its peak a pass holds all activations; gradients are there beside them from the second pass on.
            self.note({"activations": self._window.close()})
            self._window = None

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        self.gradient_norm = (logs or {}).get("grad_norm", self.gradient_norm)

    def on_step_end(self, *_: Any, model: Any, optimizer: Any, **__: Any) -> None:
        if self.on:
            found = state_bytes(model, optimizer)
            self.note({**found, "optimizer": found["optimizer"] + self.gradients})


class Watched(MetricsFile):
    """Where a stage's figures would go: its steps are watched in their place."""

    def __init__(self, file: Path, watch: Watch):
        super().__init__(file)
        self._watch = watch

    def callback(self, *_: Any) -> Watch:
        return self._watch


class _Steps(TrainerCallback):
    """Times each optimisation step, and notes what the card holds after it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.reserved: list[int] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._start = at_rest()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(at_rest() - self._start)
        if torch.cuda.is_available():
            self.reserved.append(torch.cuda.memory_reserved())


class System:
    """A trainer that plays a script, and what is known of its last repetition.

    Args:
        trainer: ours or the stock one.
        play: the script.
    """

    def __init__(self, trainer: Any, play: Play):
        self.trainer, self.play = trainer, play
        self.results: list[tuple[Any, ...]] = []
        self._seconds: dict[str, float] = defaultdict(float)
        self._alone = False
        """Rollouts are done without an update."""
        self._steps, self._watch = _Steps(), Watch()
        trainer.add_callback(self._steps)
        trainer.add_callback(self._watch)
        trainer.args.save_strategy = "no"
        for name in ("_generate", "_generate_and_score_completions"):
            setattr(trainer, name, self._timed(name, getattr(trainer, name)))

    def _timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            window = Window() if self._watch.on and name == "_generate" else None
            start = at_rest()
            result = work(*args, **kwargs)
            self._seconds[name] += at_rest() - start
            if window is not None:
                self._note_rollout(window.close())
            if name == "_generate":
                self.results.append(result)
            elif not self._alone:
                self._watch.begin_update()
            return result

        return timed

    @contextmanager
    def _ready(self) -> Iterator[None]:
        yield

    def _counts(self) -> Figures:
        return {}

    def _note_rollout(self, most: int) -> None:
        """What a rollout took is known."""

    def parts(self, rollout_only: bool = False) -> tuple[Parts, Figures]:
        """Do one repetition more; the most bytes of each part, and figures whose times mean nothing on a CPU."""
        self._watch.on = True
        try:
            figures = self.repeat(rollout_only)
        finally:
            self._watch.on = False
        return self._watch.parts, figures

    def repeat(self, rollout_only: bool = False) -> Figures:
        """Do one repetition, check what it sampled, and return its figures."""
        self.results.clear()
        self._seconds.clear()
        self._steps.seconds.clear()
        self._steps.reserved.clear()
        self._alone = rollout_only
        forget_peaks()
        before = self._counts()
        with self._ready():
            if rollout_only:
                rows = next(iter(self.trainer.get_train_dataloader()))
                self.trainer.model.train()
                self.trainer._generate_and_score_completions(rows)
            else:
                self.trainer.train()
        self._check()
        figures = self._figures(rollout_only)
        counts = self._counts()
        return figures | {name: (value - before[name]) / self._n for name, value in counts.items()} | memory()

    @property
    def _n(self) -> int:
        return len(self.results)

    def _check(self) -> None:
        """The script was kept: else figures of different work would be compared."""
        end = Vocabulary(self.trainer.processing_class.tokenizer, 0).end
        found = sum(
            m and i != end
            for r in self.results
            for ids, mask in zip(r[1], r[2], strict=True)
            for i, m in zip(ids, mask, strict=True)
        )
        wanted = self.play.sampled * (1 if self.play.work.varying else self._n)
        if found != wanted:
            raise RuntimeError(f"{type(self.trainer).__name__} sampled {found} tokens, the script has {wanted}")

    def _figures(self, rollout_only: bool) -> Figures:
        n, work = self._n, self.play.work
        rollout = self._seconds["_generate"] / n
        tokens = sum(len(p) + len(c) for r in self.results for p, c in zip(r[0], r[1], strict=True)) / n
        sampled = sum(sum(mask) for r in self.results for mask in r[2]) / n
        prompt = sum(len(ids) for result in self.results for ids in result[0]) / n / work.rollouts
        figures = {"rollout_seconds": rollout, "tokens": tokens, "prompt_tokens": prompt, "generated_tokens": sampled}
        figures["generated_tokens_per_second"] = sampled / rollout
        if not rollout_only:
            step = statistics.mean(self._steps.seconds)
            score = self._seconds["_generate_and_score_completions"] / n - rollout
            figures |= {
                "step_seconds": step,
                "score_seconds": score,
                "update_seconds": step - rollout - score,
                "trajectories_per_second": work.rollouts / step,
                "update_ms_per_token": 1000 * (step - rollout - score) / tokens,
            }
            if self._watch.gradient_norm is not None:
                figures["gradient_norm"] = self._watch.gradient_norm
            if len(self._steps.reserved) > 5:
                figures["reserved_growth"] = self._steps.reserved[-1] / self._steps.reserved[4]
        return figures


class Ours(System):
    """JudgeGRPOTrainer and the engine."""

    def __init__(self, trainer: Any, play: Play, chat: Counted):
        super().__init__(trainer, play)
        self._chat = chat
        trainer.kl_every = 0  # TRL does no such thing, and each repetition is a first step

    @contextmanager
    def _ready(self) -> Iterator[None]:
        self._chat.vision.clear()
        self._chat.stats.clear()
        with self._chat.vision.features_from_ids():
            yield

    def _note_rollout(self, most: int) -> None:
        cache = max(stats.cache_bytes for stats in self._chat.stats)
        self._watch.note({"cache": cache, "rollout": most - cache - self._chat.vision.held_bytes})

    def _counts(self) -> Figures:
        return {"images_encoded": self._chat.vision.encoded, "tokens_updated": self.trainer.tokens_updated}

    def _figures(self, rollout_only: bool) -> Figures:
        figures = super()._figures(rollout_only)
        stats, n = self._chat.stats, self._n
        for phase in ("vision", "prefill", "decode"):
            figures[f"{phase}_seconds"] = sum(getattr(s, f"{phase}_seconds") for s in stats) / n
        engine = sum(figures[f"{phase}_seconds"] for phase in ("vision", "prefill", "decode"))
        figures["tools_seconds"] = figures["rollout_seconds"] - engine
        figures["tokens_prefilled"] = sum(s.tokens_prefilled for s in stats) / n
        figures["tokens_copied"] = sum(s.tokens_copied for s in stats) / n
        figures["tokens_decoded"] = sum(s.tokens_decoded for s in stats) / n
        held = sum(len(images) for result in self.results for images in result[7]) / n
        for check in (self._chat.check, self.trainer.check):
            figures |= {f"difference_of_{way.replace(' ', '_')}": value for way, value in check.differences.items()}
        figures["images_dropped"] = self.play.images * self.play.work.rollouts - held
        return figures


class Stock(System):
    """TRL's own loop, with what its trainer counted."""

    def _counts(self) -> Figures:
        names = ("images_encoded", "tokens_prefilled", "tokens_decoded")
        return {name: getattr(self.trainer, name) for name in names}
