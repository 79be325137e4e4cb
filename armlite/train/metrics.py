"""`metrics.jsonl`: one line a training step, with the stage's name; never two lines for a step, however often a run
resumes.
"""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from armlite.store import write_atomic


class MetricsFile:
    """The metrics of a run.

    Args:
        path: the JSONL file.
        on_step: called with each new line's content, to show progress.
    """

    def __init__(self, path: Path, on_step: Any = None):
        self.path, self.on_step = path, on_step

    def read(self) -> list[dict[str, Any]]:
        """All lines; a torn last line does not count."""
        if not self.path.is_file():
            return []
        rows = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def rewind(self, stage: str, step: int) -> None:
        """Forget a stage's lines after a step: they will be written again."""
        kept = [r for r in self.read() if r["stage"] != stage or r["step"] <= step]
        write_atomic(self.path, "".join(json.dumps(r) + "\n" for r in kept))

    def append(self, stage: str, step: int, values: dict[str, Any]) -> None:
        """Add a line; a figure that is not finite is null, as JSON knows no other word for it."""
        finite = {k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in values.items()}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = {"stage": stage, "step": step, "time": now, **finite}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.on_step is not None:
            self.on_step(row)

    def callback(self, stage: str) -> TrainerCallback:
        """Writes what the Trainer logs."""
        return _Log(self, stage)


class _Log(TrainerCallback):
    def __init__(self, file: MetricsFile, stage: str):
        self._file, self._stage = file, stage

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and state.is_world_process_zero and "train_runtime" not in logs:
            self._file.append(self._stage, state.global_step, logs)
