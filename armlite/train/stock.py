"""StockGRPOTrainer: TRL's own GRPOTrainer with the least that it needs to play a JudgeEnvironment.

TRL's loop stays TRL's: a malformed call ends a rollout, nothing is said at the call limit, images are encoded anew each
turn. `JudgeGRPOTrainer` is the one to train with; this one is for trainers that build on TRL's, and to compare with.
"""

from typing import Any

import numpy as np
import torch
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen3_template

from armlite.models.engine.vocabulary import Vocabulary
from armlite.tools import get_tool


class StockGRPOTrainer(GRPOTrainer):
    """GRPOTrainer, given a processor of `armlite.models`."""

    def __init__(self, *, model: Any, args: GRPOConfig, processing_class: Any, **kwargs: Any):
        # TRL knows the parsers of its own templates; calls in ours look like Qwen3's.
        processing_class.tokenizer.response_template = qwen3_template
        # A sampled image, video or role token would be an image that nobody gave, or a turn that nobody took.
        forbidden = Vocabulary(processing_class.tokenizer, model.config.get_text_config().vocab_size).forbidden
        args.generation_kwargs = {"suppress_tokens": forbidden, **(args.generation_kwargs or {})}
        super().__init__(model=model, args=args, processing_class=processing_class, **kwargs)
        # The schemas of our own wire; those that transformers makes of methods differ between its versions.
        self._env_tools = {e: [get_tool(m.__name__).schema for m in tools] for e, tools in self._env_tools.items()}

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[Any, Any, dict[str, Any]]:
        """TRL counts on tensors; without torchvision the processor gives lists unless it is asked for tensors."""
        ids, images, fields = super()._tokenize_prompts(prompts)
        made = {k: torch.as_tensor(np.array(v)) for k, v in fields.items() if k in ("pixel_values", "image_grid_thw")}
        return ids, images, {**fields, **made}
