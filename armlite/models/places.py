"""What a user's word for a model stands for: folders and hub ids, found out without reading weights or loading torch.

`armlite.models.loading` makes models of it. All that can be wrong with the word is one line.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from safetensors import SafetensorError

from armlite.calibration import FILE as CALIBRATION
from armlite.errors import ArmliteError, first_line
from armlite.hub import patiently
from armlite.models.bases import Base, find
from armlite.pocket.shipped import FOLDER, folder_of
from armlite.settings import read_yaml
from armlite.stages import STAGES
from armlite.tools.documents.text_cache import cache_folder


@dataclass(frozen=True)
class Place:
    """Where a model is."""

    source: str
    """Folder or hub id."""
    base: "Place | None" = None
    """What the adapter at `source` goes on top of; None: `source` is a whole model."""
    packed: bool = False
    """The whole model is stored in 4 bits (bitsandbytes)."""
    model_type: str = ""
    """Of a whole model: its architecture, one of `armlite.models.bases`."""

    @property
    def whole(self) -> "Place":
        return self if self.base is None else self.base.whole

    @property
    def architecture(self) -> Base:
        """Of the whole model."""
        return find(self.whole.model_type, self.whole.source)


def check_model(spec: str, quantize: str | None = None, train_all: bool = False) -> None:
    """Find out before long work that a model is missing or cannot be used so; reads no weights.

    Args:
        quantize: as for `load`.
        train_all: all of its weights are to be trained, not an adapter on it.

    Raises:
        ArmliteError: as `load`.
    """
    place = resolve(spec)
    check_merging(place, quantize)
    if train_all and place.whole.packed:
        raise ArmliteError(
            f"{place.whole.source} is stored in 4 bits, and such weights cannot be trained: use adapter: lora, or the "
            "model that it was made of"
        )


def check_merging(place: Place, quantize: str | None) -> None:
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
    place = resolve(spec) if folder_of(spec).exists() else None
    found = []
    while place is not None:
        found += [Path(place.source)] if Path(place.source).is_dir() else []
        place = place.base
    return found


def calibration_file(spec: str) -> Path:
    """Where the calibration of a model is: beside its weights, or among the user's cached files where these are on a
    server or a hub.
    """
    found = folders_of(spec)
    if found and found[0] != FOLDER:  # an installed package is not written to
        return found[0] / CALIBRATION
    return cache_folder() / "calibrations" / f"{hashlib.sha256(spec.encode()).hexdigest()[:32]}.json"


def resolve(spec: str) -> Place:
    """Find out what a word for a model stands for, without loading it."""
    folder = folder_of(spec)
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
                return resolve(str(folder / "checkpoints" / stage))
        raise ArmliteError(f"the run {folder} has no finished checkpoint yet (looked for {', '.join(STAGES)})")
    raise ArmliteError(f"{folder} holds no model: neither config.json, adapter_config.json nor checkpoints/")


def _whole(folder: Path) -> Place:
    config = _read(folder / "config.json")
    model_type, packed = _check_kind(folder, config)
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise ArmliteError(f"{folder} has a config.json but no weights (*.safetensors)")
    return Place(str(folder), packed=packed, model_type=model_type)


def _check_kind(source: Path | str, config: dict[str, Any]) -> tuple[str, bool]:
    """See that a model can be loaded; returns its architecture and whether it is stored in 4 bits."""
    kind, stored = find(config.get("model_type"), source).model_type, config.get("quantization_config")
    if stored and not (stored.get("load_in_4bit") or stored.get("_load_in_4bit")):
        how = "bitsandbytes 8-bit" if stored.get("load_in_8bit") else stored.get("quant_method", "an unknown method")
        raise ArmliteError(
            f"{source} is quantised already ({how}), and of such only bitsandbytes 4-bit can be loaded: take the model "
            "that it was made of, with 4bit quantisation if memory is short, or serve it and say openai:MODEL@URL"
        )
    return kind, bool(stored)


def _adapter(folder: Path) -> Place:
    name = _read(folder / "adapter_config.json").get("base_model_name_or_path")
    if not name:
        raise ArmliteError(f"the adapter {folder} does not say what its base model is (base_model_name_or_path)")
    # A run directory may have been moved or copied as a whole: its stages are each other's neighbours.
    beside = folder.parent / Path(name).name
    inside = Path(name).parent.name == folder.resolve().parent.name == "checkpoints"
    if inside and _is_run_s_model(name, folder.resolve().parents[1]):
        tried = [Path(name)]
    else:
        tried = [*([beside] if inside else []), folder / name, Path(name), beside]
    there = (b for b in tried if b.is_dir() and b.resolve() != folder.resolve())
    if (found := next(there, None)) is not None:
        base = resolve(str(found))
    else:
        try:
            base = resolve(name)
        except ArmliteError as error:
            raise ArmliteError(f"the base model {name} of the adapter {folder} is missing: {error}") from error
    if not any(folder.glob("adapter_model.*")):
        raise ArmliteError(f"{folder} has an adapter_config.json but no weights (adapter_model.safetensors)")
    return Place(str(folder), base)


def _is_run_s_model(name: str, run: Path) -> bool:
    """Whether a name is that of the model that a run was made of: another run's stage, and no neighbour."""
    file = run / "recipe.yaml"
    model = read_yaml("recipe", file).get("model") if file.is_file() else None
    path = [part for part in Path((model or {}).get("path", "")).expanduser().parts if part not in (".", "..")]
    return bool(path) and [*Path(name).parts][-len(path) :] == path


def _on_hub(name: str) -> Place:
    files = _hub_files(name)
    with one_line(name):
        if "adapter_config.json" in files and "config.json" not in files:
            from peft import PeftConfig

            return Place(name, resolve(str(PeftConfig.from_pretrained(name).base_model_name_or_path)))
        from transformers import PreTrainedConfig

        config, _ = PreTrainedConfig.get_config_dict(name)
    model_type, packed = _check_kind(name, config)
    return Place(name, packed=packed, model_type=model_type)


def _hub_files(name: str) -> set[str]:
    """Names of a model's files on the hub; of one that was fetched before, those here."""
    here = {f for f in ("config.json", "adapter_config.json") if isinstance(try_to_load_from_cache(name, f), str)}
    if here:
        return here
    try:
        info = patiently(lambda: HfApi().model_info(name, timeout=10), answered=True)
        return {file.rfilename for file in info.siblings or ()}
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


def processor_source(place: Place) -> str:
    """The processor beside the adapter if there is one, else its base's."""
    if place.base is None or (Path(place.source) / "tokenizer_config.json").is_file():
        return place.source
    return processor_source(place.base)


@contextmanager
def one_line(source: str) -> Iterator[None]:
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
