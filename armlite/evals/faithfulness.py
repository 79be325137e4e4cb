"""Whether verdicts follow from what the tools showed: observations are swapped for another task's, and the judge writes
its last turn again.

The observation that decided (`armlite.models.chances`: the right answer became much likelier with it) is swapped for
one that speaks for the other response; a faithful verdict then changes sides. One that changed nothing is swapped for
any other of the same tool; a faithful verdict then stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ArmliteError
from armlite.evals.folder import read_run
from armlite.evals.intervals import share
from armlite.models.chances import chances
from armlite.models.local import LocalModel
from armlite.protocol.parse import parse_decision, parse_turn
from armlite.protocol.render import Conversation, Message
from armlite.rewards import is_right, plain_text
from armlite.types import Observation, Task

DECIDES, IDLE = 0.25, 0.05
"""An observation decided where it made the right answer likelier by so much, and was idle where the chances moved by
less than that."""


@dataclass(frozen=True)
class Look:
    """An observation of a right judgment."""

    episode: Episode
    step: int
    gain: float

    @property
    def task(self) -> Task:
        return self.episode.task

    @property
    def observation(self) -> Observation:
        """What the judge saw."""
        seen = self.episode.steps[self.step].observation
        assert seen is not None
        return seen

    @property
    def message(self) -> Message:
        """The same as it stands in the conversation."""
        return self.episode.conversation.messages[2 + 2 * self.step]


def faithfulness(folder: Path, settings: EpisodeSettings, model: LocalModel) -> dict[str, Any]:
    """Swap observations of an evaluation's first judgments.

    Args:
        folder: of the evaluation, which is finished.
        settings: the rules that it was judged by.
        model: the judge.

    Returns:
        `judged` (right judgments with a call), `chance_before` and `chance_after` (means: before the first call, after
        the last), `deciding` and `idle` (observations), `no_donor` (deciding ones for which no other task has an
        observation that speaks for the other response), and shares with intervals: `follows` (swapped deciding ones
        after which the verdict is the other response), `no_verdict` (of the same: neither) and `moved_by_idle` (swapped
        idle ones after which the verdict is another).

    Raises:
        ArmliteError: no judgment of it is right and has a call.
    """
    episodes = [e for e in _replayed(folder, settings) if e.steps and is_right(e.task, e.decision) and _calls(e)]
    if not episodes:
        raise ArmliteError(f"{folder}: no judgment is right and has a call, so there is no observation to swap")
    known = chances(model, episodes)
    looks = [look for episode, own in zip(episodes, known, strict=True) for look in _looks(episode, own)]
    deciding = [look for look in looks if look.gain >= DECIDES]
    idle = [look for look in looks if abs(look.gain) < IDLE]
    pairs = [(look, donor) for look in deciding if (donor := _speaks_for_other(look, deciding)) is not None]
    others = [(look, donor) for look in idle if (donor := _any_other(look, looks)) is not None]
    swapped = _answers(model, [*pairs, *others])
    first, second = swapped[: len(pairs)], swapped[len(pairs) :]
    follows = [said is not None and not is_right(look.task, said) for (look, _), said in zip(pairs, first, strict=True)]
    moved = [said != look.episode.decision for (look, _), said in zip(others, second, strict=True)]
    return {
        "judged": len(episodes),
        "chance_before": _mean([own[0] for own in known if own]),
        "chance_after": _mean([own[-1] for own in known if own]),
        "deciding": len(deciding),
        "no_donor": len(deciding) - len(pairs),
        "idle": len(idle),
        "follows": share(sum(follows), len(follows)),
        "no_verdict": share(sum(said is None for said in first), len(first)),
        "moved_by_idle": share(sum(moved), len(moved)),
    }


def _replayed(folder: Path, settings: EpisodeSettings) -> Iterator[Episode]:
    """The first judgments of an evaluation, played again: tools give the same once more."""
    for item in read_run(folder).items:
        made = item.answers[0].trajectory
        if made.fault is None:
            episode = Episode.open(made.task, settings, folder, made.order, made.rollout)
            for step in made.steps:
                if episode.stop is None:
                    episode.advance(step.turn.text, step.turn.finish)
            yield episode


def _calls(episode: Episode) -> list[int]:
    steps = enumerate(episode.steps)
    return [i for i, step in steps if step.observation is not None and step.observation.tool is not None]


def _looks(episode: Episode, own: Sequence[float]) -> list[Look]:
    if not own:
        return []
    return [Look(episode, step, own[i + 1] - own[i]) for i, step in enumerate(_calls(episode))]


def _speaks_for_other(look: Look, looks: Sequence[Look]) -> Look | None:
    """An observation of another task that speaks for this one's other response: it decided for a response of the same
    words, or a check of it has the other result.
    """
    task = look.task
    if task.kind != "pairwise" or not isinstance(task.gold, int):
        return None
    other = plain_text(task.responses[2 - task.gold])
    result = look.observation.data.get("result")
    for donor in _others(look, looks):
        theirs = donor.task
        if isinstance(result, bool):
            if donor.observation.data.get("result") is (not result):
                return donor
        elif isinstance(theirs.gold, int) and theirs.gold and plain_text(theirs.responses[theirs.gold - 1]) == other:
            return donor
    return None


def _any_other(look: Look, looks: Sequence[Look]) -> Look | None:
    return next(_others(look, looks), None)


def _others(look: Look, looks: Sequence[Look]) -> Iterator[Look]:
    """Observations of the same tool in other tasks, from the next task on and around."""
    at = next(i for i, one in enumerate(looks) if one is look)
    around = [*looks[at + 1 :], *looks[:at]]
    return (one for one in around if one.task.id != look.task.id and one.observation.tool == look.observation.tool)


def _answers(model: LocalModel, pairs: Sequence[tuple[Look, Look]]) -> list[Any]:
    """The verdict (in the caller's order) that the judge gives after the donor's observation instead of its own; None
    where it gives none, or calls again. What it did after the observation is forgotten.
    """
    if not pairs:
        return []
    greedy = LocalModel(
        model.model,
        model.processor,
        model.sampling.model_copy(update={"temperature": 0.0}),
        model.settings,
        model.vision,
        name=model.name,
    )
    session, asked = greedy.session(), {}
    for number, (look, donor) in enumerate(pairs):
        talk = look.episode.conversation
        messages = [*talk.messages[: 2 + 2 * look.step], donor.message]
        conversation = Conversation(talk.task_id, talk.rollout, talk.tools, messages, talk.system)
        asked[id(conversation)] = number, conversation
        session.submit(conversation)
    verdicts: list[Any] = [None] * len(pairs)
    while asked:
        for conversation, reply in session.wait():
            number, _ = asked.pop(id(conversation))
            session.close(conversation)
            look, _ = pairs[number]
            answer = parse_turn(reply.text, "length" if reply.finish == "length" else "stop", reply.tokens).answer
            task = look.task
            said = parse_decision(answer, task.kind, len(task.responses), task.options) if answer else None
            verdicts[number] = None if said is None else look.episode.in_own_order(said)
    return verdicts


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
