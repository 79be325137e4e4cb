"""What a stage trains: a model with its processor, and the adapter that it gets."""

from dataclasses import dataclass, replace

import peft
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel

from armlite.models.processor import Processor
from armlite.recipe import LoraSettings


@dataclass(frozen=True, eq=False)
class Policy:
    """A model to train."""

    model: PreTrainedModel | PeftModel
    processor: Processor
    peft_config: LoraConfig | None = None
    """Of a new adapter; None: what is trainable is trained."""

    def with_adapter(self, settings: LoraSettings) -> "Policy":
        """The same with a new adapter."""
        config = peft.LoraConfig(
            r=settings.r,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=settings.target,
            task_type="CAUSAL_LM",
        )
        return replace(self, peft_config=config)
