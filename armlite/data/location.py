"""Where the rows of a set are, as data and training recipes say it: a folder, or a repository of the hub."""

from dataclasses import replace
from pathlib import Path

from armlite.data.dataset import DataSet
from armlite.settings import Settings


class Location(Settings):
    """What differs from where a set is published; all None: as published."""

    path: Path | None = None
    """Folder with the set's files, or the JSONL file of `file`; None: from the hub. Relative to where the command
    runs."""
    hub: str | None = None
    """Another repository of the hub with the same rows."""
    config: str | None = None
    split: str | None = None
    """Of the hub, or of the pocket world; None: the set's own."""
    files: str | None = None
    """Glob pattern of the files below `path`, instead of the set's own."""

    def of(self, dataset: DataSet) -> DataSet:
        """The set, with what is said differently here."""
        changes = {"hub": self.hub, "config": self.config, "split": self.split}
        given = {key: value for key, value in changes.items() if value is not None}
        if self.hub is not None:
            given |= {"revision": None, "mirrors": ()}
        return replace(dataset, **given, **({"files": (self.files,)} if self.files else {}))
