"""The settings of a run's stages, and their names: the cold start, the two GRPO stages, and the base of a world.

Reference values (ARM-Thinker's released scripts) stand behind each knob.
"""

from typing import Literal, get_args

from pydantic import Field, FiniteFloat, ValidationInfo, field_validator, model_validator

from armlite.rewards import REWARDS, Success
from armlite.settings import Settings

StageName = Literal["sft", "grpo1", "sft2", "grpo2"]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""In the order in which a run goes through them."""
CHECKPOINTS = ("base", "sft", "control", "grpo1", "sft2", "grpo2")
"""What a run evaluates, in order: `base` is the model itself, `control` more SFT instead of GRPO."""


class StageSettings(Settings):
    adapter: Literal["none", "lora"] = "lora"
    """`none` trains all weights (of the language model, and of the vision tower with `train_vision`)."""
    train_vision: bool = False
    """Train the vision tower too; then images are not cached. Reference: frozen in SFT, not in GRPO."""
    steps: int = Field(100, gt=0)
    learning_rate: float = Field(2e-5, gt=0)
    warmup_ratio: float = Field(0.0, ge=0, le=1)
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "constant"
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    max_bad_steps: int = Field(3, gt=0)
    """A step whose gradient is not finite is skipped; so many in a row end the run."""
    optim: str = "adamw_torch"
    """`paged_adamw_8bit` where memory is short."""
    per_device_train_batch_size: int = Field(1, gt=0)
    """Sequences in one forward and backward pass."""
    gradient_accumulation_steps: int = Field(1, gt=0)
    gradient_checkpointing: bool = True
    save_steps: int = Field(50, gt=0)
    """A checkpoint to resume from every so many steps."""


class SftSettings(StageSettings):
    kind: Literal["sft"] = "sft"
    max_length: int = Field(8192, gt=0)
    """Longer conversations are left out and counted: a cut would split an image. Reference: 32768."""


class GrpoSettings(StageSettings):
    kind: Literal["grpo"] = "grpo"
    reward: str = "hierarchical"
    weights: dict[str, FiniteFloat] = Field({}, validate_default=True)
    """Part of the reward -> its size; those not named are of the reward's own size."""
    success: Success = "returned"
    """Which calls earn the part `success`: those that returned something, or, for comparison, all that ran without an
    error (`executed`: a search without a hit too). Reference: those that returned a crop or pages."""
    num_generations: int = Field(8, gt=1)
    """Rollouts of each task. Reference: 16."""
    tasks_per_step: int = Field(1, gt=0)
    """Reference: 512."""
    num_iterations: int = Field(1, gt=0)
    beta: float = Field(0.0, ge=0)
    """Weight of the KL term. Reference: 0."""
    epsilon: float = Field(0.2, gt=0)
    epsilon_high: float | None = None
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = "dapo"
    """Reference: token mean, which is `dapo`."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: int = Field(1024, gt=0)
    """Tokens of one turn."""
    max_context: int = Field(8192, gt=0)
    """Tokens of a conversation, images and tool text included. Reference: 65000 prompt + 8192 response."""
    train_overflow: bool = False
    """Train on rollouts whose last observation did not fit or whose turn ran out of tokens."""
    update_tokens: int | None = Field(None, gt=0)
    """Tokens that go through the model at once in the update, what rollouts begin with alike once. The same update
    whatever it is; None: `per_device_train_batch_size` rollouts.
    """
    shared_prefix: bool = True
    """Compute what rollouts in a part of the update begin with alike once for all; False: once for each, padded."""
    filter_rollouts: int = Field(0, ge=0)
    """Before the stage: drop tasks that the model gets right in each of so many rollouts. Reference: 5; 0: no
    filter.
    """
    curriculum: Literal["none", "easy_first"] = "none"
    """`easy_first`: each step's tasks come from a quarter of them that moves, over the stage, from those that are most
    often right in the difficulty filter to those that are least often; needs `filter_rollouts`.
    """

    @field_validator("weights")
    @classmethod
    def _spelt_out(cls, weights: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        reward = REWARDS.get(info.data.get("reward", ""))
        return {**reward.weights, **weights} if reward else weights

    @model_validator(mode="after")
    def _fits(self) -> "GrpoSettings":
        size = self.per_device_train_batch_size * self.gradient_accumulation_steps
        if size != self.num_generations * self.tasks_per_step:
            raise ValueError(
                f"per_device_train_batch_size x gradient_accumulation_steps ({size}) must equal "
                f"num_generations x tasks_per_step ({self.num_generations * self.tasks_per_step})"
            )
        if self.save_steps % self.num_iterations:
            raise ValueError(
                f"save_steps ({self.save_steps}) must be a multiple of num_iterations ({self.num_iterations}): "
                "rollouts in use are not saved, so a run could not be resumed amid them"
            )
        if self.curriculum == "easy_first" and not self.filter_rollouts:
            raise ValueError("curriculum: easy_first goes by pass rates: set filter_rollouts, which finds them")
        if self.max_new_tokens >= self.max_context:
            raise ValueError(f"max_new_tokens ({self.max_new_tokens}) must be below max_context ({self.max_context})")
        return self


class BaseSettings(SftSettings):
    """How the pocket model is trained before the first stage; the result is kept and used by all runs that say the same
    of it.
    """

    adapter: Literal["none"] = "none"  # type: ignore[assignment]
    train_vision: bool = True
    gradient_checkpointing: bool = False
    seed: int = 0
    """Of the base alone: runs of other seeds start from the same base."""
    n_traces: int = Field(4000, gt=0)
    without_tools: float = Field(0.5, ge=0, le=1)
    """Share of its traces that show no tools; in the others it calls what is of no use."""


class Stages(Settings):
    sft: SftSettings | None = None
    grpo1: GrpoSettings | None = None
    sft2: SftSettings | None = None
    """The second cold start, of a data recipe with `traces.rounds: 2` or in a pocket world: from the recipe's model
    anew, on traces that the judge after `grpo1` made. None: with the settings of `sft`; in a pocket world none."""
    grpo2: GrpoSettings | None = None

    def named(self) -> dict[StageName, SftSettings | GrpoSettings]:
        """The stages of the recipe, in order."""
        return {name: stage for name in STAGES if (stage := getattr(self, name)) is not None}
