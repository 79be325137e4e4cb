"""A published data set, as a record: what it is called, where it is, what is in it, and how a row becomes Tasks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from armlite.data.row import Row
from armlite.types import Task


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One set: that of a benchmark stands in the benchmark's file, a training set in `armlite.data.sets`."""

    name: str = ""
    """Lower case with hyphens; a benchmark gives its own."""
    title: str
    """One line."""
    use: Literal["benchmark", "training"] = "training"
    licence: str
    tasks: Callable[[Row], Iterable[Task]]
    """Tasks of a row, usually one. Ids that repeat are told apart by the caller. Raises DataError."""
    files: tuple[str, ...]
    """Glob patterns below a local folder; all files of the first pattern that matches any are read. A pattern with
    several alternatives that belong together is written `a/*.parquet|b/*.parquet`."""
    hub: str | None = None
    """Repository of the Hugging Face hub."""
    revision: str | None = None
    """Pinned where a revision is known."""
    config: str | None = None
    split: str = "test"
    mirrors: tuple[str, ...] = ()
    """Other hub ids of the same rows."""
    snapshot: bool = False
    """From the hub, fetch the whole repository and read its files: where rows name files beside them."""
    counts: dict[str, int] = field(default_factory=dict)
    """Published numbers of rows; `all`, or by a file's or split's name."""
    seen: str = "schema as published; not read on published rows"
    """What the reader has been tried on, for the documentation."""
    notes: tuple[str, ...] = ()
    """What a user of the figures has to know."""
