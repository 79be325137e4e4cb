"""From what a user calls a model to weights: a hub id, a model folder, an adapter folder, or a run directory.

Only Qwen2.5-VL, the architecture that the engine runs. All that can be wrong with the user's word for it is one line.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from safetensors import SafetensorError
from transformers import BitsAndBytesConfig, PreTrainedConfig, Qwen2_5_VLForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from armlite.errors import ArmliteError, first_line
from armlite.models.processor import Qwen2_5_VLProcessor, load_processor
from armlite.recipe import STAGES

SKIP = ["model.visual", "lm_head"]
"""What 4-bit leaves alone. Transformers matches from the start of a module's name, so `visual` would skip nothing."""
MODEL_TYPE = "qwen2_5_vl"
OLD_NAMES = {r"^visual\.": "model.visual.", r"^model\.(?!language_model\.|visual\.)": "model.language_model."}
"""Names before transformers 4.52, which adapters of older LLaMA-Factory, ms-swift and TRL have -> ours."""
DTYPES = ("auto", "bfloat16", "float16", "float32")


@dataclass(frozen=True)
class _Place:
    """Where a model is."""

    source: str
    """Folder or hub id."""
    base: "_Place | None" = None
    """What the adapter at `source` goes on top of; None: `source` is a whole model."""
    packed: bool = False
    """The whole model is stored in 4 bits (bitsandbytes)."""

    @property
    def whole(self) -> "_Place":
        return self if self.base is None else self.base.whole


def load(
    spec: str | Path,
    *,
    quantize: Literal["4bit"] | None = None,
    dtype: str | torch.dtype = "auto",
    device: str = "auto",
    attn: str = "sdpa",
    trainable: bool = False,
) -> tuple[Any, Qwen2_5_VLProcessor]:
    """Load a model and its processor.

    Args:
        spec: hub id, model folder, PEFT adapter folder (its base is loaded, relative paths from the folder), or run
            directory (its last checkpoint).
        quantize: `4bit`: NF4 with double quantisation; the vision tower and the output layer stay as they are.
        dtype: `auto`: bfloat16 on CUDA, float32 on the CPU.
        device: `auto`: CUDA where there is one.
        attn: attention implementation of the model's own forward; the engine has its own.
        trainable: an adapter's weights are to be trained further.

    Raises:
        ArmliteError: nothing is there, it holds no model, it is another architecture or quantised in a way that is not
            known, an adapter's base is missing, or its tensors are not those that the base wants.
    """
    if quantize not in (None, "4bit"):
        raise ArmliteError(f"quantize is {quantize!r}; it can be '4bit' or nothing")
    if dtype not in DTYPES and not isinstance(dtype, torch.dtype):
        raise ArmliteError(f"dtype is {dtype!r}; it can be auto, {', '.join(DTYPES[1:])}")
    has_cuda = torch.cuda.is_available()
    if device.startswith("cuda") and not has_cuda:
        raise ArmliteError(f"device is {device!r}, but this machine (or this build of torch) has no CUDA: use 'cpu'")
    place = _resolve(str(spec))
    _check_merging(place, quantize)
    without_cudnn_attention()
    device = ("cuda" if has_cuda else "cpu") if device == "auto" else device
    if dtype == "auto":
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    elif isinstance(dtype, str):
        dtype = getattr(torch, dtype)
    model = _load(place, quantize, dtype, device, attn, trainable)
    return model.eval(), load_processor(_processor_source(place))


def without_cudnn_attention() -> None:
    """Leave scaled dot-product attention to its other kernels, for the rest of the process.

    cuDNN's is torch's first choice on H100 and H200. It makes a plan for every new shape, and ours change with every
    token; and under a mask its backward pass has returned NaN (pytorch issue 196678).
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


def check_model(spec: str, quantize: str | None = None, train_all: bool = False) -> None:
    """Find out before long work that a model is missing or cannot be used so; reads no weights.

    Args:
        quantize: as for `load`.
        train_all: all of its weights are to be trained, not an adapter on it.

    Raises:
        ArmliteError: as `load`.
    """
    place = _resolve(spec)
    _check_merging(place, quantize)
    if train_all and place.whole.packed:
        raise ArmliteError(
            f"{place.whole.source} is stored in 4 bits, and such weights cannot be trained: use adapter: lora, or the "
            "model that it was made of"
        )


def _check_merging(place: _Place, quantize: str | None) -> None:
    if place.base is not None and place.base.base is not None and (quantize or place.whole.packed):
        raise ArmliteError(
            f"{place.source} is an adapter on the adapter {place.base.source}; two of them cannot go on a 4-bit model: "
            "merge the lower one into a whole model first"
        )


def folders_of(spec: str) -> list[Path]:
    """The folders that a word for a model on this disk stands for, an adapter's before its base's; none of a hub id.

    Raises:
        ArmliteError: as `load`.
    """
    place = _resolve(spec) if Path(spec).expanduser().exists() else None
    found = []
    while place is not None:
        found += [Path(place.source)] if Path(place.source).is_dir() else []
        place = place.base
    return found


def _resolve(spec: str) -> _Place:
    """Find out what a word for a model stands for, without loading it."""
    folder = Path(spec).expanduser()
    if not folder.exists():
        if re.fullmatch(r"[\w.-]+/[\w.-]+", spec) and not spec.startswith("."):
            return _on_hub(spec)
        raise ArmliteError(
            f"there is no model {spec}: give a folder that exists, a hub id like Qwen/Qwen2.5-VL-7B-Instruct, "
            "or openai:MODEL@URL"
        )
    if (folder / "adapter_config.json").is_file():
        return _adapter(folder)
    if (folder / "config.json").is_file():
        return _whole(folder)
    if (folder / "checkpoints").is_dir():
        for stage in reversed(STAGES):
            if any((folder / "checkpoints" / stage / n).is_file() for n in ("adapter_config.json", "config.json")):
                return _resolve(str(folder / "checkpoints" / stage))
        raise ArmliteError(f"the run {folder} has no finished checkpoint yet (looked for {', '.join(STAGES)})")
    raise ArmliteError(f"{folder} holds no model: neither config.json, adapter_config.json nor checkpoints/")


def _whole(folder: Path) -> _Place:
    config = _read(folder / "config.json")
    packed = _check_kind(folder, config)
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise ArmliteError(f"{folder} has a config.json but no weights (*.safetensors)")
    return _Place(str(folder), packed=packed)


def _check_kind(source: Path | str, config: dict[str, Any]) -> bool:
    """See that a model can be loaded; returns whether it is stored in 4 bits."""
    kind, stored = config.get("model_type"), config.get("quantization_config")
    if kind != MODEL_TYPE:
        raise ArmliteError(f"{source} is a {kind or 'nameless'} model; only {MODEL_TYPE} (Qwen2.5-VL) can be loaded")
    if stored and not (stored.get("load_in_4bit") or stored.get("_load_in_4bit")):
        how = "bitsandbytes 8-bit" if stored.get("load_in_8bit") else stored.get("quant_method", "an unknown method")
        raise ArmliteError(
            f"{source} is quantised already ({how}), and of such only bitsandbytes 4-bit can be loaded: take the model "
            "that it was made of, with 4bit quantisation if memory is short, or serve it and say openai:MODEL@URL"
        )
    return bool(stored)


def _adapter(folder: Path) -> _Place:
    name = _read(folder / "adapter_config.json").get("base_model_name_or_path")
    if not name:
        raise ArmliteError(f"the adapter {folder} does not say what its base model is (base_model_name_or_path)")
    # A run directory may have been moved or copied as a whole: its stages are each other's neighbours.
    beside = folder.parent / Path(name).name
    own = [beside] if Path(name).parent.name == folder.resolve().parent.name == "checkpoints" else []
    there = (b for b in (*own, folder / name, Path(name), beside) if b.is_dir() and b.resolve() != folder.resolve())
    if (found := next(there, None)) is not None:
        base = _resolve(str(found))
    else:
        try:
            base = _resolve(name)
        except ArmliteError as error:
            raise ArmliteError(f"the base model {name} of the adapter {folder} is missing: {error}") from error
    if not any(folder.glob("adapter_model.*")):
        raise ArmliteError(f"{folder} has an adapter_config.json but no weights (adapter_model.safetensors)")
    return _Place(str(folder), base)


def _on_hub(name: str) -> _Place:
    files = _hub_files(name)
    with _one_line(name):
        if "adapter_config.json" in files and "config.json" not in files:
            from peft import PeftConfig

            return _Place(name, _resolve(str(PeftConfig.from_pretrained(name).base_model_name_or_path)))
        config, _ = PreTrainedConfig.get_config_dict(name)
    return _Place(name, packed=_check_kind(name, config))


def _hub_files(name: str) -> set[str]:
    """Names of a model's files on the hub; of one that was fetched before, those here. One request, never retried."""
    here = {f for f in ("config.json", "adapter_config.json") if isinstance(try_to_load_from_cache(name, f), str)}
    if here:
        return here
    try:
        return {file.rfilename for file in HfApi().model_info(name, timeout=10).siblings or ()}
    except GatedRepoError as error:
        raise ArmliteError(_gated(name)) from error
    except RepositoryNotFoundError as error:
        raise ArmliteError(
            f"{name} is no folder here, and the hub has no public model of that name; is it private: hf auth login"
        ) from error
    except Exception as error:  # whatever its HTTP library raises, which changes between versions
        why = first_line(error)
        raise ArmliteError(f"{name} is no folder here, and the hub cannot be asked for it: {why}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArmliteError(f"{path} cannot be read: {error}") from error


def _processor_source(place: _Place) -> str:
    """The processor beside the adapter if there is one, else its base's."""
    if place.base is None or (Path(place.source) / "tokenizer_config.json").is_file():
        return place.source
    return _processor_source(place.base)


def _load(
    place: _Place, quantize: str | None, dtype: torch.dtype, device: str, attn: str, trainable: bool = False
) -> Any:
    if place.base is None:
        with _one_line(place.source):
            return _load_whole(place, quantize, dtype, device, attn)
    base = _load(place.base, quantize, dtype, device, attn)
    if place.base.base is not None:
        base = base.merge_and_unload()
    with _one_line(place.source):
        return _with_adapter(base, place.source, trainable)


def _with_adapter(base: Any, source: str, trainable: bool) -> Any:
    """Put an adapter on a model; its names may be those of before transformers 4.52.

    Raises:
        ArmliteError: its tensors are not the ones that the model wants: PEFT would go on with those that fit.
    """
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights

    config = PeftConfig.from_pretrained(source)
    given = set(load_peft_weights(source, device="cpu", key_mapping=OLD_NAMES))
    wanted = config.target_modules
    modules = [name for name, _ in base.named_modules()]
    if isinstance(wanted, str) and not any(re.fullmatch(wanted, name) for name in modules):  # of old names too
        config.target_modules = sorted({_module_of(name) for name in given if ".lora_" in name})
    try:
        model = PeftModel.from_pretrained(base, source, config=config, is_trainable=trainable, key_mapping=OLD_NAMES)
    except ValueError as error:  # PEFT's word for targets that are not there
        raise ArmliteError(f"the adapter {source} is for another model: {str(error).splitlines()[0]}") from error
    expected = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    missing, unexpected = sorted(expected - given), sorted(given - expected - set(model.state_dict()))
    if missing or unexpected:
        named = f", such as {(unexpected or missing)[0]}"
        raise ArmliteError(
            f"the adapter {source} does not fit its base: {len(unexpected)} of its {len(given)} tensors have no place "
            f"there, and {len(missing)} are missing{named}"
        )
    return model


def _module_of(tensor: str) -> str:
    return tensor.removeprefix("base_model.model.").partition(".lora_")[0]


def _load_whole(place: _Place, quantize: str | None, dtype: torch.dtype, device: str, attn: str) -> Any:
    if not sys.stderr.isatty():  # a bar in a log or a pipe is noise
        disable_progress_bar()
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": attn, "output_loading_info": True}
    if quantize and not place.packed:  # which has a configuration of its own
        options["quantization_config"] = nf4(dtype)
    if quantize or place.packed or torch.device(device).type != "cpu":
        options["device_map"] = {"": device}
    model, info = Qwen2_5_VLForConditionalGeneration.from_pretrained(place.source, **options)
    if missing := sorted(info["missing_keys"]):
        raise ArmliteError(
            f"the weights in {place.source} are incomplete: {missing[0]} and {len(missing) - 1} more are missing"
        )
    if quantize or place.packed:
        _keep_unpacked(model)
    return model


def _keep_unpacked(model: Any) -> None:
    """Keep bitsandbytes from repacking weights for AVX-512 CPUs at the first forward in eval mode.

    The packed kernel rounds activations to bfloat16 and has no backward: after one rollout, training would go on with
    gradients cut at each quantised layer, and without a word.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


@contextmanager
def _one_line(source: str) -> Iterator[None]:
    """What may go wrong with weights on disk, as the user's one line."""
    try:
        yield
    except (OSError, ImportError, RuntimeError, ValueError, SafetensorError) as error:
        if any(isinstance(e, GatedRepoError) for e in (error, error.__cause__, error.__context__)):
            raise ArmliteError(_gated(source)) from error
        if isinstance(error, ValueError):  # PEFT's word for what it cannot fetch, and everybody's for a bug
            raise
        raise ArmliteError(f"the weights of {source} could not be loaded: {first_line(error)}") from error


def _gated(name: str) -> str:
    return f"{name} is gated: ask for access at {ENDPOINT}/{name}, then hf auth login, and try again"


def nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    """NF4 with double quantisation for the language model; computes in `dtype`."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(SKIP),
    )
