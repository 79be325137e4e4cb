"""Writes judgments to a file in another program's form."""

import json
from collections.abc import Sequence
from pathlib import Path

from armlite.store import Saved, write_atomic
from armlite.telemetry.inspect_log import inspect_log
from armlite.telemetry.spans import Convention, traces


def write_traces(rows: Sequence[Saved], form: str, name: str, out: Path, version: str) -> int:
    """Write rows as `read` gives them; returns how many.

    Args:
        form: `otel`, `openinference` or `inspect`.
        name: of the evaluation, in an Inspect log.
        version: armlite's.

    Raises:
        ArmliteError: the place cannot be written to.
    """
    end = max((row.path.stat().st_mtime for row in rows if row.path is not None), default=0.0)
    if form == "inspect":
        found = inspect_log(rows, end, name, version)
    else:
        convention: Convention = "otel" if form == "otel" else "openinference"
        found = traces(rows, end, convention, version)
    write_atomic(out, json.dumps(found, ensure_ascii=False) + "\n")
    return len(rows)
