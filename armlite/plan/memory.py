"""How much memory a recipe's stages take on a GPU, part by part, from sizes alone.

Weights, adapters, optimiser states and the key-value cache are exact: tests compare them with real modules. What a
forward and backward pass keeps is counted from the operations of one layer. Beside what a 7B in 4 bits took of an H200
(`recipes/qwen2.5-vl-7b-24gb.bench.json`) all this is 0 to 10 % too much, as a test sees; with other cards it has not
been compared. `UNKNOWN` is the allowance for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from armlite.models.sampling import CACHE_BLOCK, FEATURE_BYTES, EngineSettings
from armlite.plan.shapes import Shape
from armlite.recipe import Recipe
from armlite.stages import GrpoSettings, SftSettings, StageName

GIB = 2**30
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight in NF4 with double quantisation: 4 bits, a byte a block of 64, a float32 a 256 of these."""
OPTIMIZER = {"adamw_torch": 8.0, "adamw_torch_fused": 8.0, "adamw_8bit": 2.1, "paged_adamw_8bit": 2.1}
"""Bytes of state a trained float32 weight; the 8-bit ones keep a float32 for each block of 256."""
ADAPTER_BYTES = 4
"""PEFT keeps adapters of half-precision models in float32."""
LOGITS = 4096
"""Positions whose logits are there at once in the update."""
UNKNOWN = 0.06
"""Share of what is not weights that is added for the allocator's rounding. On an H200 a 7B in 4 bits had reserved 0.27
GiB more than was in use in the cold start, and 0.54 to 0.88 in GRPO (2026-11-26)."""
WORKSPACE = 0.2
"""GiB for the libraries' workspaces."""
GRAPHS = 0.25
"""GiB for the memory that a recorded CUDA graph keeps to itself."""


BENCHED = {
    "language model": "weights",
    "embeddings and output": "weights",
    "vision tower": "weights",
    "adapter": "adapters",
    "gradients and optimizer": "optimizer",
    "key-value cache": "cache",
}
"""Part -> what a bench measures it as."""
PASSING = ("prefill", "activations", "logits", "pixels", "layers side by side")
"""Parts that a pass through the model takes: a bench measures them together."""


@dataclass(frozen=True)
class Load:
    """What goes through the model in one step of a stage, in tokens."""

    rollouts: int
    """Conversations of a step."""
    conversation: int
    """Tokens of the longest."""
    image: int
    """Visual tokens of the largest image."""
    images: int
    """Distinct images of a step."""
    update: int
    """Tokens, padding included, of the largest forward and backward pass."""
    asked: int = 0
    """Conversations that the difficulty filter, which runs before the stage, has in flight."""
    prefill: int | None = None
    """Tokens of the largest prefill pass; None: as many as the engine's settings allow."""


@dataclass(frozen=True)
class Memory:
    """Predicted peak of a stage."""

    parts: dict[str, float]
    """Name -> GiB, at the moment of the peak."""
    moment: str
    """`rollout` or `update`."""

    @property
    def gib(self) -> float:
        return sum(self.parts.values())

    def raised(self, factors: Mapping[str, float], name: StageName) -> "Memory":
        """With the parts that were measured to take more than the plan says raised by that.

        Those that took less stay: a bench's rollouts share more, and see smaller images, than a recipe lets happen.

        Args:
            factors: part of a bench (`armlite.bench.parts`) -> measured over planned.
            name: of the stage.
        """
        passing = "sft activations" if name.startswith("sft") else "activations"
        own = {**BENCHED, **dict.fromkeys(PASSING, passing if self.moment == "update" else "rollout")}
        return replace(self, parts={p: v * max(1.0, factors.get(own.get(p, ""), 1.0)) for p, v in self.parts.items()})


def load_of(recipe: Recipe, stage: SftSettings | GrpoSettings, shape: Shape) -> Load:
    """The most that a recipe lets happen in one step of a stage."""
    limits = recipe.episode.limits
    pixels = (limits.image_max_pixels, limits.crop_max_pixels, limits.sheet_max_pixels, limits.page_max_pixels)
    image = shape.image_tokens(max(pixels))
    if isinstance(stage, SftSettings):
        tokens = stage.max_length
        return Load(1, tokens, image, tokens // max(1, image), stage.per_device_train_batch_size * tokens)
    rollouts = stage.num_generations * stage.tasks_per_step
    tokens = stage.max_context
    update = getattr(stage, "update_tokens", None) or stage.per_device_train_batch_size * tokens
    asked = recipe.evaluation.batch if stage.filter_rollouts else 0
    return Load(rollouts, tokens, image, rollouts * (tokens // max(1, image)), update, asked)


def stage_memory(recipe: Recipe, name: StageName, shape: Shape, load: Load | None = None) -> Memory:
    """The peak of one stage: of the rollout or of the update, whichever is higher."""
    stage = recipe.stages.named()[name]
    size = 4 if recipe.model.dtype == "float32" else 2
    kept = weights(recipe, stage, shape, size)
    found = moments(recipe, stage, shape, load or load_of(recipe, stage, shape), size)
    for parts in found.values():
        moving = sum(v for k, v in parts.items() if k not in kept)
        graphs = GRAPHS if recipe.engine.cuda_graphs and isinstance(stage, GrpoSettings) else 0
        parts["allocator and workspaces"] = UNKNOWN * moving + WORKSPACE + graphs
    moment = max(found, key=lambda m: sum(found[m].values()))
    return Memory(found[moment], moment)


def moments(
    recipe: Recipe, stage: SftSettings | GrpoSettings, shape: Shape, load: Load, size: int
) -> dict[str, dict[str, float]]:
    """What tensors take in the update and, of GRPO, in the rollout, part by part.

    Args:
        size: bytes of a number that is not quantised.
    """
    kept = weights(recipe, stage, shape, size)
    features = gib(min(FEATURE_BYTES, load.images * load.image * (1 + shape.levels) * shape.hidden_size * size))
    cache = {} if stage.train_vision else {"image features": features}
    passes = update(stage, shape, load, size, recipe.model.quantize == "4bit")
    if isinstance(stage, SftSettings):
        pictures = max(1, load.update // max(1, load.image) // 4)
        passes["pixels"] = _pixels(shape, load.image, tower_size(recipe, size)) * pictures
    found = {"update": {**kept, **cache, **passes}}
    if isinstance(stage, GrpoSettings):
        found["rollout"] = {**kept, **cache, **rollout(recipe.engine, shape, load, size, recipe)}
    return found


def weights(recipe: Recipe, stage: SftSettings | GrpoSettings, shape: Shape, size: int) -> dict[str, float]:
    """What stays on the card for the whole stage."""
    linears = shape.linears * (NF4 if recipe.model.quantize == "4bit" else size)
    parts = {
        "language model": gib(linears + shape.text_rest * size),
        "embeddings and output": gib(shape.embeddings * size),
        "vision tower": gib(shape.vision * tower_size(recipe, size)),
    }
    state = OPTIMIZER.get(stage.optim, 8.0)
    if stage.adapter == "lora":
        trained = shape.adapter(recipe.lora.r, recipe.lora.target)
        parts["adapter"] = gib(trained * ADAPTER_BYTES)
        parts["gradients and optimizer"] = gib(trained * (ADAPTER_BYTES + state))
    else:
        trained = shape.total - (0 if stage.train_vision else shape.vision)
        parts["gradients and optimizer"] = gib(trained * (size + state * size / 4))
    return parts


def rollout(engine: EngineSettings, shape: Shape, load: Load, size: int, recipe: Recipe) -> dict[str, float]:
    """What the engine takes: cache, a prefill pass, a decode step."""
    slots = min(engine.max_slots, max(load.rollouts, load.asked))
    tokens = slots * -(-load.conversation // CACHE_BLOCK) * CACHE_BLOCK
    if engine.max_tokens_in_cache is not None:
        tokens = min(tokens, engine.max_tokens_in_cache)
    cache = gib(tokens * 2 * shape.num_hidden_layers * shape.kv_size * size)
    if engine.kv_budget_gib is not None:
        cache = min(cache, engine.kv_budget_gib)
    h, i = shape.hidden_size, shape.intermediate_size
    # One layer at a time, at the widest place: both projections, the activation and the product.
    token = size * (4 * h + 4 * i)
    width = load.prefill or min(engine.prefill_tokens, slots * load.conversation)
    # The engine's own: scales of 4-bit weights in float32, and adapters once more in the dtype of the model.
    own = shape.linears * 4 / 64 if recipe.model.quantize == "4bit" else 0
    own += shape.adapter(recipe.lora.r, recipe.lora.target) * size
    return {
        "layers side by side": gib(own),
        "key-value cache": cache,
        "prefill": gib(width * token) + _unpacked(shape, size, recipe.model.quantize == "4bit"),
        "logits": gib(slots * shape.vocab_size * 4 * 3),
        "pixels": _pixels(shape, load.image, tower_size(recipe, size)),
    }


def tower_size(recipe: Recipe, size: int) -> int:
    """Bytes of a number in the vision tower, which computes in float32 beside a text in float16."""
    return 4 if recipe.model.dtype == "float16" else size


def update(stage: SftSettings | GrpoSettings, shape: Shape, load: Load, size: int, packed: bool) -> dict[str, float]:
    """What one forward and backward pass takes."""
    h, layers = shape.hidden_size, shape.num_hidden_layers
    token = layer_bytes(shape, size, stage.adapter == "lora")
    if isinstance(stage, GrpoSettings):
        # Keys and values, repeated for their heads, and again for each rollout with those of what it goes on from: of
        # twice as many tokens as a pass has, as conversations go (`seconds.Course`). And both gradients of the MLP's
        # product, by the down projection and by its adapter.
        token += size * (6 * shape.q_size + 2 * shape.intermediate_size)
    kept = layers * h * size + token if stage.gradient_checkpointing else layers * token
    return {
        "activations": gib(load.update * kept) + _unpacked(shape, size, packed),
        "logits": gib(min(load.update, LOGITS) * min(shape.vocab_size, 32768) * 4),
    }


def layer_bytes(shape: Shape, size: int, adapter: bool) -> int:
    """Bytes that the backward pass of one decoder layer needs, for each token.

    Norms keep their input and its scaled copy; attention its queries, keys, values and result; the MLP both
    projections, the activation and the product. What adapters keep of their inputs the frozen layers do not; in half
    precision the casts around them leave two more copies.
    """
    h, i, q, kv = shape.hidden_size, shape.intermediate_size, shape.q_size, shape.kv_size
    plain = size * (2 * 2 * h + 2 * q + 2 * kv + h + 4 * i) + 4 * 2 * h
    if shape.base.head_norms:  # these keep their input and its scaled copy too
        plain += (size + 4) * (q + kv)
    return plain + (size * 2 * h if adapter and size < 4 else 0)


def gib(number: float) -> float:
    """Bytes in GiB."""
    return number / GIB


def _unpacked(shape: Shape, size: int, packed: bool) -> float:
    """The largest linear layer, unpacked from 4 bits for a product."""
    return gib(max(a * b for a, b in shape.projections.values()) * size) if packed else 0.0


def _pixels(shape: Shape, tokens: int, size: int) -> float:
    """An image on its way through the tower, alone: its pixels and one block's activations."""
    patches = tokens * shape.spatial_merge_size**2
    return gib(
        patches * (shape.patch_numbers * 4 + size * (8 * shape.vision_hidden_size + 4 * shape.vision_intermediate_size))
    )
