"""Operators of a decode step, counted without a card: of plain PEFT modules, and of the engine.

Both run on the `meta` device, where tensors have shapes and no numbers, so the processor does not matter. A view costs
nothing and is not counted. Scaled dot-product attention, RMS norm and the 4-bit product count as one each wherever they
are called as one, as a card runs them; what a module spells out counts as it is spelt. Not a measure of time: of what a
step asks the card for, and how many bytes that is. Called by `armlite.cli.bench`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache

from armlite.bench.models import replace_linears
from armlite.models.bases import find
from armlite.models.engine.decoder import Decoder, head_size
from armlite.plan.shapes import Shape, shape_of
from armlite.recipe import LoraSettings, Recipe

MODELS = tuple(f"Qwen/{name}-Instruct" for name in ("Qwen2.5-VL-7B", "Qwen2.5-VL-3B", "Qwen3-VL-8B", "Qwen3-VL-4B"))
"""What is counted where nothing else is asked for."""
FREE = set(
    "view _unsafe_view t transpose permute split split_with_sizes expand unsqueeze squeeze detach alias select slice "
    "as_strided unbind empty lift_fresh".split()
)
"""Operators that launch no kernel: other shapes of the same numbers, and memory that is not written yet."""
WHOLE = {functional.scaled_dot_product_attention: "attention", functional.rms_norm: "rms_norm"}
"""What a card runs as one, though it falls apart into many on `meta`."""
ELEMENTWISE = "elementwise"
KINDS = {
    "gemm_4bit": "4-bit product",
    **dict.fromkeys(("mm", "addmm", "addmm_", "bmm", "baddbmm"), "product"),
    **dict.fromkeys(
        ("cat", "clone", "_to_copy", "copy_", "index", "fill_", "index_put_", "embedding", "gather"), "copy"
    ),
    "attention": "attention",
}
"""Kinds to print; anything else is arithmetic, one number after the other."""
PARTLY = {"index", "embedding", "index_put_", "gather"}
"""Operators that touch as much of their first tensor as they write."""


class OperatorCount(TorchDispatchMode):
    """Counts operators that do some work, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self._whole, self._inside = _Whole(self), False

    def __enter__(self) -> Any:
        self._whole.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._whole.__exit__(*error)

    @property
    def kinds(self) -> dict[str, int]:
        """Operators by kind."""
        found = dict.fromkeys(("4-bit product", "product", "attention", "copy", ELEMENTWISE), 0)
        for name, count in self.counts.items():
            found[KINDS.get(name, ELEMENTWISE)] += count
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not self._inside and name not in FREE:
            self.add(name, (args, kwargs), result)
        return result

    def add(self, name: str, given: Any, result: Any) -> None:
        """Count one operator."""
        self.counts[name] += 1
        read = [t for t in tree_leaves(given) if isinstance(t, torch.Tensor)]
        made = sum(map(_nbytes, (t for t in tree_leaves(result) if isinstance(t, torch.Tensor))))
        if name == "index_put_":
            made = _nbytes(read[-1])
        if name in PARTLY:
            read = read[1:]
            made *= 2
        self.bytes += made + sum(map(_nbytes, read))

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Inside, nothing is counted: it is of an operator that has been."""
        self._inside = True
        try:
            yield
        finally:
            self._inside = False


class _Whole(TorchFunctionMode):
    def __init__(self, count: OperatorCount):
        super().__init__()
        self._count = count

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in WHOLE:
            return func(*args, **(kwargs or {}))
        with self._count.inside():
            result = func(*args, **(kwargs or {}))
        self._count.add(WHOLE[func], (args, kwargs), result)
        return result


def _nbytes(tensor: torch.Tensor) -> int:
    """Bytes of a tensor's numbers; those that stand for several places count once."""
    numbers = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        numbers *= size if stride or not size else 1
    return numbers * tensor.element_size()


@dataclass(frozen=True)
class Way:
    """What was counted of one way to take a decode step."""

    step: dict[str, int]
    """Operators of a whole step, by kind."""
    layer: dict[str, int]
    """Those of one layer."""
    step_bytes: int
    layer_bytes: int


@dataclass(frozen=True)
class Wanted:
    """What is counted: a model, its adapter, and the tokens that the cache holds already."""

    name: str
    config: Any
    """Of transformers, of the whole model."""
    quantize: bool = True
    r: int = 16
    target: str = LoraSettings().target
    tokens: int = 1024
    rows: int = 1
    dtype: torch.dtype = torch.bfloat16

    @property
    def title(self) -> str:
        weights = "NF4" if self.quantize else str(self.dtype).removeprefix("torch.")
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        return f"{self.name}, {weights}, LoRA r{self.r}, {rows}, {self.tokens:,} tokens in the cache"


def wanted_of(recipe: Recipe | None) -> list[Wanted]:
    """The recipe's model and adapter; None: `MODELS` in 4 bits with an adapter of rank 16.

    Raises:
        ArmliteError: the shape of the recipe's model is not known here.
    """
    if recipe is None:
        return [Wanted(name, config_of(shape_of(name))) for name in MODELS]
    model, lora = recipe.model, recipe.lora
    return [Wanted(model.path, config_of(shape_of(model.path)), model.quantize == "4bit", lora.r, lora.target)]


def config_of(shape: Shape) -> Any:
    """A configuration of that shape; the vision tower, which takes no part in a decode step, is as small as can be."""
    size = shape.head_size
    axes = [size // 8, 3 * size // 16, 3 * size // 16]  # their sizes do not matter here
    names = "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads vocab_size"
    text: dict[str, Any] = {name: getattr(shape, name) for name in names.split()}
    text |= {"head_dim": size, "bos_token_id": None, "eos_token_id": None}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": axes}
    vision = {"depth": 1, "hidden_size": 64, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
    vision["deepstack_visual_indexes"] = []  # type: ignore[assignment]
    kind = getattr(transformers, shape.base.model_class.replace("ForConditionalGeneration", "Config"))
    return kind(text_config=text, vision_config=vision, tie_word_embeddings=shape.tie_word_embeddings)


def count_operators(wanted: Wanted) -> dict[str, Way]:
    """Operators of one decode step of `modules` (transformers and PEFT) and of `ours`.

    Steps of one layer and of two are counted; the difference is a layer, and all layers are alike.
    """
    depth = wanted.config.get_text_config().num_hidden_layers
    found = {}
    for name, step in {"modules": _modules_step, "ours": _our_step}.items():
        one, two = (_counted(step, wanted, layers) for layers in (1, 2))
        layer = {kind: two.kinds[kind] - one.kinds[kind] for kind in two.kinds}
        whole = {kind: one.kinds[kind] + (depth - 1) * n for kind, n in layer.items()}
        more = two.bytes - one.bytes
        found[name] = Way(whole, layer, one.bytes + (depth - 1) * more, more)
    return found


def operator_rows(wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    """What `armlite bench --operators` prints, as plain data: a row a model."""
    return [{"what": w.title, **{name: vars(way) for name, way in count_operators(w).items()}} for w in wanted]


def operator_lines(row: dict[str, Any]) -> list[str]:
    """A row as lines of a table in Markdown, with what it is of in the first."""
    modules, ours = row["modules"], row["ours"]
    lines = [row["what"], "", "| | modules | ours | |", "|---|---|---|---|"]

    def line(what: str, theirs: int, mine: int, unit: str = "") -> None:
        lines.append(f"| {what} | {theirs:,}{unit} | {mine:,}{unit} | {100 * mine / theirs:.0f} % |")

    for kind, count in modules["layer"].items():
        if count:
            line(f"a layer: {kind}", count, ours["layer"][kind])
    for part in ("layer", "step"):
        line(f"**a {part}: all**", sum(modules[part].values()), sum(ours[part].values()))
    for part in ("layer", "step"):
        line(f"bytes moved a {part}", modules[f"{part}_bytes"] // 10**6, ours[f"{part}_bytes"] // 10**6, " MB")
    return lines


Step = Callable[[Any, Wanted], Callable[[], Any]]


def _counted(step: Step, wanted: Wanted, layers: int) -> OperatorCount:
    with torch.no_grad():
        work = step(skeleton(wanted, layers), wanted)
        with OperatorCount() as count:
            work()
    return count


def skeleton(wanted: Wanted, layers: int) -> Any:
    """A model on `meta` with so many text layers, its 4-bit modules and its adapter."""
    config = deepcopy(wanted.config)
    config.get_text_config().num_hidden_layers = layers
    config.vision_config.depth = 1
    config.dtype, config._attn_implementation = wanted.dtype, "sdpa"
    with torch.device("meta"):
        model = getattr(transformers, find(config.model_type, wanted.name).model_class)(config).to(wanted.dtype)
    if wanted.quantize:
        replace_linears(model, wanted.dtype)
        for module in model.modules():
            if hasattr(module, "quant_state"):
                _give_shape_of_nf4(module)
    model.requires_grad_(False)
    return get_peft_model(model, LoraConfig(r=wanted.r, lora_alpha=2 * wanted.r, target_modules=wanted.target)).eval()


def _give_shape_of_nf4(module: Any) -> None:
    """Weights of a `Linear4bit` as they are when quantised twice, without numbers."""
    from bitsandbytes.functional import QuantState
    from bitsandbytes.nn import Params4bit

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    shape, blocks = module.weight.shape, module.weight.numel() // 64
    inner = QuantState(absmax=empty(-(-blocks // 256)), blocksize=256, code=empty(256), dtype=torch.float32)
    state = QuantState(
        absmax=empty(blocks, dtype=torch.uint8),
        shape=shape,
        code=empty(16),
        blocksize=64,
        quant_type="nf4",
        dtype=module.compute_dtype,
        offset=empty(),
        state2=inner,
    )
    packed = empty(shape.numel() // 2, 1, dtype=torch.uint8)
    module.weight = Params4bit(packed, requires_grad=False, quant_state=state, bnb_quantized=True, module=module)
    module.quant_state = state
    if module.bias is not None:
        module.bias.data = module.bias.data.to(module.compute_dtype)


def _modules_step(model: Any, wanted: Wanted) -> Callable[[], Any]:
    """One token a row through transformers' own forward, with its own cache."""
    text = model.config.get_text_config()
    size = head_size(text)
    cache = DynamicCache(config=text)
    for layer in range(text.num_hidden_layers):
        held = torch.empty(
            wanted.rows, text.num_key_value_heads, wanted.tokens, size, dtype=wanted.dtype, device="meta"
        )
        cache.update(held, held, layer)
    token = torch.zeros(wanted.rows, 1, dtype=torch.long, device="meta")
    places = torch.full((3, wanted.rows, 1), wanted.tokens, device="meta")
    return lambda: (
        model(input_ids=token, position_ids=places, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    )


def _our_step(model: Any, wanted: Wanted) -> Callable[[], Any]:
    """One token a row through the engine's decoder."""
    decoder, n = Decoder(model), wanted.rows
    cache = decoder.new_cache()
    cache.resize(n, wanted.tokens + 64)
    decoder.extend_rotary_table(cache.length)
    slots, lengths = list(range(n)), [wanted.tokens] * n
    return lambda: decoder.step(cache, slots, [0] * n, lengths, lengths)
