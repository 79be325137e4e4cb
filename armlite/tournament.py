"""Tournaments: which pairs of many responses are to be compared next, and the verdict once none is.

Pure: `armlite.judge` and `armlite.batch` play the comparisons. A comparison that is even, or that no vote could judge,
is a tie, and of a tie the response that was given first goes before the other.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from armlite.errors import ArmliteError
from armlite.types import Method, Task, Trajectory, Verdict
from armlite.votes import count_order, count_pairs, most_say

EXACT = 8
"""So many responses are compared each with each: 28 comparisons, all at once, against 17 in 11 rounds of a sort. Beyond
it the square is what one notices (16 responses: 120 against 49)."""
Pair = tuple[int, int]
Game = Generator[list[Pair], Mapping[Pair, int], list[int]]
"""Yields rounds of comparisons that do not depend on each other, is sent the winner of each (0: a tie), and returns
responses from the best on: as many as it has put in order."""


def _round_robin(count: int) -> Game:
    yield list(combinations(range(1, count + 1), 2))
    return []  # counted, not sorted


def _merge_sort(count: int) -> Game:
    """At most n * ceil(log2 n) comparisons; the merges of a level are played side by side."""
    places = 1 << (count - 1).bit_length()
    bounds = [place * count // places + 1 for place in range(places + 1)]
    runs = [list(range(*two)) for two in pairwise(bounds)]  # of one or none, so that all merges are of like lengths
    while len(runs) > 1:
        merges = [_Merge([], *two) for two in zip(runs[::2], runs[1::2], strict=True)]
        while playing := [merge for merge in merges if merge.left and merge.right]:
            won = yield [merge.pair for merge in playing]
            for merge in playing:
                merge.take(won[merge.pair])
        runs = [merge.merged + merge.left + merge.right for merge in merges]
    return runs[0]


@dataclass
class _Merge:
    """Two runs on their way into one; all numbers of the left one are lower."""

    merged: list[int]
    left: list[int]
    right: list[int]

    @property
    def pair(self) -> Pair:
        return self.left[0], self.right[0]

    def take(self, winner: int) -> None:
        self.merged.append((self.right if winner == self.right[0] else self.left).pop(0))


def _knockout(count: int) -> Game:
    """One comparison fewer than responses: neighbours meet, the winners meet; returns the two of the final."""
    left, final = list(range(1, count + 1)), [1]
    while len(left) > 1:
        pairs = list(zip(left[::2], left[1::2], strict=False))
        won = yield pairs
        odd = left[-1:] if len(left) % 2 else []
        left = [won[pair] or pair[0] for pair in pairs] + odd
        final = sorted(pairs[-1], key=lambda number: number != left[0])
    return final


_GAMES = {"round_robin": _round_robin, "merge_sort": _merge_sort, "knockout": _knockout}


def most_comparisons(method: Method, count: int) -> int:
    """How many comparisons of `count` responses a method needs at most."""
    if method == "round_robin":
        return count * (count - 1) // 2
    if method == "knockout":
        return count - 1
    levels = (count - 1).bit_length()
    return count * levels - 2**levels + 1


def method_for(count: int, whole: bool) -> Method:
    """Each against each for few responses; else a sort where the whole order is wanted, a knockout for the best."""
    if count <= EXACT:
        return "round_robin"
    return "merge_sort" if whole else "knockout"


def pair_id(name: str, pair: Pair) -> str:
    """Id of a comparison's task."""
    return f"{name}: {pair[0]} vs {pair[1]}"


class Tournament:
    """One tournament, as far as it has been played.

    Args:
        task: `listwise`, with all responses.
        method: how they are compared.
        votes: judgments that each comparison is asked for, both orders counted.

    Raises:
        ArmliteError: there is no such method.
    """

    def __init__(self, task: Task, method: Method, votes: int):
        if method not in _GAMES:
            raise ArmliteError(f"method {method!r} is not one of {', '.join(_GAMES)}")
        self.task, self.method, self._asked = task, method, votes
        self._votes: dict[Pair, list[Trajectory]] = {}
        self._won: dict[Pair, int] = {}
        """Comparison -> its winner or 0, in the order in which rounds asked for them."""
        self._order: list[int] = []
        self._failed = 0
        self._game = _GAMES[method](len(task.responses))
        self._round: Sequence[Pair] = next(self._game)
        self._open = set(self._round)
        """Those of the round that do not have all their votes yet."""

    @property
    def due(self) -> list[Task]:
        """The comparisons of this round that do not have all their votes yet; none: it is over."""
        return [self._pair(pair) for pair in self._round if pair in self._open]

    def add(self, vote: Trajectory) -> None:
        """Take a vote on a comparison, of this round or a later one."""
        a, b = vote.task.numbers
        votes = self._votes.setdefault((a, b), [])
        votes.append(vote)
        if len(votes) >= self._asked:
            self._open.discard((a, b))
        while self._round and not self._open:
            self._advance()
            self._open = {pair for pair in self._round if len(self._votes.get(pair, ())) < self._asked}

    def verdict(self) -> Verdict:
        """What came of it.

        Raises:
            ValueError: it is not over.
        """
        if self._round:
            raise ValueError("comparisons are due")
        votes = [vote for pair in self._won for vote in self._of(pair)]
        if self.method == "round_robin":
            found = count_pairs(len(self.task.responses), votes)
        else:
            order = self._order if self.method == "merge_sort" else self._order[:1]
            clear = len(self._order) > 1 and self._won[min(self._order[:2]), max(self._order[:2])] != 0
            found = count_order(order, clear, votes)
        counts = {"method": self.method, "comparisons": len(self._won), "comparisons_failed": self._failed}
        return found.model_copy(update=counts)

    def _advance(self) -> None:
        """Count the round, and draw the next. Where nothing could be judged so far, there is none."""
        for pair in self._round:
            votes = self._of(pair)
            self._failed += all(vote.decision is None for vote in votes)
            said = most_say("pairwise", votes)[0]
            self._won[pair] = pair[int(said) - 1] if said else 0
        judged = self._failed < len(self._won)
        try:
            self._round = self._game.send(self._won) if judged else ()
        except StopIteration as end:
            self._round, self._order = (), end.value

    def _of(self, pair: Pair) -> list[Trajectory]:
        return sorted(self._votes[pair], key=lambda vote: vote.rollout)

    def _pair(self, pair: Pair) -> Task:
        two = tuple(self.task.responses[number - 1] for number in pair)
        own = {"id": pair_id(self.task.id, pair), "kind": "pairwise", "responses": two, "numbers": pair, "gold": None}
        return self.task.model_copy(update=own)
