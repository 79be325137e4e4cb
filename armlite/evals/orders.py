"""In which order a benchmark's responses are shown to the judge: pure functions of the task.

A permutation names the publisher's numbers, from 1, in presented order; it is kept with the answer, so a score never
depends on it.
"""

import hashlib
from collections.abc import Sequence
from typing import get_args

from armlite.episode import presented_order
from armlite.errors import ArmliteError, nearest
from armlite.evals.figures import Order
from armlite.types import Task

ORDERS: tuple[Order, ...] = get_args(Order)


def presented(task: Task, order: Order, seed: int = 0) -> tuple[tuple[int, ...], ...]:
    """The permutations that a task is shown in: two for `both`, and of pairs for `seeded_both`, else one.

    A task with fewer than two responses has one whatever the order. `lenparity` swaps (of more than two: reverses)
    where the responses' characters add up to an odd number, as lmms-eval's and VLMEvalKit's VL-RewardBench do.
    """
    given = tuple(range(1, len(task.responses) + 1))
    if len(given) < 2 or order == "as_published":
        return (given,)
    if order == "both":
        return given, given[::-1]
    if order in ("seeded", "seeded_both"):
        both = order == "seeded_both" and task.kind == "pairwise"
        return tuple(presented_order(task, seed, swapped) for swapped in ((False, True) if both else (False,)))
    if order == "lenparity":
        return (given[::-1] if sum(map(len, task.responses)) % 2 else given,)
    if order == "md5_swap":
        place = _drawn_place(str(task.meta.get("published_id", task.id)), len(given))
        swapped = {0: given[place], place: given[0]}
        return (tuple(swapped.get(i, number) for i, number in enumerate(given)),)
    return (tuple(sorted(given, key=lambda n: _digest(task.id, n))),)


def check_order(name: str) -> Order:
    """The order of that name.

    Raises:
        ArmliteError: there is none; names the nearest.
    """
    for order in ORDERS:
        if order == name:
            return order
    raise ArmliteError(f"--order {name!r} is not known.{nearest(name, ORDERS)} Orders: {', '.join(ORDERS)}")


def chosen_order(name: str, swap: bool | None) -> Order:
    """The order of that name, with the reverse of pairs or without it; `swap` None: as the name says.

    Raises:
        ArmliteError: there is no such order, or it has no reverse.
    """
    order = check_order(name)
    pairs: dict[Order, Order] = {"as_published": "both", "seeded": "seeded_both"}
    if swap is None:
        return order
    if not swap:
        return {both: one for one, both in pairs.items()}.get(order, order)
    if order not in pairs and order not in pairs.values():
        raise ArmliteError(f"--swap does not go with --order {order}: it goes with {', '.join(pairs)}")
    return pairs.get(order, order)


def by_order(rollouts: Sequence[int], votes: int) -> tuple[list[int], list[int]]:
    """Positions of the first order's votes and of the second's: rollouts are numbered order by order."""
    first = [i for i, rollout in enumerate(rollouts) if rollout < votes]
    return first, [i for i, rollout in enumerate(rollouts) if rollout >= votes]


def _digest(task_id: str, number: int) -> str:
    return hashlib.md5(f"{task_id}/{number}".encode(), usedforsecurity=False).hexdigest()


def _drawn_place(name: str, places: int) -> int:
    """A place from 0, by numpy's generator seeded with an md5 digest."""
    import numpy as np

    return int(np.random.default_rng(int(hashlib.md5(name.encode()).hexdigest(), 16) % 2**32).integers(0, places))
