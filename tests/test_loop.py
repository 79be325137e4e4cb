"""The loop: many episodes at once, each to its own end."""

from collections.abc import Callable

import pytest
from playing import play

from armlite.episode import Episode, EpisodeSettings
from armlite.loop import Reply
from armlite.memory import Memory
from armlite.models.scripted import ScriptedModel
from armlite.protocol import prompts
from armlite.protocol.render import Conversation
from armlite.tools.tool import Tool
from armlite.types import Step, StopReason, Task

THINK = "<think>I weigh them.</think>\n"
LOOK = f'{THINK}<tool_call>\n{{"name": "peek", "arguments": {{"place": "blue"}}}}\n</tool_call>'
ANSWER = f"{THINK}<answer>Overall Judgment: Answer 2 is better.</answer>"

SCRIPTS: dict[str, tuple[list[str | Reply], StopReason, int]] = {
    # turns, how it ends, observations
    "answers at once": ([ANSWER], StopReason.ANSWERED, 0),
    "looks and answers": ([LOOK, ANSWER], StopReason.ANSWERED, 1),
    "does not answer": ([LOOK, "Hm."], StopReason.NO_ANSWER, 1),
    "runs out of tokens": ([LOOK, LOOK, Reply("<think>", "length", 9)], StopReason.TURN_BUDGET, 2),
    "runs out of context": ([LOOK, LOOK, Reply("", "overflow")], StopReason.CONTEXT_BUDGET, 1),
    "has too long a prompt": ([Reply("", "overflow")], StopReason.CONTEXT_BUDGET, 0),
    "looks for ever": ([LOOK], StopReason.CALL_LIMIT, 4),
    "cannot be asked": ([LOOK, Reply("no route", "error")], StopReason.MODEL_ERROR, 1),
    "stumbles and answers": ([THINK + "<tool_call>", "", ANSWER], StopReason.ANSWERED, 2),
}


def by_task(conversation: Conversation) -> str | Reply:
    turns = SCRIPTS[conversation.task_id][0]
    return turns[min(conversation.turns, len(turns) - 1)]


def start(names: list[str], max_calls: int = 3) -> list[Episode]:
    texts = ("Ulm", "Bern")
    tasks = [Task(id=name, kind="pairwise", question="Which?", responses=texts) for name in names]
    return [Episode(task, Memory((), texts), EpisodeSettings(max_calls=max_calls)) for task in tasks]


@pytest.fixture(autouse=True)
def _(peeking: Tool) -> None:
    """Every episode here has the tool `peek`."""


def test_a_batch_ends_each_episode_for_its_own_reason() -> None:
    batch = start(list(SCRIPTS))
    play(batch, ScriptedModel(by_task, "a name"))
    for episode in batch:
        _, stop, observations = SCRIPTS[episode.task.id]
        record = episode.trajectory()
        assert (record.stop, record.model) == (stop, "a name"), episode.task.id
        assert sum(step.observation is not None for step in record.steps) == observations, episode.task.id
        assert record.decision == (2 if stop is StopReason.ANSWERED else None)


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_episode_is_the_same_alone_and_among_others(name: str) -> None:
    [alone], batch = start([name]), start(list(SCRIPTS) + list(SCRIPTS))
    play([alone], ScriptedModel(by_task))
    play(batch[::-1], ScriptedModel(by_task))
    assert [e.trajectory() for e in batch if e.task.id == name] == [alone.trajectory()] * 2


def test_every_step_is_reported_once_in_order_as_it_happens() -> None:
    batch, reported = start(list(SCRIPTS)), []

    def on_step(episode: Episode, step: Step) -> None:
        assert episode.steps[-1] is step
        reported.append((episode.task.id, len(episode.steps), episode.stop is not None))

    play(batch, ScriptedModel(by_task), on_step)
    for episode in batch:
        mine = [(count, ended) for name, count, ended in reported if name == episode.task.id]
        overflowed = episode.stop is StopReason.CONTEXT_BUDGET
        assert [count for count, _ in mine] == list(range(1, len(episode.steps) + 1))
        assert [ended for _, ended in mine] == [not overflowed and i == len(mine) for i in range(1, len(mine) + 1)]
    firsts = [name for name, count, _ in reported if count == 1]
    assert firsts == [name for name in SCRIPTS if name != "has too long a prompt"], "in the order of the batch"


def test_the_model_sees_the_limit_before_its_forced_turn() -> None:
    seen: list[str] = []

    def watch(conversation: Conversation) -> str:
        seen.append(conversation.messages[-1].text)
        return LOOK

    play(start(["t"], max_calls=1), ScriptedModel(watch))
    assert seen[1].startswith("You see the blue.")
    assert seen[2] == prompts.LIMIT_REACHED
    assert len(seen) == 3


class Halting:
    """A session that ends turns one at a time, the newest first, and keeps account of what it holds."""

    name, in_flight, threads = "halting", 8, 0

    def __init__(self, reply: Callable[[Conversation], str | Reply]):
        self.reply, self.waiting, self.held = reply, [], []  # type: ignore[var-annotated]

    def session(self) -> "Halting":
        return self

    def submit(self, conversation: Conversation) -> None:
        assert not any(c is conversation for c in self.waiting)
        self.waiting.append(conversation)
        if not any(c is conversation for c in self.held):
            self.held.append(conversation)

    def wait(self) -> list[tuple[Conversation, Reply]]:
        conversation = self.waiting.pop()
        reply = self.reply(conversation)
        return [(conversation, reply if isinstance(reply, Reply) else Reply(reply))]

    def wake(self) -> None:
        raise AssertionError("it has no threads")

    def close(self, conversation: Conversation) -> None:
        self.held = [c for c in self.held if c is not conversation]


def test_a_model_may_end_turns_in_any_order_and_is_told_what_to_release() -> None:
    batch, together = start(list(SCRIPTS)), start(list(SCRIPTS))
    session = play(batch, Halting(by_task))
    play(together, ScriptedModel(by_task, "halting"))
    assert isinstance(session, Halting)
    assert session.held == []
    assert session.waiting == []
    assert [e.trajectory() for e in batch] == [e.trajectory() for e in together]


def test_an_error_of_ours_is_not_swallowed() -> None:
    def broken(_: Conversation) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        play(start(["t"]), ScriptedModel(broken))


def test_no_episodes_are_played_at_once() -> None:
    assert play([], ScriptedModel([ANSWER])).wait() == []


def test_a_list_is_a_script_whose_last_turn_repeats() -> None:
    [episode] = start(["t"])
    play([episode], ScriptedModel([ANSWER.replace("answer>", "anser>"), LOOK]))
    assert episode.stop is StopReason.NO_ANSWER
    assert len(episode.steps) == 1
    [episode] = start(["t"])
    play([episode], ScriptedModel([LOOK]))
    assert [step.turn.text for step in episode.steps] == [LOOK] * 5
