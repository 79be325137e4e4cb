"""What a command that makes data leaves behind: the output, the rejects and the counts.

While it runs its journal is in the folder `OUT.work/`, which goes away when the whole output is there.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from armlite.errors import ArmliteError
from armlite.journal import Journal
from armlite.store import write_atomic


def begin(out: Path, settings: Mapping[str, Any]) -> Journal:
    """The journal of a command, new or gone on with.

    Args:
        out: the file that will be made.
        settings: what decides the result. Files it depends on go in as `digest(file)`.

    Raises:
        ArmliteError: `out` exists, or was begun with other settings.
    """
    check_new(out)
    return Journal(work_of(out) / "rows.jsonl", settings)


def work_of(out: Path) -> Path:
    """The folder of what has been begun."""
    return out.with_name(out.name + ".work")


def check_new(out: Path) -> None:
    """See that nothing is overwritten.

    Raises:
        ArmliteError: the output exists.
    """
    if out.exists():
        raise ArmliteError(f"{out} exists; give another --out")


def finish(journal: Journal, out: Path, lines: Iterable[str], rejects: Sequence[dict[str, Any]]) -> None:
    """Write `OUT.rejects.jsonl`, then the output, at once each; the journal goes away."""
    check_new(out)
    write_rejects(out, rejects)
    write_atomic(out, "".join(lines))
    journal.forget()


def write_rejects(out: Path, rejects: Sequence[dict[str, Any]]) -> None:
    """Write `OUT.rejects.jsonl`."""
    write_atomic(rejects_of(out), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rejects))


def rejects_of(out: Path) -> Path:
    """`pairs.rejects.jsonl` of `pairs.jsonl`."""
    return out.with_name(out.stem + ".rejects.jsonl")


@dataclass
class Counts:
    """What went in, and what became of it: `in` is `kept` and all reasons of `rejected` together."""

    taken_in: int
    kept: int
    rejected: Counter[str] = field(default_factory=Counter)
    more: dict[str, Any] = field(default_factory=dict)
    """What a command has to say beyond the counts."""

    def __post_init__(self) -> None:
        if self.taken_in != self.kept + sum(self.rejected.values()):
            raise RuntimeError(f"counts do not add up: {self}")

    def as_json(self) -> dict[str, Any]:
        return {"in": self.taken_in, "kept": self.kept, "rejected": dict(self.rejected.most_common()), **self.more}
