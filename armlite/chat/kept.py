"""What stays of a session: the case as it stands and each judgment, in a folder of its own below the user's state."""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from armlite.errors import ArmliteError
from armlite.images import open_image
from armlite.judge import save
from armlite.store import write_atomic
from armlite.types import Verdict

CASE, VERDICTS = "case.json", "verdicts.jsonl"


def state_folder() -> Path:
    """`$ARMLITE_STATE`, or armlite's folder in the platform's place for what programs remember."""
    if named := os.environ.get("ARMLITE_STATE"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "armlite" / "state"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "armlite"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "armlite"


def sessions() -> list[Path]:
    """Folders of earlier sessions, the latest last."""
    return sorted(file.parent for file in (state_folder() / "chat").glob(f"*/{CASE}"))


class Kept:
    """A session's folder; made with the first thing that is kept.

    Args:
        folder: of a session that goes on; None: a new one.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder or state_folder() / "chat" / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{os.getpid()}"
        self._is_begun = folder is not None

    @property
    def is_begun(self) -> bool:
        """Whether anything was kept."""
        return self._is_begun

    def case(self, case: Any) -> None:
        """Keep the case as it stands."""
        self._is_begun = True
        write_atomic(self.folder / CASE, json.dumps(asdict(case), ensure_ascii=False, indent=2) + "\n")

    def verdict(self, verdict: Verdict) -> None:
        """Keep a judgment, for `armlite view` too."""
        self._is_begun = True
        append_verdict(verdict, self.folder)

    def read(self) -> tuple[dict[str, Any], list[Verdict]]:
        """The case and the judgments.

        Raises:
            ArmliteError: they are damaged.
        """
        try:
            case = json.loads((self.folder / CASE).read_text("utf-8"))
            file = self.folder / VERDICTS
            lines = file.read_text("utf-8").splitlines() if file.is_file() else []
            return case, [self._whole(Verdict.from_json(line)) for line in lines]
        except (OSError, ValueError, ValidationError) as error:
            raise ArmliteError(f"the session in {self.folder} cannot be read: {str(error).splitlines()[0]}") from error

    def _whole(self, verdict: Verdict) -> Verdict:
        """A verdict with its pictures, so that it can be saved elsewhere."""
        infos = {info.file for vote in verdict.trajectories for info in vote.images}
        verdict._images = {file: open_image(self.folder / "images" / file) for file in infos}
        return verdict


def append_verdict(verdict: Verdict, folder: Path) -> None:
    """Add a verdict to a folder: its line of `verdicts.jsonl`, its trajectories and pictures."""
    save(verdict, folder)
    with (folder / VERDICTS).open("a", encoding="utf-8") as file:
        file.write(verdict.to_json() + "\n")
