"""A trajectory as the list of chat messages that its judge saw and wrote; the forms of `telemetry` are made of it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from armlite.protocol.parse import outside
from armlite.store import Saved
from armlite.types import Trajectory, Turn


@dataclass(frozen=True)
class Said:
    """One message."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    """Of the judge: its whole turn."""
    files: tuple[str, ...] = ()
    """File names of the pictures that come with it, below `images/` beside the trajectories."""
    turn: Turn | None = None
    """Of the judge."""
    call: str = ""
    """Id of the call that a judge's turn makes, or that a tool's message answers."""
    tool: str = ""
    """Name of the tool that answers; none where no tool ran, as for a call that cannot be read."""
    ok: bool = True
    """The tool did its work."""

    @property
    def thought(self) -> str:
        return (self.turn.think or "") if self.turn else ""

    @property
    def rest(self) -> str:
        """What a judge's turn says beside its thought and its call."""
        if self.turn is None or self.turn.fault is not None:
            return self.text
        return outside(self.text)


def messages(trajectory: Trajectory) -> list[Said]:
    """All messages in order: the system's, the task, and each turn with what followed it."""
    files = {info.id: info.file for info in trajectory.images}
    found = [Said("system", trajectory.system)] if trajectory.system else []
    found.append(Said("user", trajectory.prompt, tuple(files[i] for i in trajectory.prompt_images)))
    for number, step in enumerate(trajectory.steps, 1):
        call = f"call_{number}" if step.turn.call is not None else ""
        found.append(Said("assistant", step.turn.text, turn=step.turn, call=call))
        if (seen := step.observation) is not None:
            shown = tuple(files[i] for i in seen.images)
            role: Literal["tool", "user"] = "tool" if call else "user"  # a notice of the loop answers no call
            found.append(Said(role, seen.text, shown, call=call, tool=seen.tool or "", ok=seen.ok))
    return found


def digest(*parts: object) -> str:
    """Hash of some values, 64 hex digits: ids that are the same whenever the same trajectory is exported."""
    return hashlib.sha256("\x00".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()


def timed(rows: Iterable[Saved], end: float) -> list[tuple[Saved, int, int]]:
    """Each judgment with the nanoseconds of its begin and end. Only durations are kept, so judgments are laid one
    behind the other, the last of them ending when its file was last written to.

    Args:
        end: seconds since 1970.
    """
    found, at = [], round(end * 1e9)
    for row in reversed(list(rows)):
        length = max(round((row.seconds or 0.0) * 1e9), 1000 * (2 * len(row.trajectory.steps) + 1))
        found.append((row, at - length, at))
        at -= length
    return found[::-1]
