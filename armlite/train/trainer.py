"""JudgeGRPOTrainer: TRL's GRPOTrainer whose generation step plays armlite episodes with armlite's loop and engine.

Everything after generation (padding, advantages, loss, checkpoints) stays TRL's; how a loss is computed in parts is in
`update`. These two files hold every private name of TRL that armlite touches: `_generate`'s eight results,
`environments`, `tools`, `_metrics`, `_generate_and_score_completions`, `_compute_loss` and
`_get_per_token_logps_and_entropies`. `check_seam` says in a sentence which of them changed.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PrinterCallback
from trl import GRPOTrainer

from armlite.episode import Episode
from armlite.errors import ArmliteError
from armlite.loop import play
from armlite.models.engine.tokens import TokenRecord
from armlite.models.local import LocalModel
from armlite.rewards import REWARDS, Weights, is_right
from armlite.train.sharding import unsharded
from armlite.train.update import LeanGRPOTrainer
from armlite.types import Score, StopReason, Trajectory

RESULTS = "prompt_ids, completion_ids, tool_mask, completions, logprobs, extra_fields, images, tool_images"
"""What `_generate` returns."""
Rollouts = Callable[[int, Sequence[Trajectory], Sequence[Score], Sequence[Episode]], None]
_UNSEEN = (StopReason.CONTEXT_BUDGET, StopReason.TURN_BUDGET)
"""Stops at which the policy did not say its last word."""


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
        "self._metrics[mode]": "its metrics",
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
        reward: name of the reward.
        weights: size of its parts.
        train_overflow: also learn from rollouts that ran out of tokens.
        on_rollouts: called with (step, trajectories, scores, episodes) after each generation for training.
        kwargs: of LeanGRPOTrainer; `environment_factory` from `armlite.train.environment`.
    """

    def __init__(
        self,
        *args: Any,
        chat: LocalModel,
        reward: str,
        weights: Weights,
        train_overflow: bool = False,
        on_rollouts: Rollouts | None = None,
        **kwargs: Any,
    ):
        check_seam()
        self._chat, self._reward, self._weights = chat, reward, weights
        self._train_overflow, self._on_rollouts = train_overflow, on_rollouts
        self._scores: list[Score] = []
        super().__init__(*args, reward_funcs=[self._part(name) for name in Weights.model_fields], **kwargs)
        if not self.tools:
            raise ArmliteError("the environment has no public tool method: TRL would drop the images of tools")
        self.remove_callback(PrinterCallback)  # metrics.jsonl and the screen have it all
        chat.model = self.model

    def _part(self, name: str) -> Callable[..., list[float]]:
        def part(**_: Any) -> list[float]:
            return [score.parts[name] for score in self._scores]

        part.__name__ = name
        return part

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        """Play this batch's environments to their end; token-in, token-out."""
        training = self.model.training
        episodes = [environment._episode for environment in self.environments]
        group = self.num_generations if training else self.num_generations_eval
        offset = self.accelerator.process_index * len(episodes)  # processes take consecutive rows of a batch
        for i, episode in enumerate(episodes, offset):
            episode.conversation.rollout = self.state.global_step * group + i % group
        if training:  # all buffered batches have been used up; an evaluation between them must leave them their ids
            self._chat.vision.clear_ids()
        with unsharded(self.model):
            session = play(episodes, self._chat)
        self._chat.settings = session.settings  # fewer slots if memory ran out
        records = [session.tokens(e.conversation) for e in episodes]
        self._check(episodes, records)
        trajectories = [e.trajectory() for e in episodes]
        self._scores = [REWARDS[self._reward](t, self._weights) for t in trajectories]
        if training and self._on_rollouts is not None:
            self._on_rollouts(self.state.global_step, trajectories, self._scores, episodes)
        masks = [
            r.mask if self._train_overflow or t.stop not in _UNSEEN else [0] * len(r.mask)
            for r, t in zip(records, trajectories, strict=True)
        ]
        images = [r.images for r in records]
        mode = "train" if training else "eval"
        self._measure(mode, records, trajectories)
        if session.stats.shortages:
            self._metrics[mode]["oom/rollout"].append(float(session.stats.shortages))
        self._at_hand = records, pad_sequence([torch.tensor(m) for m in masks], batch_first=True)
        completions = [[{"role": m.role, "content": m.text} for m in e.conversation.messages[1:]] for e in episodes]
        return (
            [r.prompt_ids for r in records],
            [r.completion_ids for r in records],
            masks,
            completions,
            None,
            {},
            images if any(images) else None,  # a list of nothing would make TRL render the prompts itself
            images,  # with the prompts' own: with none here TRL would render the prompts too
        )

    def _check(self, episodes: Sequence[Episode], records: Sequence[TokenRecord]) -> None:
        pad = self._image_pad_token_id
        for episode, record in zip(episodes, records, strict=True):
            if not record.completion_ids:
                raise ArmliteError(
                    f"the prompt of task {episode.task.id} does not fit max_context; raise it or lower the pixel limits"
                )
            tokens = sum(span.picture.tokens for span in record.spans)
            if (record.prompt_ids + record.completion_ids).count(pad) != tokens:
                raise RuntimeError(f"task {episode.task.id}: image tokens do not match images")

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
            "completions/clipped_ratio": sum(t.stop in _UNSEEN for t in trajectories) / n,
            "tools/call_frequency": len(calls) / n,
            "tools/failure_frequency": failed / len(calls) if calls else 0.0,
            "tools/malformed_frequency": faults / n,
            "accuracy": sum(_right(t) for t in trajectories) / n,
            **{f"stop/{reason.value}": sum(t.stop is reason for t in trajectories) / n for reason in StopReason},
        }
        self._metrics[mode]["num_tokens"] = [self.state.num_input_tokens_seen]
        for name, value in values.items():
            self._metrics[mode][name].append(float(value))

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        try:
            with self._chat.vision.ids_as_pixels(self.processing_class):
                output = super()._generate_and_score_completions(inputs)
            # A list with an entry for each row: TRL shuffles, splits and buffers it with the tensors.
            output["records"] = self._at_hand[0]
        finally:
            self._at_hand = None
        if any(e._episode.memory.images for e in self.environments) and "pixel_values" not in output:
            raise RuntimeError("TRL dropped the images of this batch: image tokens and images did not match")
        return output


def _right(trajectory: Trajectory) -> bool:
    return bool(is_right(trajectory.task, trajectory.decision))
