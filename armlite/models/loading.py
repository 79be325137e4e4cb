"""From what a user calls a model to weights: a hub id, a model folder, an adapter folder, or a run directory.

Only of the architectures in `models/bases`, which the engine runs. What can be wrong with the user's word is one line.
"""

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import BitsAndBytesConfig
from transformers.utils.logging import disable_progress_bar

from armlite.errors import ArmliteError
from armlite.hub import fetch_all, may_pass, patiently
from armlite.models.bases import Base
from armlite.models.device import find_device, spare_the_tower, usual_dtype
from armlite.models.places import Place, check_merging, one_line, processor_source, resolve
from armlite.models.processor import Processor, load_processor

OLD_NAMES = {r"^visual\.": "model.visual.", r"^model\.(?!language_model\.|visual\.)": "model.language_model."}
"""Names before transformers 4.52, which adapters of older LLaMA-Factory, ms-swift and TRL have -> ours."""
WANTED = ["*.json", "*.jinja", "*.txt", "*.yaml", "*.safetensors"]
"""Files of a hub model that are fetched at once; weights of the older kind (`*.bin`) transformers gets."""
DTYPES = ("auto", "bfloat16", "float16", "float32")


def load(
    spec: str | Path,
    *,
    quantize: Literal["4bit"] | None = None,
    dtype: str | torch.dtype = "auto",
    device: str = "auto",
    attn: str = "sdpa",
    trainable: bool = False,
) -> tuple[Any, Processor]:
    """Load a model and its processor.

    Args:
        spec: hub id, model folder, PEFT adapter folder (its base is loaded, relative paths from the folder), or run
            directory (its last checkpoint).
        quantize: `4bit`: NF4 with double quantisation; the vision tower and the output layer stay as they are.
        dtype: `auto`: bfloat16, or float16 where the device has none, float32 on the CPU. The vision tower of a float16
            model computes in float32.
        device: `auto`: CUDA where there is one, else the CPU; `mps`: Apple's GPU.
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
    device = find_device(device)
    if quantize and device == "mps":
        raise ArmliteError("4-bit weights are not for device 'mps': leave out quantize, or take device 'cpu'")
    place = resolve(str(spec))
    check_merging(place, quantize)
    fetch(place)
    without_cudnn_attention()
    if isinstance(dtype, str):
        dtype = usual_dtype(device) if dtype == "auto" else getattr(torch, dtype)
    with without_developers_warnings():
        model = _load(place, quantize, dtype, device, attn, trainable)
    if dtype == torch.float16:
        spare_the_tower(model.get_base_model() if hasattr(model, "get_base_model") else model)
    return model.eval(), load_processor(processor_source(place))


@contextmanager
def without_developers_warnings() -> Iterator[None]:
    """Pass over what libraries tell each other's developers: that a name goes away, that a kernel is not there."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", category=category, module=r"(transformers|peft|trl|accelerate|torch)\b")
        yield


def fetch(place: Place) -> None:
    """Get a hub model's files into the hub's cache: all of them, or an error.

    Transformers takes a file that it wants but need not have, and that did not come, for one that is not there.

    Raises:
        ArmliteError: the hub or the network fails for good.
    """
    if place.base is not None:
        fetch(place.base)
    if not Path(place.source).is_dir():
        with one_line(place.source):
            try:
                patiently(lambda: fetch_all(place.source, "model", patterns=WANTED), answered=True)
            except Exception as error:
                if not may_pass(error):  # without a network Transformers reads what was fetched before
                    raise


def without_cudnn_attention() -> None:
    """Leave scaled dot-product attention to its other kernels, for the rest of the process.

    cuDNN's is torch's first choice on H100 and H200. It makes a plan for every new shape, and ours change with every
    token; and under a mask its backward pass has returned NaN (pytorch issue 196678).
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


def _load(
    place: Place, quantize: str | None, dtype: torch.dtype, device: str, attn: str, trainable: bool = False
) -> Any:
    if place.base is None:
        with one_line(place.source):
            return _load_whole(place, quantize, dtype, device, attn)
    base = _load(place.base, quantize, dtype, device, attn)
    if place.base.base is not None:
        base = base.merge_and_unload()
    with one_line(place.source):
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


def _load_whole(place: Place, quantize: str | None, dtype: torch.dtype, device: str, attn: str) -> Any:
    if not sys.stderr.isatty():  # a bar in a log or a pipe is noise
        disable_progress_bar()
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": attn, "output_loading_info": True}
    if quantize and not place.packed:  # which has a configuration of its own
        options["quantization_config"] = nf4(dtype, place.architecture)
    if quantize or place.packed or torch.device(device).type != "cpu":
        options["device_map"] = {"": device}
    model, info = getattr(transformers, place.architecture.model_class).from_pretrained(place.source, **options)
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


def nf4(dtype: torch.dtype, base: Base) -> BitsAndBytesConfig:
    """NF4 with double quantisation for the language model of an architecture; computes in `dtype`."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(base.skip),
    )
