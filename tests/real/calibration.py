"""What calibrating does to the pocket judge: `python tests/real/calibration.py --run runs/pocket --write`; minutes.

Held-out tasks, half of them judged with the tools and half, others, by eye, where the pocket judge can only guess. Its
probabilities before and after `armlite calibrate`; those after are of judgments that were not fitted to.
"""

import contextlib
import io
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from serving import arguments, keep, say

from armlite.batch.run import judge_file
from armlite.cli import main as armlite
from armlite.data.tasks import write_tasks
from armlite.models.places import calibration_file
from armlite.pocket.world import generate

SEED = 4321
"""Tasks of a seed of its own: no stage, filter or evaluation has seen them."""


def judge(model: str, folder: Path, count: int) -> list[Path]:
    """Two batches: the first half of the tasks with tools, the second without."""
    outs = []
    for number, (name, tools) in enumerate((("tools", True), ("by_eye", False))):
        tasks = list(generate("test", count, SEED + number, folder / name))
        write_tasks(folder / name / "tasks.jsonl", tasks)
        summary = judge_file(
            folder / name / "tasks.jsonl", model, folder / f"{name}-out", tools=tools, cache=Path("off")
        )
        say(f"{name}: {json.dumps(summary['agreement'])}")
        outs.append(folder / f"{name}-out")
    return outs


def main() -> None:
    options = arguments("calibration")
    count = 500 if options.tasks == 150 else options.tasks
    model = str(options.run)
    if calibration_file(model).exists():
        raise SystemExit(f"{model} is calibrated already: {calibration_file(model)}")
    shutil.rmtree(options.folder, ignore_errors=True)
    outs = judge(model, options.folder, count)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        armlite(["calibrate", *map(str, outs), "--model", model, "--json"])
    found: dict[str, Any] = json.loads(printed.getvalue())
    calibration_file(model).unlink()
    row = {"date": time.strftime("%Y-%m-%d"), "python": sys.version.split()[0], **found["kinds"], "bins": found["bins"]}
    say(json.dumps(found["kinds"]))
    if options.write:
        keep("calibration.json", row, options.folder)


if __name__ == "__main__":
    main()
