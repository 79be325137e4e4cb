"""How a judge behaved, whatever the benchmark: tools, tokens, time, format, and whether swapping changes its mind.

Figures beside a benchmark's own; rightness is the scorers' business.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from armlite.evals.benchmarks.shares import clustered, plain_mean
from armlite.evals.figures import Figure, Figures, Item
from armlite.evals.orders import by_order
from armlite.rewards import format_ok
from armlite.types import Decision

CALLS = "tool_calls_per_item"
"""A figure that is counted, not a share."""


def conduct(items: Sequence[Item], votes: int = 1, seconds: Mapping[tuple[str, int], float] | None = None) -> Figures:
    """The figures that every benchmark has.

    `tool_calls_per_item`, `tokens_per_item` (sampled ones) and `seconds_per_item` add up all judgments of an item, both
    orders and all votes: what the item costs. `tool_success_rate` is the share of the calls that returned something
    (`n`: calls), `format_rate` and `parse_failures` are shares of the judgments. `swap_consistency` is there where
    items were judged in two orders: both reach the same decision, by the votes' majority; no decision agrees with
    nothing. `read_leniently` is the share of judgments that `parse: lenient` took a turn of, where there are some.

    Args:
        votes: rollouts of each order.
        seconds: of each judgment by (task id, rollout); those that are not known count as not taken.
    """
    judged = [(item.task.id, answer.trajectory) for item in items for answer in item.answers]
    calls = [(i, s.observation is not None and s.observation.returned) for i, t in judged for s in t.calls]
    figures = {
        CALLS: plain_mean([float(sum(len(a.trajectory.calls) for a in i.answers)) for i in items]),
        "tool_success_rate": _share(calls),
        "tokens_per_item": plain_mean(_tokens(items)),
        "seconds_per_item": plain_mean(_seconds(items, seconds or {})),
        "parse_failures": _share([(i, t.decision is None) for i, t in judged]),
        "format_rate": _share([(i, format_ok(t)) for i, t in judged]),
    }
    if any(step.turn.lenient for _, t in judged for step in t.steps):
        figures["read_leniently"] = _share([(i, any(step.turn.lenient for step in t.steps)) for i, t in judged])
    agreed = [(item.task.id, same) for item in items if (same := _consistent(item, votes)) is not None]
    return {"swap_consistency": _share(agreed), **figures} if agreed else figures


def failures(items: Sequence[Item]) -> dict[str, int]:
    """Why judgments could not be made -> how many, the most frequent first."""
    faults = [answer.trajectory.fault for item in items for answer in item.answers]
    return dict(Counter(fault.reason for fault in faults if fault is not None).most_common())


def _share(values: Sequence[tuple[str, bool]]) -> Figure:
    """Share of (item, yes or no)."""
    return clustered([float(v) for _, v in values], [item for item, _ in values])


def _tokens(items: Sequence[Item]) -> list[float]:
    """Per item; nothing at all where the model never says how many."""
    tokens = [float(sum(s.turn.tokens for a in i.answers for s in a.trajectory.steps)) for i in items]
    return tokens if any(tokens) else []


def _seconds(items: Sequence[Item], seconds: Mapping[tuple[str, int], float]) -> list[float]:
    """Of the items whose every judgment was timed."""
    found = [[seconds.get((i.task.id, a.trajectory.rollout)) for a in i.answers] for i in items]
    return [sum(s for s in times if s is not None) for times in found if times and None not in times]


def _consistent(item: Item, votes: int) -> bool | None:
    """None: not judged in two orders."""
    first, second = by_order([a.trajectory.rollout for a in item.answers], votes)
    if not first or not second:
        return None
    one, other = (_majority([item.answers[i].decision for i in half]) for half in (first, second))
    return one is not None and one == other


def _majority(decisions: Sequence[Decision | None]) -> Decision | None:
    """The decision of more than half of the votes."""
    counted = Counter(d for d in decisions if d is not None).most_common(1)
    return counted[0][0] if counted and counted[0][1] * 2 > len(decisions) else None
