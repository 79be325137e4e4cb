"""How likely the right answer was before an episode's first observation and after each: what every call was worth.

Where the judge went on, it is asked what it would have answered: its turn is played with the thought that it had there
and each possible answer behind it, and the probabilities of the answers' tokens tell how likely each is beside the
others. That is a short forward pass for each answer, once before the first observation and once after each. The thought
is the judge's own, so a judge whose answers follow from its thoughts alone has chances near an even guess wherever its
thought is still a plan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from armlite.models.local import LocalModel
from armlite.protocol.render import Conversation
from armlite.rewards import is_right
from armlite.types import Decision, Task

NO_THOUGHT = "So be it."
"""In a turn that had none that could be read."""


def answers(task: Task) -> dict[Decision, str]:
    """Verdict (on presented responses by their presented numbers; ties are left out) -> how it is written; empty for an
    open question, whose verdicts cannot be listed.
    """
    said: dict[Decision, str] = {}
    if task.kind in ("pairwise", "listwise"):
        said = {n: f"Overall Judgment: Answer {n} is better." for n in range(1, len(task.responses) + 1)}
    elif task.kind == "pointwise":
        said = {verdict: f"Overall Judgment: {verdict}" for verdict in (True, False)}
    elif task.kind == "rating":
        said = {n: f"Overall Judgment: {n}" for n in range(1, 11)}
    elif task.kind == "multiple_choice":
        said = {key: key for key in task.options}
    return {verdict: f"<answer>{text}</answer>" for verdict, text in said.items()}


@dataclass
class _State:
    """A place of an episode at which it could have been answered."""

    episode: int
    messages: int
    """So many of its conversation were there then."""
    thought: str
    logprobs: dict[Decision, float] = field(default_factory=dict)
    """Of the turn with each answer."""


def chances(model: LocalModel, episodes: Sequence[Any]) -> list[tuple[float, ...]]:
    """The probability of the right answer at each place of episodes that have ended.

    Args:
        model: the judge.
        episodes: `armlite.episode.Episode`s.

    Returns:
        For each episode its chances before the first call and after each call's observation, so one more than it has
        calls; empty where there are none: no gold answer, an open question, no turn, or no room for the answer.
    """
    states = [state for number, episode in enumerate(episodes) for state in _states(number, episode)]
    first: dict[Any, _State] = {}  # rollouts of a task that have come to the same are asked once
    for state in states:
        first.setdefault(_key(state, episodes[state.episode]), state)
    if states:
        _ask(model, list(first.values()), episodes)
    found: list[list[float | None]] = [[] for _ in episodes]
    for state in states:
        same = first[_key(state, episodes[state.episode])]
        found[state.episode].append(_chance(same, episodes[state.episode]))
    return [_complete(own, _calls(episode)) for own, episode in zip(found, episodes, strict=True)]


def _calls(episode: Any) -> list[int]:
    """The numbers of the steps in which a tool was run."""
    steps = enumerate(episode.steps)
    return [i for i, step in steps if step.observation is not None and step.observation.tool is not None]


def _key(state: _State, episode: Any) -> Any:
    """Equal for states in which the judge has read and thought the same: equal calls show equal pictures."""
    talk = episode.conversation
    return talk.task_id, tuple(message.text for message in talk.messages[: state.messages]), state.thought


def _states(number: int, episode: Any) -> list[_State]:
    """Before the first turn, and after each call that was gone on from."""
    if not answers(episode.task) or episode.task.gold is None or not episode.steps:
        return []
    places = (0, *(i + 1 for i in _calls(episode)))
    steps = episode.steps
    return [_State(number, 1 + 2 * at, steps[at].turn.think or NO_THOUGHT) for at in places if at < len(steps)]


def _ask(model: LocalModel, states: Sequence[_State], episodes: Sequence[Any]) -> None:
    """Play each answer in each state, and keep how likely its turn was."""
    asked: dict[int, tuple[Conversation, _State, Decision]] = {}
    turns: dict[int, list[int]] = {}
    for state in states:
        episode = episodes[state.episode]
        talk = episode.conversation
        for verdict, text in answers(episode.task).items():
            messages = talk.messages[: state.messages]
            conversation = Conversation(talk.task_id, talk.rollout, talk.tools, messages, talk.system)
            turns[id(conversation)] = model.spell(f"<think>{state.thought}</think>\n{text}")
            asked[id(conversation)] = conversation, state, verdict
    # At temperature 0 log-probabilities are the model's own.
    sampling = model.sampling.model_copy(update={"temperature": 0.0, "max_new_tokens": max(map(len, turns.values()))})
    parts = model.model, model.processor, sampling, model.settings, model.vision
    session = LocalModel(*parts, script=lambda conversation: turns[id(conversation)]).session()
    session.keeps_tokens = False
    for conversation, _, _ in asked.values():
        session.submit(conversation)
    while asked:
        for conversation, reply in session.wait():
            _, state, verdict = asked.pop(id(conversation))
            if reply.finish == "stop":
                record = session.tokens(conversation)
                state.logprobs[verdict] = sum(record.logprobs[-len(turns[id(conversation)]) :])
            session.close(conversation)


def _chance(state: _State, episode: Any) -> float | None:
    """How likely the right answer is among all; None where one did not fit."""
    if len(state.logprobs) < len(answers(episode.task)):
        return None
    most = max(state.logprobs.values())
    weights = {verdict: math.exp(value - most) for verdict, value in state.logprobs.items()}
    right = sum(w for verdict, w in weights.items() if is_right(episode.task, episode.in_own_order(verdict)))
    return right / sum(weights.values())


def _complete(found: Sequence[float | None], calls: Sequence[int]) -> tuple[float, ...]:
    """Chances of all places; one that is not known is as the one before it."""
    if not found or found[0] is None:
        return ()
    known = [found[0]]
    for number in range(len(calls)):
        later = found[number + 1] if number + 1 < len(found) else None
        known.append(known[-1] if later is None else later)
    return tuple(known)
