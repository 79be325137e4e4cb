"""Rollouts as a tree: what several of them begin with alike is one piece, what goes on from it are pieces of theirs.

Shared are a group's prompt, turns that were said alike with what tools answered, and what prompts of other tasks begin
with. It knows tokens and images (`TokenRecord.path`), not the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from armlite.models.engine.tokens import common_prefix

LEAST = 16
"""Tokens that a piece must have to be shared: attention is called once more for each piece."""


@dataclass(frozen=True)
class Piece:
    """Consecutive tokens that some rollouts have in common, after the same tokens."""

    rows: tuple[int, ...]
    """The rollouts."""
    start: int
    """Index of its first token in each of them."""
    end: int
    below: int
    """Tokens of all pieces that go on from it."""

    @property
    def length(self) -> int:
        return self.end - self.start


def pieces_of(paths: Sequence[Sequence[int]], least: int = LEAST) -> list[Piece]:
    """The pieces of some rollouts' paths, each followed by all that go on from it; none is empty.

    Args:
        least: tokens from which on a beginning is shared.
    """
    pieces: list[Piece] = []
    if paths:
        _grow(pieces, paths, list(range(len(paths))), 0, 0, least)
    return pieces


def _grow(pieces: list[Piece], paths: Sequence[Sequence[int]], rows: list[int], start: int, at: int, least: int) -> int:
    """Put rows, alike up to `at`, into pieces from `start` on; returns how many tokens these have."""
    first = paths[rows[0]]
    end = min(common_prefix(first, paths[row], at) for row in rows)
    ways: dict[int | None, list[int]] = {}  # next token -> rows; None: those that end here
    for row in rows:
        ways.setdefault(paths[row][end] if len(paths[row]) > end else None, []).append(row)
    place = None
    if end > start and (end - start >= least or len(ways) == 1):
        place = len(pieces)
        pieces.append(Piece(tuple(rows), start, end, 0))
    total = 0
    for token, members in ways.items():
        if place is not None and token is None:
            continue
        if token is not None:
            total += _grow(pieces, paths, members, end if place is not None else start, end, least)
        elif end > start:
            pieces.append(Piece(tuple(members), start, end, 0))
            total += end - start
    if place is None:
        return total
    pieces[place] = Piece(tuple(rows), start, end, total)
    return total + end - start
