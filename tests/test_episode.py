"""One judgment: what a turn leads to, in whose order the decision is, and the record of it all."""

from typing import Literal

import pytest
from small_episode import ANSWER, THINK, call, look, photo, seen, start

from armlite.episode import Episode
from armlite.protocol import prompts
from armlite.protocol.parse import FAULTS
from armlite.protocol.render import system_text
from armlite.tools import all_tools
from armlite.tools.tool import Tool
from armlite.types import StopReason, Trajectory

# Turns


@pytest.fixture
def episode(peeking: Tool) -> Episode:
    return start(tools=("peek",), max_calls=3)


def test_a_call_is_run_and_its_result_seen(episode: Episode) -> None:
    observation = seen(episode, look("blue"))
    assert (observation.ok, observation.tool, observation.data) == (True, "peek", {"place": "blue"})
    assert observation.images == ("img_0",)
    assert episode.stop is None
    assert episode.conversation.messages[-1].images == (episode.memory.images["img_0"],)
    assert episode.conversation.messages[-2].text == look("blue")


def test_a_tool_s_complaint_goes_to_the_model(episode: Episode) -> None:
    observation = seen(episode, look("cellar"))
    assert (observation.ok, observation.tool, observation.text) == (False, "peek", "Error: the cellar is locked.")
    assert episode.stop is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        ("<think>a", "unclosed_think"),
        (THINK + "<tool_call>{}", "unclosed_call"),
        (THINK + "<tool_call>peek()</tool_call>", "bad_json"),
        (THINK + "<tool_call>[]</tool_call>", "bad_call"),
        (look("sky") + look("sky").removeprefix(THINK), "two_calls"),
        (THINK + "<answer>1", "unclosed_answer"),
    ],
)
def test_a_malformed_turn_is_fed_back_and_counts_as_a_call(episode: Episode, text: str, fault: str) -> None:
    for _ in range(3):
        observation = seen(episode, text)
        assert observation.text.startswith(f"Error: {FAULTS[fault]}")
        assert (observation.ok, observation.tool) == (
            False,
            None,
        )
    assert seen(episode, text).text == prompts.LIMIT_REACHED
    assert [step.turn.fault for step in episode.steps] == [fault] * 4


def test_an_unknown_tool_is_answered_with_the_nearest_and_counts_as_a_call(episode: Episode) -> None:
    observation = seen(episode, call("peak", "{}"))
    assert observation.text == "Error: there is no tool named 'peak'. Did you mean 'peek'? Tools: peek."
    assert (observation.ok, observation.tool) == (False, None)
    assert "Did you mean" not in seen(episode, call("zzz", "{}")).text
    assert len(seen(episode, call("z" * 9000, "{}")).text) < 300
    assert seen(episode, look("sky")).text == prompts.LIMIT_REACHED


def test_a_tool_that_exists_but_was_not_shown_cannot_be_called(episode: Episode) -> None:
    assert "image_zoom_in_tool" in all_tools()
    assert seen(episode, call("image_zoom_in_tool", '{"image": "img_0", "bbox_2d": [0, 0, 9, 9]}')).tool is None


def test_the_same_call_again_is_run_noticed_and_said_so(episode: Episode) -> None:
    marks = []
    for turn in (look("sky", ', "times": 2'), look("sky"), call("peek", '{"times": 2, "place": "sky"}')):
        observation = seen(episode, turn)
        marks.append((observation.duplicate, prompts.SAME_CALL in observation.text, observation.text.split("\n")[0]))
    assert marks == [
        (False, False, "You see the sky."),
        (False, False, "You see the sky."),
        (True, True, "You see the sky."),
    ]


def test_at_the_limit_one_forced_turn_is_left_to_answer_in(episode: Episode) -> None:
    places = ["sky", "sea", "cellar", "land"]
    texts = [seen(episode, look(place)).text for place in places]
    assert texts[3] == prompts.LIMIT_REACHED
    assert episode.steps[3].observation is not None
    assert episode.steps[3].observation.tool is None
    assert episode.stop is None
    episode.advance(ANSWER)
    assert episode.stop is StopReason.ANSWERED
    assert len(episode.trajectory().calls) == 3


@pytest.mark.parametrize("last", [look("sky"), "", THINK + "<answer>1"])
def test_who_does_not_answer_in_the_forced_turn_has_reached_the_limit(episode: Episode, last: str) -> None:
    for _ in range(4):
        seen(episode, look("sky"))
    episode.advance(last)
    assert episode.stop is StopReason.CALL_LIMIT
    assert episode.steps[-1].observation is None


def test_without_tools_a_call_is_told_so_once(peeking: Tool) -> None:
    episode = start([photo()], tools=())
    assert episode.conversation.tools == ()
    assert "tool" not in episode.conversation.messages[0].text
    assert seen(episode, look("sky")).text == prompts.NO_TOOLS
    episode.advance(look("sky"))
    assert episode.stop is StopReason.CALL_LIMIT
    assert episode.trajectory().tools == ()


@pytest.mark.parametrize(
    ("text", "finish", "stop"),
    [
        (ANSWER, "stop", StopReason.ANSWERED),
        ("<answer></answer>", "stop", StopReason.ANSWERED),
        ("I do not know.", "stop", StopReason.NO_ANSWER),
        (THINK, "stop", StopReason.NO_ANSWER),
        (ANSWER, "length", StopReason.TURN_BUDGET),
        (look("sky"), "length", StopReason.TURN_BUDGET),
        ("connection lost", "error", StopReason.MODEL_ERROR),
    ],
)
def test_a_last_turn_has_a_reason_and_no_observation(
    episode: Episode, text: str, finish: Literal["stop", "length", "error"], stop: StopReason
) -> None:
    seen(episode, look("sky"))
    step = episode.advance(text, finish, 7)
    assert step
    assert (episode.stop, step.observation, step.turn.tokens, step.turn.text) == (stop, None, 7, text)
    assert episode.decision == (1 if stop is StopReason.ANSWERED and text == ANSWER else None)
    with pytest.raises(RuntimeError, match="has stopped"):
        episode.advance(ANSWER)


def test_an_overflow_takes_back_the_observation_that_was_never_seen(episode: Episode) -> None:
    seen(episode, look("sky"))
    seen(episode, look("blue", ', "times": 2'))
    assert episode.advance("", "overflow") is None
    record = episode.trajectory()
    assert record.stop is StopReason.CONTEXT_BUDGET
    assert [s.observation is None for s in record.steps] == [False, True]
    assert record.steps[1].turn.text == look("blue", ', "times": 2')
    assert len(record.calls) == 1
    assert record.images == ()
    assert episode.pixels() == {}
    assert episode.conversation.messages[-1].role == "assistant"


def test_a_prompt_that_does_not_fit_ends_an_episode_without_steps() -> None:
    episode = start([photo()])
    episode.advance("", "overflow")
    record = episode.trajectory()
    assert (record.stop, record.steps, len(record.images)) == (StopReason.CONTEXT_BUDGET, (), 1)


def test_a_long_observation_is_cut_in_the_middle_and_control_tokens_in_it_are_defused(episode: Episode) -> None:
    text = seen(episode, look("<|im_end|>" + "x" * 9000 + "!")).text
    assert text.startswith("You see the < |im_end| >xxx")
    assert text.endswith("xxx!.")
    assert "...(truncated)..." in text
    assert len(text) == episode.memory.limits.observation_max_characters + len("...(truncated)...")


def test_an_unfinished_episode_has_no_record(episode: Episode) -> None:
    seen(episode, look("sky"))
    with pytest.raises(RuntimeError, match="not stopped"):
        episode.trajectory()


# Order


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1), (3, 2, 1)])
@pytest.mark.parametrize("chosen", [1, 2, 3])
def test_the_decision_is_in_the_caller_s_own_order(order: tuple[int, ...], chosen: int) -> None:
    texts = ("first", "second", "third")
    episode = start(texts=texts, order=order)
    prompt = episode.conversation.messages[0].text
    assert [prompt.index(texts[n - 1]) for n in order] == sorted(prompt.index(text) for text in texts)
    episode.advance(f"{THINK}<answer>Overall Judgment: Answer {chosen} is better.</answer>")
    record = episode.trajectory()
    assert texts[int(record.decision or 0) - 1] == episode.memory.text(f"resp_{chosen}")
    assert record.order == order


def test_a_tie_stays_a_tie_in_any_order() -> None:
    episode = start(order=(2, 1))
    episode.advance(f"{THINK}<answer>Tie</answer>")
    assert episode.decision == 0


# The record


def records(peeking: Tool) -> list[Trajectory]:
    turns = {
        StopReason.ANSWERED: [look("sky"), look("sky"), look("cellar"), ANSWER],
        StopReason.NO_ANSWER: [look("blue", ', "times": 2'), 'h\u00fc \u2028 \U0001f600 \\ " <|im_end|>\0'],
        StopReason.CALL_LIMIT: ["<think>"] * 5,
    }
    found = []
    for stop, texts in turns.items():
        episode = start([photo()], (2, 1), max_calls=3)
        for text in texts:
            episode.advance(text)
        assert episode.stop is stop
        found.append(episode.trajectory())
    return found


def test_a_record_survives_json_exactly(peeking: Tool) -> None:
    for record in records(peeking):
        line = record.to_json()
        again = Trajectory.from_json(line)
        assert again == record
        assert again.to_json() == line
        assert "\n" not in line
        assert [type(s.turn) for s in again.steps] == [type(s.turn) for s in record.steps]


@pytest.mark.parametrize(
    "arguments",
    [
        '{"place": "a", "b": [-0.0, 1e-9, 12345678901234567]}',
        '{"place": "\\ud83d\\ude00\\u0000\\u2028", "n": {"": null}}',
    ],
)
def test_arguments_of_any_shape_survive_json_exactly(episode: Episode, arguments: str) -> None:
    seen(episode, call("peek", arguments))
    episode.advance(ANSWER)
    record = episode.trajectory()
    assert repr(Trajectory.from_json(record.to_json())) == repr(record)


def test_a_record_holds_what_the_model_saw(peeking: Tool) -> None:
    episode = start([photo("red"), photo("blue")])
    seen(episode, look("blue"))
    episode.advance(ANSWER, tokens=11)
    record = episode.trajectory()
    first = episode.conversation.messages[0]
    assert (record.prompt, record.system) == (first.text, system_text(episode.conversation.tools))
    assert record.prompt_images == ("img_0", "img_1")
    assert record.steps[0].observation
    assert record.steps[0].observation.images == ("img_2",)
    assert record.steps[1].turn.tokens == 11
    assert {info.file for info in record.images} == set(episode.pixels())
    assert len(record.images) == 3
    assert len({info.file for info in record.images}) == 3
