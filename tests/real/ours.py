"""Our own evaluation of the invented sets with the scripted judge: predictions, exports and figures."""

import json
import shutil
from pathlib import Path
from typing import Any

from real.scripted import JUDGE, Scripted
from real.turns import RealSet

from armlite.evals.benchmarks import get_benchmark
from armlite.evals.folder import read_run
from armlite.evals.run import run_benchmark


def evaluate(one: RealSet, server: Scripted, folder: Path, order: str | None = None) -> dict[str, Any]:
    """`armlite eval --benchmark` on a set; its folder is `folder/NAME`, with `exports/` in it.

    Returns:
        Name of each figure -> its value.
    """
    published, out = folder / "published" / one.name, folder / "eval"
    for old in (published, out / one.name):
        shutil.rmtree(old, ignore_errors=True)
    published.mkdir(parents=True)
    one.ours(published, one.rows)
    run_benchmark(one.name, f"openai:{JUDGE}@{server.url}", published, out, order=order, options={"timeout": 60})
    summary = json.loads((out / one.name / "summary.json").read_text())
    return {name: figure["value"] for name, figure in summary["figures"].items()}


def items(one: RealSet, folder: Path) -> Any:
    """The judged items of that run, and their benchmark."""
    return get_benchmark(one.name), read_run(folder / "eval" / one.name).items
