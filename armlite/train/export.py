"""A judge as a plain model folder, for any server: adapters folded in, our chat template, its rules and its card."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from armlite.errors import ArmliteError, first_line
from armlite.hub import fetch_all, is_hub_id, patiently
from armlite.models.loading import DTYPES, WANTED, load
from armlite.models.places import Place, one_line, processor_source, resolve
from armlite.models.processor import load_processor
from armlite.rules import carries_rules, hub_rules, read_rules, write_rules
from armlite.train.card import write_card
from armlite.train.checkpoints import DISK, discard, draft_of, publish
from armlite.train.fold import SHARD, Adapter, fold, read_adapter

SAMPLING = ("do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty", "penalty_alpha")
"""Settings that servers take from a model's folder where a request has none; Qwen's ask for a penalty on repetition,
under which a judge says other things than it was trained to."""


@dataclass(frozen=True)
class Exported:
    """What an export has become."""

    folder: Path
    ruled: bool
    """Whether it carries rules (`armlite_rules.yaml`): of a model that armlite has not trained none are known."""
    whole: Place
    """The model that all the adapters were on."""


def export_weights(
    model: str, out: Path, dtype: str | None = None, shard: int = SHARD, name: str | None = None
) -> Exported:
    """Write a whole model folder that vLLM, SGLang or `transformers serve` can serve as it is.

    Plain LoRA adapters, also one on another, are folded in tensor by tensor; other kinds are merged in memory.

    Args:
        model: run directory, checkpoint, adapter or model folder, or hub id.
        out: folder to make.
        dtype: `float32`, `bfloat16` or `float16`; None: the type that the base is stored in.
        shard: bytes of a file of weights, at most.
        name: what its card calls it; None: its folder's name.

    Raises:
        ArmliteError: as `armlite.models.loading.load`; `out` is there already; the base is stored in 4 bits; the disk
            is full.
    """
    if out.exists():
        raise ArmliteError(f"{out} exists; give another --out")
    if dtype is not None and dtype not in DTYPES[1:]:
        raise ArmliteError(f"--dtype is {dtype!r}; it can be {', '.join(DTYPES[1:])}")
    place = resolve(model)
    if place.whole.packed:
        raise ArmliteError(
            f"{place.whole.source} is stored in 4 bits, into which no adapter can be merged: serve it with the adapter "
            "beside it (vLLM: --enable-lora), or train on the model that it was made of"
        )
    base, adapters = _folder(place.whole.source), _adapters(place)
    rules = hub_rules(model) if is_hub_id(model) else read_rules(model) if carries_rules(model) else None

    def write(folder: Path) -> None:
        if adapters is not None and any(base.glob("*.safetensors")):
            try:
                fold(base, adapters, folder, dtype, shard)
            except SafetensorError as error:
                raise ArmliteError(f"the weights of {base} could not be read: {first_line(error)}") from error
            _write_settings(base, folder, dtype)
        else:
            _merge_in_memory(place, base, folder, dtype)
        load_processor(processor_source(place)).save_pretrained(folder)
        if rules is not None:
            write_rules(folder, rules)
        write_card(folder, model, place.whole.source, name or out.name)

    try:
        publish(out, write)
    except OSError as error:
        if error.errno not in DISK:
            raise
        discard(draft_of(out))
        raise ArmliteError(f"cannot write {out}: {error.strerror}; make room, and say the same again") from error
    return Exported(out, rules is not None, place.whole)


def _folder(source: str) -> Path:
    """A model's or an adapter's files, fetched from the hub where it is there."""
    if Path(source).is_dir():
        return Path(source)
    with one_line(source):
        return patiently(lambda: fetch_all(source, "model", patterns=WANTED))


def _adapters(place: Place) -> list[Adapter] | None:
    """All adapters from the top down; None: one is no plain LoRA."""
    found: list[Adapter] = []
    while place.base is not None:
        adapter = read_adapter(_folder(place.source))
        if adapter is None:
            return None
        found.append(adapter)
        place = place.base
    return found


def _write_settings(base: Path, folder: Path, dtype: str | None) -> None:
    config = _read(base / "config.json")
    if dtype is not None:
        for part in (config, *(value for value in config.values() if isinstance(value, dict))):
            for name in {"dtype", "torch_dtype"} & part.keys():
                part[name] = dtype
        config.setdefault("dtype", dtype)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    if (base / "generation_config.json").is_file():
        settings = _read(base / "generation_config.json")
        kept = {name: value for name, value in settings.items() if name not in SAMPLING}
        (folder / "generation_config.json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


def _merge_in_memory(place: Place, base: Path, folder: Path, dtype: str | None) -> None:
    stored = _read(base / "config.json")
    whole = load(place.source, device="cpu", dtype=dtype or stored.get("dtype") or stored.get("torch_dtype") or "auto")[
        0
    ]
    if hasattr(whole, "merge_and_unload"):
        whole = whole.merge_and_unload()
    for name in SAMPLING:
        setattr(whole.generation_config, name, None)
    whole.save_pretrained(folder)


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8"))
