"""TRL's own loop on the bench's script: `StockGRPOTrainer`, whose sampled tokens a logits processor forces.

`armlite.train.stock` holds all that was fixed for TRL to run at all: the chat template and the parser it is given, the
tensors that its processor lacks without torchvision, and control tokens that are never sampled. Nothing else is changed
here: its generation, tool loop, image processing, log-probabilities and update are those of the installed TRL.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, PrinterCallback
from trl import GRPOConfig

from armlite.bench.script import Play
from armlite.rewards import hierarchical
from armlite.stages import GrpoSettings
from armlite.train.environment import environment_factory
from armlite.train.policy import Policy
from armlite.train.stock import StockGRPOTrainer


class ForcedTokens(LogitsProcessor):
    """Leaves one token a row and position; behind a row's last one, the filler.

    Args:
        rows: token ids to be generated, by row.
        prompt: tokens of the padded prompt.
        filler: any id.
    """

    def __init__(self, rows: Sequence[Sequence[int]], prompt: int, filler: int):
        width = max(map(len, rows)) + 1
        self._ids = torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])
        self._prompt = prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        wanted = self._ids[:, input_ids.shape[1] - self._prompt].to(scores.device)
        return torch.full_like(scores, float("-inf")).scatter_(1, wanted[:, None], 0.0)


class ScriptedStock(StockGRPOTrainer):
    """The stock trainer, playing a script.

    Attributes:
        images_encoded, tokens_prefilled, tokens_decoded: of all work so far; padding does not count.
    """

    def __init__(self, *, play: Play, **kwargs: Any):
        super().__init__(**kwargs)
        self.remove_callback(PrinterCallback)
        self.images_encoded = self.tokens_prefilled = self.tokens_decoded = 0
        self._play, self._turn = play, 0
        self._generate_freely = self.model.generate
        self.model.generate = self._generate_forced
        self.model.get_base_model().model.visual.register_forward_pre_hook(self._count_images, with_kwargs=True)

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        self._turn = 0
        return super()._generate(prompts)

    def _generate_forced(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """`generate` for the next turn of all rollouts, which have the same number of turns."""
        if len(input_ids) != len(self.environments):
            raise RuntimeError(
                f"{len(input_ids)} of {len(self.environments)} rollouts went on: the script was not kept"
            )
        group = self._play.work.group
        own = [(e.episode.task.id, i % group) for i, e in enumerate(self.environments)]
        rows = [self._play.turns[key][self._turn] for key in own]
        self._turn += 1
        self.tokens_prefilled += int(attention_mask.sum())
        self.tokens_decoded += sum(map(len, rows))
        forced = ForcedTokens(rows, input_ids.shape[1], self.processing_class.tokenizer.pad_token_id)
        processors = LogitsProcessorList([forced])
        return self._generate_freely(
            input_ids=input_ids, attention_mask=attention_mask, logits_processor=processors, **kwargs
        )

    def _count_images(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        grid = kwargs["grid_thw"] if "grid_thw" in kwargs else args[1]
        self.images_encoded += len(grid)


def make_stock(
    ours: Any,
    stage: GrpoSettings,
    policy: Policy,
    play: Play,
    rewards: Mapping[tuple[str, int], Mapping[str, float]],
) -> Any:
    """A stock trainer with the arguments, data and environment of one of ours.

    Args:
        ours: a `JudgeGRPOTrainer`.
        stage: the settings it was made of.
        policy: other modules on the same weights.
        rewards: (task id, rollout) -> parts of the hierarchical reward.
    """
    group = play.work.group

    def part(name: str) -> Callable[..., list[float]]:
        def function(environments: Sequence[Any], **_: Any) -> list[float]:
            return [rewards[e.episode.task.id, i % group][name] for i, e in enumerate(environments)]

        function.__name__ = name
        return function

    tools = ("image_zoom_in_tool",)
    if play.work.pages:
        tools += ("doc_page_retrieval_by_query", "doc_page_retrieval_by_index")
    return ScriptedStock(
        play=play,
        model=policy.model,
        args=same_arguments(ours.args, stage),
        train_dataset=ours.train_dataset,
        processing_class=policy.processor,
        peft_config=policy.peft_config,
        environment_factory=environment_factory(play.settings, play.root, tools),
        reward_funcs=[part(name) for name in hierarchical.weights],
    )


def same_arguments(ours: GRPOConfig, stage: GrpoSettings) -> GRPOConfig:
    """Our trainer's arguments for the stock one: ours cuts a step into parts by itself, so its own name no cut."""
    arguments = deepcopy(ours)
    arguments.output_dir = f"{arguments.output_dir}-stock"
    arguments.steps_per_generation *= stage.gradient_accumulation_steps // arguments.gradient_accumulation_steps
    arguments.gradient_accumulation_steps = stage.gradient_accumulation_steps
    arguments.per_device_train_batch_size = stage.per_device_train_batch_size
    return arguments


def share_weights(model: Any) -> Any:
    """A copy of a model's modules around the very same weights, for a second trainer beside the first."""
    tensors = [*model.parameters(), *model.buffers()]
    return deepcopy(model, {id(t): t for t in tensors})
