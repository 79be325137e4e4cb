"""The module that lmms-eval imports for `--model armlite`; the class is in `armlite.adapters.lmms_eval`."""

from armlite.adapters.lmms_eval import ArmliteModel

__all__ = ["ArmliteModel"]
