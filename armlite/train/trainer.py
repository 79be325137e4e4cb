"""JudgeGRPOTrainer: TRL's GRPOTrainer whose generation step plays armlite episodes with armlite's loop and engine.

Everything after generation (padding, advantages, loss, checkpoints) stays TRL's; how a loss is computed in parts is in
`update`. These two files hold every private name of TRL that armlite touches: `_generate`'s eight results,
`environments`, `tools`, `_metrics`, `_generate_and_score_completions`, `_compute_loss` and
`_get_per_token_logps_and_entropies`. `check_seam` says in a sentence which of them changed.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from peft import PeftModel
from torch.nn.utils.rnn import pad_sequence
from transformers import PrinterCallback
from trl import GRPOTrainer

from armlite.errors import ArmliteError
from armlite.models.chances import chances
from armlite.models.engine.oom import print_to_stderr
from armlite.models.engine.session import eval_mode
from armlite.models.engine.tokens import TokenRecord, Tokens
from armlite.models.local import LocalModel
from armlite.rewards import Reward, is_right
from armlite.runner import Outcome, run_jobs
from armlite.train.fruitless import IN_A_ROW, UNSEEN, Fruitless
from armlite.train.microbatch import loss_mask, select_rows
from armlite.train.processes import is_first
from armlite.train.sharding import unsharded
from armlite.train.update import LeanGRPOTrainer
from armlite.types import Score, StopReason, Trajectory

RESULTS = "prompt_ids, completion_ids, tool_mask, completions, logprobs, extra_fields, images, tool_images"
"""What `_generate` returns."""
KL_EVERY, KL_ROWS = 5, 8
"""In steps, and rollouts of a step, how often and of what the distance to the start is measured."""
ALIKE = 1e-4
"""Advantages below are what rounding leaves where all rewards of a group are alike."""
Rollouts = Callable[[int, Sequence[Outcome], Sequence[Score]], None]


def check_seam() -> None:
    """Check that TRL still has the private names that this file relies on.

    Raises:
        ArmliteError: names what is missing.
    """
    import trl

    source = inspect.getsource(GRPOTrainer)
    seams = {
        "_generate(self, prompts": "the generation step",
        f"return {RESULTS}": "its results",
        "self.environments.append(": "one environment for each rollout",
        'self._metrics[mode]["frac_reward_zero_std"].append(': "its metrics",
        "per_token_logps, entropies, aux_loss = self._get_per_token_logps_and_entropies(": "the log-probabilities",
        "return self._compute_loss(model, inputs)": "its loss",
        "if self.tools and any(imgs for imgs in tool_images) and self._is_vlm": "images that tools return",
    }
    missing = [f"{what} (`{name}`)" for name, what in seams.items() if name not in source]
    if missing:
        raise ArmliteError(
            f"trl {trl.__version__} changed what armlite builds on: {'; '.join(missing)}. Install trl>=1.15,<1.17"
        )


class JudgeGRPOTrainer(LeanGRPOTrainer):
    """GRPO on episodes.

    Args:
        chat: the local model around the very weights that are trained.
        reward: of the rollouts; each of its parts is logged under its name.
        train_overflow: also learn from rollouts that ran out of tokens.
        on_rollouts: called with (step, outcomes, scores) after each generation for training.
        kwargs: of LeanGRPOTrainer; `environment_factory` from `armlite.train.environment`, deferred.
    """

    kl_every = KL_EVERY
    """Steps from one measurement of `kl` to the next; 0: it is not measured."""

    def __init__(
        self,
        *args: Any,
        chat: LocalModel,
        reward: Reward,
        train_overflow: bool = False,
        on_rollouts: Rollouts | None = None,
        **kwargs: Any,
    ):
        check_seam()
        self._chat, self._reward = chat, reward
        self._train_overflow, self._on_rollouts = train_overflow, on_rollouts
        self._scores: list[Score] = []
        self.outcomes: list[Outcome] = []
        """Of the last generation, in the order of its rows."""
        self._told: set[str] = set()
        """What has been told on stderr."""
        self._shown = False
        """The last generation has images."""
        super().__init__(*args, reward_funcs=[self._part(name) for name in reward.weights], **kwargs)
        if not self.tools:
            raise ArmliteError("the environment has no public tool method: TRL would drop the images of tools")
        self.remove_callback(PrinterCallback)  # metrics.jsonl and the screen have it all
        chat.model = self.model
        self._unfit = 0  # batches in a row of which no prompt fits
        self._fruitless = Fruitless(-(-self.args.max_steps // self.num_iterations))

    def _part(self, name: str) -> Callable[..., list[float]]:
        def part(**_: Any) -> list[float]:
            return [score.parts[name] for score in self._scores]

        part.__name__ = name
        return part

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        """Play this batch's jobs to their end; token-in, token-out."""
        training = self.model.training
        group = self.num_generations if training else self.num_generations_eval
        offset = self.accelerator.process_index * len(self.environments)  # processes take consecutive rows of a batch
        jobs = [
            replace(environment.job, rollout=self.state.global_step * group + i % group)
            for i, environment in enumerate(self.environments, offset)
        ]
        if training:  # all buffered batches have been used up; an evaluation between them must leave them their ids
            self._chat.vision.clear_ids()
        with unsharded(self.model):
            session = self._chat.session()
            ended = {id(o.job): o for o in run_jobs(jobs, self._chat, in_flight=len(jobs), session=session)}
            if self._reward.chances:
                self._measure_chances([o.episode for o in ended.values() if o.episode is not None])
        self._chat.settings = session.settings  # fewer slots if memory ran out
        self.outcomes = [ended[id(job)] for job in jobs]
        self._check_prompts()
        records = [self._record(session, outcome) for outcome in self.outcomes]
        trajectories = [outcome.trajectory for outcome in self.outcomes]
        self._scores = [self._earned(outcome) for outcome in self.outcomes]
        if training and self._on_rollouts is not None:
            self._on_rollouts(self.state.global_step, self.outcomes, self._scores)
        if training and is_first() and (said := self._fruitless.see(trajectories, self._scores, group)):
            self._tell(said)
        masks = [
            r.mask if self._teaches(t.stop) else [0] * len(r.mask) for r, t in zip(records, trajectories, strict=True)
        ]
        images = [r.images for r in records]
        self._shown = any(images)
        mode = "train" if training else "eval"
        self._measure(mode, records, trajectories)
        if session.stats.shortages:
            self._metrics[mode]["oom/rollout"].append(float(session.stats.shortages))
        self._at_hand = records, pad_sequence([torch.tensor(m) for m in masks], batch_first=True)
        return (
            [r.prompt_ids for r in records],
            [r.completion_ids for r in records],
            masks,
            [_completion(outcome) for outcome in self.outcomes],
            None,
            {},
            images if any(images) else None,  # a list of nothing would make TRL render the prompts itself
            images,  # with the prompts' own: with none here TRL would render the prompts too
        )

    def _measure_chances(self, episodes: list[Any]) -> None:
        """Have each episode know how likely the right answer was before its first call and after each."""
        for episode, known in zip(episodes, chances(self._chat, episodes), strict=True):
            episode.chances = known

    def _check_prompts(self) -> None:
        """Tell of prompts that did not fit; where none did for several batches it is a mistake in the recipe.

        Raises:
            ArmliteError: no prompt of this batch and of the `IN_A_ROW - 1` before it fits.
        """
        over = [o for o in self.outcomes if o.trajectory.stop is StopReason.CONTEXT_BUDGET and not o.trajectory.steps]
        self._unfit = self._unfit + 1 if len(over) == len(self.outcomes) else 0
        for outcome in over:
            what = f"the prompt of task {outcome.task.id} does not fit max_context; raise it or lower the pixel limits"
            if self._unfit == IN_A_ROW:
                raise ArmliteError(f"no prompt has fitted for {IN_A_ROW} batches: {what}")
            self._tell(what)

    def _tell(self, what: str) -> None:
        """A line on stderr, once."""
        if what not in self._told:
            self._told.add(what)
            print_to_stderr(f"rollouts: {what}")

    def _teaches(self, stop: StopReason) -> bool:
        return stop is not StopReason.BAD_INPUT and (self._train_overflow or stop not in UNSEEN)

    def _earned(self, outcome: Outcome) -> Score:
        """A rollout that could not be played earns nothing, whatever the reward says."""
        if outcome.fault is None:
            return self._reward(outcome.trajectory)
        self._tell(f"task {outcome.task.id} cannot be played: {outcome.fault.reason}")
        return Score(parts=dict.fromkeys(self._reward.weights, 0.0))

    def _record(self, session: Any, outcome: Outcome) -> TokenRecord:
        """The token ids of a rollout; of one whose prompt was never at the model two that teach nothing."""
        tokens = self.processing_class.tokenizer
        record = session.tokens(outcome.episode.conversation) if outcome.episode is not None else None
        if record is None or not record.completion_ids:
            stand_in = Tokens()
            stand_in.extend([tokens.eos_token_id], [])  # the prompt
            stand_in.extend([tokens.eos_token_id], [])  # the completion: TRL takes no empty one
            return stand_in.record()
        visual = sum(span.picture.tokens for span in record.spans)
        if (record.prompt_ids + record.completion_ids).count(self._image_pad_token_id) != visual:
            raise RuntimeError(f"task {outcome.task.id}: image tokens do not match images")
        return record

    def _measure(self, mode: str, records: Sequence[TokenRecord], trajectories: Sequence[Trajectory]) -> None:
        n = len(records)
        sampled = [sum(r.mask) for r in records]
        total = sum(len(r.prompt_ids) + len(r.completion_ids) for r in records)
        if mode == "train":
            self.state.num_input_tokens_seen += total
        calls = [step for t in trajectories for step in t.calls]
        failed = sum(not (s.observation and s.observation.ok) for s in calls)
        faults = sum(s.turn.fault is not None for t in trajectories for s in t.steps)
        values = {
            "completions/mean_length": sum(sampled) / n,
            "completions/max_length": max(sampled),
            "completions/clipped_ratio": sum(t.stop in UNSEEN for t in trajectories) / n,
            "tools/call_frequency": len(calls) / n,
            "tools/failure_frequency": failed / len(calls) if calls else 0.0,
            "tools/malformed_frequency": faults / n,
            "accuracy": sum(_right(t) for t in trajectories) / n,
            **{f"stop/{reason.value}": sum(t.stop is reason for t in trajectories) / n for reason in StopReason},
        }
        self._metrics[mode]["num_tokens"] = [self.state.num_input_tokens_seen]
        for name, value in values.items():
            self._metrics[mode][name].append(float(value))

    def _measure_groups(self, advantages: torch.Tensor) -> None:
        """`frac_reward_zero_std` of the groups, whatever `scale_rewards` is: TRL's is of the batch with `batch`.

        Args:
            advantages: (rollouts of this process,), before they are shuffled.
        """
        mode = "train" if self.model.training else "eval"
        group = self.num_generations if self.model.training else self.num_generations_eval
        groups = self.accelerator.gather(advantages).view(-1, group)  # (tasks, rollouts of each)
        alike = groups.abs().amax(dim=1) < ALIKE
        self._metrics[mode]["frac_reward_zero_std"][-1] = alike.float().mean().item()

    def _measure_kl(self, batch: dict[str, Any]) -> None:
        """TRL's `kl`, which it has with `beta` only: nats per token from the policy without its adapter.

        Estimated as TRL does, by exp(d) - d - 1 with d the difference of log-probabilities, of some rollouts. Not where
        there is no adapter, nor with several processes, whose parts would have to agree.
        """
        model = self.accelerator.unwrap_model(self.model)
        if self.beta or not isinstance(model, PeftModel) or self.accelerator.num_processes > 1:
            return
        n = len(batch["prompt_ids"])
        some = select_rows(batch, range(0, n, -(-n // KL_ROWS)))
        with eval_mode(model):
            now = self.logprobs(some)
            with model.disable_adapter():
                before = self.logprobs(some)
        away, mask = before - now, loss_mask(some)  # (B, T) each
        self._metrics["train"]["kl"].append(float(((away.exp() - away - 1) * mask).sum() / mask.sum().clamp(min=1)))

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        try:
            with self._chat.vision.ids_as_pixels(self.processing_class):
                output = super()._generate_and_score_completions(inputs)
            # A list with an entry for each row: TRL shuffles, splits and buffers it with the tensors.
            output["records"] = self._at_hand[0]
        finally:
            self._at_hand = None
        self._measure_groups(output["advantages"])
        if self.kl_every and self.model.training and self.state.global_step % self.kl_every == 0:
            self._measure_kl(output)
        if self._shown and "pixel_values" not in output:
            raise RuntimeError("TRL dropped the images of this batch: image tokens and images did not match")
        return output


def _completion(outcome: Outcome) -> list[dict[str, str]]:
    """What was said after the prompt, as TRL logs it."""
    if outcome.episode is None:
        return [{"role": "assistant", "content": ""}]
    return [{"role": m.role, "content": m.text} for m in outcome.episode.conversation.messages[1:]]


def _right(trajectory: Trajectory) -> bool:
    return bool(is_right(trajectory.task, trajectory.decision))
