"""A judge as a plain model folder, for any server: adapters merged, our chat template, and its rules."""

import json
from pathlib import Path

from armlite.errors import ArmliteError
from armlite.models.loading import load
from armlite.models.places import folders_of
from armlite.rules import carries_rules, read_rules, write_rules
from armlite.train.checkpoints import publish


def export_model(model: str, out: Path) -> bool:
    """Write a whole model folder that vLLM, SGLang or `transformers serve` can serve as it is.

    Weights keep the type that the base model is stored in.

    Args:
        model: run directory, checkpoint, adapter or model folder, or hub id.
        out: folder to make.

    Returns:
        Whether it carries rules (`armlite_rules.yaml`): of an adapter or model that armlite has not trained none are
        known.

    Raises:
        ArmliteError: as `armlite.models.loading.load`; `out` is there already; the base is stored in 4 bits.
    """
    if out.exists():
        raise ArmliteError(f"{out} exists; give another --out")
    base = folders_of(model)[-1:]
    stored = json.loads((base[0] / "config.json").read_text(encoding="utf-8")) if base else {}
    if stored.get("quantization_config"):
        raise ArmliteError(
            f"{base[0]} is stored in 4 bits, into which no adapter can be merged: serve it with the adapter beside it "
            "(vLLM: --enable-lora), or train on the model that it was made of"
        )
    dtype = stored.get("dtype") or stored.get("torch_dtype") or "auto"
    whole, processor = load(model, device="cpu", dtype=str(dtype))
    if hasattr(whole, "merge_and_unload"):
        whole = whole.merge_and_unload()
    rules = read_rules(model) if carries_rules(model) else None

    def write(folder: Path) -> None:
        whole.save_pretrained(folder)
        processor.save_pretrained(folder)
        if rules is not None:
            write_rules(folder, rules)

    publish(out, write)
    return rules is not None
