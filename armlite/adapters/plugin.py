"""What lmms-eval finds through the entry point `lmms_eval.models`: `--model armlite` is known there once both are
installed. Loaded at every start of lmms-eval, so it imports nothing else of ours.
"""

from typing import Any


def manifest() -> Any:
    """The kit's `ModelManifest` of `armlite.adapters.lmms_eval.ArmliteModel`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest("armlite", simple_class_path="armlite.adapters.lmms_eval.ArmliteModel")
