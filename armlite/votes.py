"""From votes to a verdict: pure functions on finished trajectories, each of which is one vote.

A vote that could not judge counts as asked and agrees with nothing. `armlite.judge` plays the episodes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from statistics import median
from typing import Any

from armlite.calibration import Calibration, mean_of
from armlite.rewards import plain_text
from armlite.types import Decision, Evidence, Kind, Source, Status, StopReason, Trajectory, Verdict, decision_key

_FAILED: dict[StopReason, Status] = {
    StopReason.TURN_BUDGET: "budget",
    StopReason.CONTEXT_BUDGET: "budget",
    StopReason.CALL_LIMIT: "budget",
    StopReason.MODEL_ERROR: "model_error",
    StopReason.BAD_INPUT: "bad_input",
}
"""The status of a vote without a decision; `no_answer` for the other reasons to stop."""
_RAN_OUT = {
    StopReason.TURN_BUDGET: "the model ran out of tokens in a turn",
    StopReason.CONTEXT_BUDGET: "what there is to read does not fit the model's context",
    StopReason.CALL_LIMIT: "the model did not answer when its calls were used up",
}
_FIELDS = {"pointwise": "correct", "rating": "rating", "multiple_choice": "answer", "open_qa": "answer"}
"""Kind -> where its verdict stands; `choice` for the others."""
NEAR = 1.0
"""Ratings that differ by so many points agree."""


def count_votes(kind: Kind, votes: Sequence[Trajectory], calibration: Calibration | None = None) -> Verdict:
    """The verdict of votes on one task: what most of them say; of ratings the median, if any vote is near it.

    Args:
        calibration: of the model that voted.
    """
    if (failed := _failed(kind, votes)) is not None:
        return failed
    decision, party = most_say(kind, votes)
    found = {} if decision is None else {field_of(kind): decision}
    return _verdict(kind, votes, found, party).model_copy(update=_likelihood(kind, votes, decision, calibration))


def _likelihood(
    kind: Kind, votes: Sequence[Trajectory], decision: Decision | None, calibration: Calibration | None
) -> dict[str, Any]:
    """How likely the verdict is, by what the model gave its answers, else by what the votes say."""
    known = [v.probabilities for v in votes if v.probabilities]
    said = [decision_key(v.decision) for v in votes if v.decision is not None]
    calibrated = bool(known) and calibration is not None and kind in calibration.kinds
    if known:
        source: Source = "logprobs" if votes[0].model.startswith("openai:") else "tokens"
        shares = mean_of([calibration.apply(kind, p) for p in known] if calibrated and calibration else known)
    elif len(votes) > 1:
        source, shares = "votes", {key: count / len(votes) for key, count in Counter(said).items()}
    else:
        return {}
    own = share_of(kind, shares, decision)
    return {"probability": own, "probabilities": shares, "probability_from": source, "calibrated": calibrated}


def share_of(kind: Kind, shares: Mapping[str, float], decision: Decision | None) -> float | None:
    """The probability of a decision, of a rating that it is within one point; None where there is no decision."""
    if decision is None:
        return None
    keys = keys_of(kind, decision, shares)
    return sum(share for key, share in shares.items() if key in keys)


def keys_of(kind: Kind, decision: Decision, keys: Iterable[str]) -> frozenset[str]:
    """Those keys of probabilities that are a decision; of a rating all within one point of it."""
    if kind == "rating":
        return frozenset(key for key in keys if abs(float(key) - float(decision)) <= NEAR)
    return frozenset(key for key in keys if plain_text(key) == plain_text(decision_key(decision)))


def field_of(kind: Kind) -> str:
    """The field of a `Verdict` that holds what it decides."""
    return _FIELDS.get(kind, "choice")


def most_say(kind: Kind, votes: Sequence[Trajectory]) -> tuple[Decision | None, int]:
    """The decision of most votes, of ratings the median, and how many agree; None: they are even, or none decided."""
    decisions = [v.decision for v in votes if v.decision is not None]
    if not decisions:
        return None, 0
    if kind == "rating":
        middle = float(median(float(d) for d in decisions))
        party = sum(abs(float(d) - middle) <= NEAR for d in decisions)
        return middle if party else None, party
    (first, party), *others = Counter(map(_plain, decisions)).most_common()
    even = bool(others) and others[0][1] == party
    return None if even else next(d for d in decisions if _plain(d) == first), party


def count_pairs(count: int, votes: Sequence[Trajectory]) -> Verdict:
    """The ranking of `count` responses by votes on their pairs, whose numbers are in `task.numbers`.

    Whoever wins the larger share of its judgments, a tie counting half, stands higher; equals are parted by their
    judgments against each other, then stand in the order given. Two equals at the top: `split`.
    """
    if (failed := _failed("listwise", votes)) is not None:
        return failed
    won: Counter[tuple[int, int]] = Counter()
    asked: Counter[tuple[int, int]] = Counter()
    for a, b, winner in _duels(votes):
        asked.update([(a, b), (b, a)])
        won.update({(a, b): 1 if not winner else 2 * (winner == a), (b, a): 1 if not winner else 2 * (winner == b)})
    everyone = range(1, count + 1)

    def share(i: int, others: Sequence[int]) -> Fraction:
        judged = sum(asked[i, j] for j in others)
        return Fraction(sum(won[i, j] for j in others), 2 * judged) if judged else Fraction(0)

    overall = {i: share(i, everyone) for i in everyone}
    key = {i: (overall[i], share(i, [j for j in everyone if overall[j] == overall[i]])) for i in everyone}
    order = sorted(everyone, key=lambda i: key[i], reverse=True)
    place = {n: i for i, n in enumerate(order)}
    party = sum(bool(w) and place[w] < place[a + b - w] for a, b, w in _duels(votes))
    clear = key[order[0]] != key[order[1]]
    return _verdict("listwise", votes, {"choice": order[0], "ranking": tuple(order)} if clear else {}, party)


def count_order(order: Sequence[int], clear: bool, votes: Sequence[Trajectory]) -> Verdict:
    """The verdict of a sort or a knockout of responses by votes on pairs of them.

    Args:
        order: all responses, best first, or the best alone.
        clear: the first was found better than the second; else: `split`.
        votes: on the pairs that were compared.
    """
    if (failed := _failed("listwise", votes)) is not None:
        return failed
    found: dict[str, Any] = {}
    if clear:
        found = {"choice": order[0]} | ({"ranking": tuple(order)} if len(order) > 1 else {})
    place = {number: at for at, number in enumerate(order)}
    of = [vote for vote in votes if len(order) > 1 or order[0] in vote.task.numbers]
    last = len(order)
    party = sum(bool(w) and place.get(w, last) < place.get(a + b - w, last) for a, b, w in _duels(of))
    return _verdict("listwise", votes, found, party).model_copy(update={"confidence": party / len(of)})


def win_shares(count: int, votes: Sequence[Trajectory]) -> list[float | None]:
    """The share of its judged pairs that each of `count` responses won, ties counting half; None: none was judged."""
    won, of = [0.0] * (count + 1), [0] * (count + 1)
    for a, b, winner in _duels(votes):
        for one in (a, b):
            of[one] += 1
            won[one] += 0.5 if not winner else float(winner == one)
    return [won[i] / of[i] if of[i] else None for i in range(1, count + 1)]


def said_by(verdict: Verdict) -> Decision | None:
    """What a verdict decides; None: nothing."""
    decision: Decision | None = getattr(verdict, field_of(verdict.kind))
    return decision


def agreeing(verdict: Verdict) -> list[Trajectory]:
    """The votes that agree with a verdict, in order; none where there is no verdict."""
    if verdict.status != "judged":
        return []
    if verdict.ranking:
        return [v for v in verdict.trajectories if _ranks_alike(verdict, v)]
    if verdict.kind == "listwise" and any(v.task.numbers for v in verdict.trajectories):  # a knockout
        return [v for v in verdict.trajectories if any(w == verdict.choice for _, _, w in _duels([v]))]
    said = said_by(verdict)
    votes = [v for v in verdict.trajectories if v.decision is not None]
    if verdict.kind == "rating":
        return [v for v in votes if abs(float(v.decision) - float(said)) <= NEAR]  # type: ignore[arg-type]
    return [v for v in votes if _plain(v.decision) == _plain(said)]  # type: ignore[arg-type]


def telling(verdict: Verdict) -> Trajectory | None:
    """The vote that a verdict is explained by: the first that agrees; of a ranking one that the best response won."""
    votes = agreeing(verdict)
    if verdict.ranking:
        votes = [v for v in votes if verdict.choice in v.task.numbers] or votes
    return votes[0] if votes else None


def _ranks_alike(verdict: Verdict, vote: Trajectory) -> bool:
    place = {n: i for i, n in enumerate(verdict.ranking)}
    return any(bool(w) and place[w] < place[a + b - w] for a, b, w in _duels([vote]))


def _duels(votes: Sequence[Trajectory]) -> list[tuple[int, int, int]]:
    """(one response, the other, the winner or 0 for a tie) of each vote that judged a pair."""
    duels = []
    for vote in votes:
        if vote.decision is not None:
            a, b = vote.task.numbers
            duels.append((a, b, (0, a, b)[int(vote.decision)]))
    return duels


def _failed(kind: Kind, votes: Sequence[Trajectory]) -> Verdict | None:
    """The verdict where no vote could judge: the status that most of them have."""
    if any(v.decision is not None for v in votes):
        return None
    statuses: list[Status] = [_FAILED.get(v.stop, "no_answer") for v in votes]
    [(status, _)] = Counter(statuses).most_common(1)
    why = next((v.fault.reason for v in votes if v.fault is not None and _FAILED[v.stop] == status), "")
    if status == "budget":
        why = next(_RAN_OUT[v.stop] for v in votes if v.stop in _RAN_OUT)
    if status == "no_answer":  # what was said instead
        why = next((v.steps[-1].turn.text for v in votes if v.steps and _FAILED.get(v.stop) is None), "")
    return Verdict(status=status, kind=kind, rationale=why, trajectories=tuple(votes))


def _verdict(kind: Kind, votes: Sequence[Trajectory], found: dict[str, Any], party: int) -> Verdict:
    """`found`: what the verdict says, nothing where votes are even; `party`: how many say so, or the largest party."""
    confidence = party / len(votes) if len(votes) > 1 else None
    status: Status = "judged" if found else "split"
    lenient = any(step.turn.lenient for vote in votes for step in vote.steps)
    verdict = Verdict(
        status=status, kind=kind, confidence=confidence, lenient=lenient, trajectories=tuple(votes), **found
    )
    vote = telling(verdict)
    if vote is None:
        return verdict
    return verdict.model_copy(update={"rationale": _reasoning(vote), "evidence": _evidence(vote)})


def _plain(decision: Decision) -> Decision:
    return plain_text(decision) if isinstance(decision, str) else decision


def _reasoning(vote: Trajectory) -> str:
    """The thought of the last turn; where it has none, what stands outside of its answer."""
    turn = vote.steps[-1].turn
    return turn.think or re.sub(r"<answer>.*?</answer>", "", turn.text, flags=re.DOTALL).strip()


def _evidence(vote: Trajectory) -> tuple[Evidence, ...]:
    files = {info.id: info.file for info in vote.images}
    return tuple(
        Evidence(
            tool=call.name,
            arguments=call.arguments,
            text=seen.text,
            images=tuple(files[i] for i in seen.images),
            data=seen.data,
        )
        for call, seen in ((step.turn.call, step.observation) for step in vote.calls)
        if call is not None and seen is not None and seen.ok
    )
