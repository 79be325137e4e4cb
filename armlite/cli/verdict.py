"""A judgment on the terminal: what `judge` and `chat` draw while it happens, and the verdict when it is there."""

from collections import Counter

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from armlite.cli.watching import Watching
from armlite.episode import Episode
from armlite.types import Step, Verdict
from armlite.view import text as words
from armlite.view.terminal import WIDTH, draw_step
from armlite.votes import agreeing, telling

PAIRS_SHOWN = 10
"""Of more comparisons only those are listed on which votes differ."""
METHODS = {
    "round_robin": "each against each",
    "merge_sort": "sorted pair by pair",
    "knockout": "a knockout",
}


def draw_verdict(console: Console, verdict: Verdict, evidence: bool = True, seconds: float | None = None) -> None:
    """Draw a verdict: the steps that it rests on, unless they were seen before, then what it says and why.

    Args:
        seconds: what it took.
    """
    vote = telling(verdict)
    if evidence and vote is not None:
        infos = {info.id: info for info in vote.images}
        for number, step in enumerate(vote.steps, 1):
            if step in vote.calls and step.observation is not None and step.observation.ok:
                draw_step(console, step, infos, lambda info: verdict.images[info.file], number=number)
    colour = {"judged": "green", "split": "yellow"}.get(verdict.status, "red")
    parts = [
        Text(words.headline(verdict), style="bold"),
        *(Text(line, style="dim") for line in _details(verdict, seconds)),
    ]
    if verdict.rationale:
        parts += [Text(), Text(words.literal(verdict.rationale.strip()), style="italic")]
    panel = Panel(Group(*parts), title="verdict", title_align="left", border_style=colour, padding=(0, 2))
    console.print()
    console.print(panel, width=min(console.width, WIDTH))


def _details(verdict: Verdict, seconds: float | None = None) -> list[str]:
    """How sure, by how many votes, how much was done, by which model; votes that disagree one by one."""
    votes, lines = verdict.trajectories, []
    if verdict.members:
        names = [f"{words.literal(own.model) or 'panel'}: {words.said(own, votes[0].task)}" for own in verdict.members]
        agree = "" if verdict.confidence is None else f"confidence {verdict.confidence:.0%}"
        done = words.count(sum(len(vote.calls) for vote in votes), "tool call")
        return [line for line in (agree, *names, done) if line]
    if verdict.status == "judged" and verdict.confidence is not None:
        asked = round(len(agreeing(verdict)) / verdict.confidence) if verdict.method == "knockout" else len(votes)
        agreed = f"{len(agreeing(verdict))} of {words.count(asked, 'vote')}"
        lines.append(f"confidence {verdict.confidence:.0%}: {agreed} agree")
    if verdict.status == "judged" and verdict.probability is not None and verdict.probability_from != "votes":
        of = "calibrated" if verdict.calibrated else "by its own tokens"
        lines.append(f"probability {verdict.probability:.1%} ({of})")
    if verdict.method is not None:
        failed = f", of which {verdict.comparisons_failed} could not be judged" if verdict.comparisons_failed else ""
        lines.append(f"{METHODS[verdict.method]}: {words.count(verdict.comparisons, 'comparison')}{failed}")
    elif len(votes) == 1 and votes[0].answer is not None and verdict.status != "judged":
        lines.append(f"it answered: {words.shorten(words.literal(votes[0].answer), 200)}")
    if len(votes) > 1:
        lines += _tally(verdict)
    if verdict.lenient:
        lines.append("read leniently: a thought was not closed")
    done = words.tally(votes[0]) if len(votes) == 1 else words.count(sum(len(v.calls) for v in votes), "tool call")
    names = dict.fromkeys(words.literal(v.model) for v in votes if v.model)
    took = [] if seconds is None else [f"{seconds:.1f} s"]
    return [*lines, " · ".join([done, *took, *names])]


def _tally(verdict: Verdict) -> list[str]:
    """What was voted for how often, where not all votes say the same; of pairs one line each, of many the uneven."""
    if verdict.status not in ("judged", "split"):
        stops = Counter(words.STOPS[vote.stop] for vote in verdict.trajectories)
        return [f"{stop} ({words.count(n, 'vote')})" for stop, n in stops.most_common()]
    parties: dict[str, Counter[str]] = {}
    for vote in verdict.trajectories:
        pair = vote.task.numbers
        said = words.decision_words(vote.task, vote.decision)
        if pair and vote.decision:
            said = f"Response {pair[int(vote.decision) - 1]} is better"
        parties.setdefault(f"{pair[0]} against {pair[1]}: " if pair else "", Counter())[said] += 1
    if len(parties) == 1 and len(next(iter(parties.values()))) == 1:
        return []
    if verdict.comparisons > PAIRS_SHOWN:
        parties = {pair: counts for pair, counts in parties.items() if len(counts) > 1}
    return [
        pair + ", ".join(f"{said} ({words.count(n, 'vote')})" for said, n in sorted(counts.items()))
        for pair, counts in parties.items()
    ]


class Progress:
    """Says each step of a judgment in a line or two on stderr, as it happens.

    Args:
        several: there is more than one vote, so say whose step it is.
    """

    def __init__(self, several: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.watching: Watching | None = None
        self._several = several

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(Text(text, style="dim"), no_wrap=True, overflow="ellipsis")

    def __call__(self, episode: Episode, step: Step) -> None:
        where = f"{whose(episode) if self._several else ''}step {len(episode.steps)}"
        turn, seen = step.turn, step.observation
        if self.watching is not None:
            self.watching.ended(episode.task.id, episode.conversation.rollout)
        if turn.call is not None:
            self.say(f"{where}: {'{}({})'.format(*words.call_words(turn))}")
        elif turn.answer is not None:
            self.say(f"{where}: answer: {_flat(turn.answer)}")
        else:
            self.say(f"{where}: {words.STOPS[episode.stop] if episode.stop else _flat(turn.text)}")
        if seen is not None:
            self.say(f"{' ' * len(where)}  {'' if seen.ok else '! '}{_flat(seen.text)}")


def whose(episode: Episode) -> str:
    """Which of several votes an episode is: `vote 2 (2, 1): ` with the presented order, or `1 against 3, vote 1: `."""
    pair, number = episode.task.numbers, episode.conversation.rollout + 1
    if pair:
        return f"{pair[0]} against {pair[1]}, vote {number}, "
    shown = f" ({', '.join(map(str, episode.order))})" if len(episode.order) > 1 else ""
    return f"vote {number}{shown}, "


def _flat(text: str) -> str:
    return " ".join(words.literal(text).split())
