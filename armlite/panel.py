"""Several judges as one: a `Panel` counts what each says, a `Cascade` asks a second only where the first is unsure.

Both can be asked whatever a `Judge` can. `armlite.batch.panel` does the same with a file of rows.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Unpack

from PIL import Image

from armlite.asking import Asked, Asking
from armlite.calibration import mean_of
from armlite.errors import ArmliteError
from armlite.judge import Judge
from armlite.rewards import plain_text
from armlite.types import Kind, Task, Verdict
from armlite.votes import NEAR, field_of, said_by, share_of

UNLESS = 0.9
"""A first judge that is so sure is believed."""
Ask = Callable[[Asking], Verdict]


def combine(kind: Kind, verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of a panel.

    Of choices and checks it is what most say, of ratings the median (if a rating is within a point of it), of rankings
    the order of mean ranks. A judge that could not judge counts as asked and agrees with nothing. Where parties are
    even, or the two best have the same mean rank, it is `split`.

    Args:
        kind: of the task.
        verdicts: each judge's own; they stay as `members`, without trajectories.
    """
    judged = [verdict for verdict in verdicts if verdict.status == "judged"]
    told = {"trajectories": tuple(t for verdict in verdicts for t in verdict.trajectories)}
    members = _members(verdicts)
    if not judged:
        [(status, _)] = Counter(verdict.status for verdict in verdicts).most_common(1)
        why = next(verdict.rationale for verdict in verdicts if verdict.status == status)
        found = Verdict(status=status, kind=kind, rationale=why, members=members, **told)
        return _with_images(found, verdicts)
    said, party = _decide(kind, judged)
    speaker = party[0] if said else None
    found = Verdict(
        status="judged" if said else "split",
        kind=kind,
        confidence=len(party) / len(verdicts),
        rationale=speaker.rationale if speaker else "",
        evidence=speaker.evidence if speaker else (),
        lenient=any(verdict.lenient for verdict in verdicts),
        members=members,
        **said,
        **told,
    )
    return _with_images(found.model_copy(update=_likelihood(found, judged)), verdicts)


def _likelihood(found: Verdict, judged: Sequence[Verdict]) -> dict[str, Any]:
    """The mean of the judges' probabilities, where each has them; of rankings nobody has."""
    known = [verdict.probabilities for verdict in judged if verdict.probabilities]
    if len(known) < len(judged):
        return {}
    shares, sources = mean_of(known), {verdict.probability_from for verdict in judged}
    return {
        "probability": share_of(found.kind, shares, said_by(found)),
        "probabilities": shares,
        "probability_from": sources.pop() if len(sources) == 1 else None,
        "calibrated": all(verdict.calibrated for verdict in judged),
    }


def _decide(kind: Kind, judged: Sequence[Verdict]) -> tuple[dict[str, Any], list[Verdict]]:
    """What the judges decide, nothing where they are even, and who agrees with it, or the largest party."""
    if kind == "rating":
        middle = float(median(verdict.rating or 0.0 for verdict in judged))
        near = [verdict for verdict in judged if abs((verdict.rating or 0.0) - middle) <= NEAR]
        return ({"rating": middle} if near else {}), near
    if all(verdict.ranking for verdict in judged):
        order, clear = _mean_rank([verdict.ranking for verdict in judged])
        alike = [verdict for verdict in judged if verdict.choice == order[0]]
        return ({"choice": order[0], "ranking": tuple(order)} if clear and alike else {}), alike
    parties: dict[Any, list[Verdict]] = {}
    for verdict in judged:
        value = said_by(verdict)
        parties.setdefault(plain_text(value) if isinstance(value, str) else value, []).append(verdict)
    first, *others = sorted(parties.values(), key=len, reverse=True)
    even = bool(others) and len(others[0]) == len(first)
    return ({} if even else {field_of(kind): said_by(first[0])}), first


def _mean_rank(rankings: Sequence[tuple[int, ...]]) -> tuple[list[int], bool]:
    """Responses by mean rank, equals as given, and whether the first is alone at the top."""
    ranks = {number: sum(ranking.index(number) for ranking in rankings) for number in rankings[0]}
    order = sorted(sorted(ranks), key=lambda number: ranks[number])
    return order, len(order) < 2 or ranks[order[0]] < ranks[order[1]]


def sure(verdict: Verdict, unless: float) -> bool:
    """Whether a verdict's probability, or where there is none its share of votes, is at least so high."""
    known = verdict.confidence if verdict.probability is None else verdict.probability
    return verdict.status == "judged" and known is not None and known >= unless


class Panel(Asking):
    """Judges who each judge everything.

    Args:
        judges: at least two; each may be a panel or a cascade itself.
        keep: keep all models in memory. False: each lets go of its weights when it has judged, so that one is held at
            a time, and loads them again for the next call.

    Raises:
        ArmliteError: there are fewer than two.
    """

    def __init__(self, judges: Sequence[Asking], keep: bool = True):
        super().__init__()
        if len(judges) < 2:
            raise ArmliteError(f"a panel needs at least two judges, not {len(judges)}")
        self.judges, self._keep = list(judges), keep

    def judge_many(
        self,
        tasks: Sequence[Task],
        *,
        root: str | Path = ".",
        images: Sequence[Sequence[Image.Image] | None] | None = None,
        swap: bool = False,
        **asked: Unpack[Asked],
    ) -> list[Verdict]:
        """What the panel says of each task; as `Judge.judge_many`."""
        each = self._each(lambda judge: judge.judge_many(tasks, root=root, images=images, swap=swap, **asked))
        return [combine(task.kind, own) for task, *own in zip(tasks, *each, strict=True)]

    def rank(self, *words: Any, **how: Any) -> Verdict:
        """The order of mean ranks; as `Judge.rank`."""
        return combine("listwise", self._each(lambda judge: judge.rank(*words, **how)))

    def best(self, *words: Any, **how: Any) -> Verdict:
        """What most judges find the best; as `Judge.best`."""
        return combine("listwise", self._each(lambda judge: judge.best(*words, **how)))

    def _each(self, ask: Callable[[Asking], Any]) -> list[Any]:
        found = []
        for judge in self.judges:
            found.append(ask(judge))
            if not self._keep and isinstance(judge, Judge):
                judge.release()
        return found


class Cascade(Asking):
    """A cheap judge, and another that is asked where the first is not sure; its word then stands, whatever it is.

    Args:
        first: as `judge.without_tools()`, or a small model. One that does not say how sure it is (no probability, and
            neither `votes` nor `swap` asked for) is never sure.
        then: the careful one.
        unless: probability from which the first is believed.

    Raises:
        ArmliteError: `unless` is no probability.
    """

    def __init__(self, first: Asking, then: Asking, unless: float = UNLESS):
        super().__init__()
        if not 0 <= unless <= 1:
            raise ArmliteError(f"unless is {unless}; it is a probability from 0 to 1")
        self.first, self.then, self.unless = first, then, unless

    def judge_many(
        self,
        tasks: Sequence[Task],
        *,
        root: str | Path = ".",
        images: Sequence[Sequence[Image.Image] | None] | None = None,
        swap: bool = False,
        **asked: Unpack[Asked],
    ) -> list[Verdict]:
        """The first judge's verdicts where it is sure, else the other's; as `Judge.judge_many`."""
        found = self.first.judge_many(tasks, root=root, images=images, swap=swap, **asked)
        unsure = [i for i, verdict in enumerate(found) if not sure(verdict, self.unless)]
        opened = None if images is None else [images[i] for i in unsure]
        again = (
            self.then.judge_many([tasks[i] for i in unsure], root=root, images=opened, swap=swap, **asked)
            if unsure
            else []
        )
        for i, verdict in zip(unsure, again, strict=True):
            found[i] = replaced(found[i], verdict)
        return found

    def rank(self, *words: Any, **how: Any) -> Verdict:
        """As `Judge.rank`."""
        return self._ask(lambda judge: judge.rank(*words, **how))

    def best(self, *words: Any, **how: Any) -> Verdict:
        """As `Judge.best`."""
        return self._ask(lambda judge: judge.best(*words, **how))

    def _ask(self, ask: Ask) -> Verdict:
        found = ask(self.first)
        return found if sure(found, self.unless) else replaced(found, ask(self.then))


def replaced(first: Verdict, then: Verdict) -> Verdict:
    """The second judge's verdict, with both as its members."""
    return _with_images(then.model_copy(update={"members": _members([first, then])}), [then])


def _members(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    own = ((v, v.trajectory.model if v.trajectory and not v.members else v.model) for v in verdicts)
    return tuple(verdict.model_copy(update={"trajectories": (), "model": model}) for verdict, model in own)


def _with_images(verdict: Verdict, made_of: Sequence[Verdict]) -> Verdict:
    verdict._images = {file: image for part in made_of for file, image in part.images.items()}
    return verdict
