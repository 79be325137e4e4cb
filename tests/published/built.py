"""What a fixture builder has written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Built:
    rows: int
    tasks: int
    bad: int = 0
    """Rows that by design turn into no task."""
