"""One judgment: memory, tools, what a turn leads to, and the record of it all."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from armlite.episode import Episode, EpisodeSettings
from armlite.errors import ArmliteError, ToolError
from armlite.memory import Limits, Memory
from armlite.protocol import prompts
from armlite.protocol.parse import FAULTS
from armlite.protocol.render import system_text
from armlite.tools import all_tools, get_tool, register, tools_for
from armlite.tools.tool import Tool, tool
from armlite.types import Constraint, Observation, StopReason, Task, Trajectory

THINK = "<think>I weigh them.</think>\n"
ANSWER = f"{THINK}<answer>Overall Judgment: Answer 1 is better.</answer>"


def call(name: str, arguments: str) -> str:
    return f'{THINK}<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def look(place: str, more: str = "") -> str:
    return call("peek", f'{{"place": "{place}"{more}}}')


def photo(color: str = "white", size: tuple[int, int] = (600, 400)) -> Image.Image:
    return Image.new("RGB", size, color)


def start(
    images: Sequence[Image.Image] = (),
    order: Sequence[int] = (),
    texts: Sequence[str] = ("Ulm", "Bern"),
    **settings: Any,
) -> Episode:
    task = Task(
        id="t", kind="pairwise" if len(texts) == 2 else "listwise", question="Which?", responses=tuple(texts), gold=1
    )
    shown = [texts[n - 1] for n in order or range(1, len(texts) + 1)]
    chosen = EpisodeSettings(**settings)
    return Episode(task, Memory(images, shown, None, (), chosen.limits), chosen, order)


def seen(episode: Episode, text: str) -> Observation:
    """What the model gets to see after a turn."""
    step = episode.advance(text)
    assert step is not None
    assert step.observation is not None
    assert episode.conversation.messages[-1].text == step.observation.text
    return step.observation


# Memory


@pytest.mark.parametrize(
    ("own", "name", "found"),
    [
        (1, "img_0", "img_0"),
        (1, "original_image", "img_0"),
        (1, "original_image_1", "img_0"),
        (1, "observation_1", "img_1"),
        (1, "img_2", "img_2"),
        (1, "observation_2", "img_2"),
        (2, "original_image", "img_0"),
        (2, "original_image_2", "img_1"),
        (2, "observation_1", "img_2"),
        (0, "observation_1", "img_0"),
        (1, "image_1", "img_1"),
        (1, "original_image_2", None),
        (0, "original_image", None),
        (1, "original_image_0", None),
        (1, "observation_0", None),
        (1, "observation_3", None),
        (1, "img_3", None),
        (1, "img_-1", None),
        (1, "IMG_0", None),
        (1, "img_0\n", None),
        (1, "", None),
        (1, "img_" + "9" * 5000, None),
    ],
)
def test_an_image_is_found_under_the_paper_s_and_the_reference_s_names(own: int, name: str, found: str | None) -> None:
    memory = Memory([photo()] * own)
    memory.add_image(photo("red")), memory.add_image(photo("blue"))
    if found:
        assert memory.image_id(name) == found
        assert memory.image_id(memory.wire_name(found)) == found
    else:
        with pytest.raises(ToolError, match=r"(?s)there is no image named .*`observation_1`, `observation_2`\."):
            memory.image_id(name)


@pytest.mark.parametrize(
    ("texts", "name", "found"),
    [
        (2, "resp_1", 0),
        (2, "resp_2", 1),
        (2, "text_0", 0),
        (2, "text_1", 1),
        (1, "resp_0", 0),
        (1, "resp_1", 0),
        (1, "text_0", 0),
        (2, "resp_0", None),
        (2, "resp_3", None),
        (2, "text_2", None),
        (1, "The whole text of the response.", None),
        (0, "resp_1", None),
        (2, "resp_" + "1" * 5000, None),
    ],
)
def test_a_response_is_found_whole_under_its_names(texts: int, name: str, found: int | None) -> None:
    memory = Memory((), [f"text {i} " * 5000 for i in range(texts)])
    if found is not None:
        assert memory.text(name) == f"text {found} " * 5000
    else:
        with pytest.raises(ToolError, match="there is no text named"):
            memory.text(name)


def test_every_response_is_in_the_memory_whole_however_little_is_shown() -> None:
    long = "word " * 3000
    episode = start(texts=("Ulm", long, "Bern"), order=(2, 3, 1), limits=Limits(shown_characters=100))
    assert len(episode.conversation.messages[0].text) < 2000
    assert [episode.memory.text(f"resp_{i}") for i in (1, 2, 3)] == [long, "Bern", "Ulm"]


def test_a_crop_knows_where_it_comes_from() -> None:
    episode = start([photo()])
    observation = seen(episode, call("image_zoom_in_tool", '{"image": "original_image", "bbox_2d": [0, 0, 500, 500]}'))
    assert observation.ok
    assert observation.images == ("img_1",)
    assert "`observation_1`" in observation.text
    info = episode.memory.infos["img_1"]
    assert (info.parent, info.box, (info.width, info.height)) == ("img_0", (0, 0, 300, 200), (600, 400))
    observation = seen(episode, call("image_zoom_in_tool", '{"image": "observation_1", "bbox_2d": [0, 0, 500, 500]}'))
    assert observation.images == ("img_2",)
    assert episode.memory.infos["img_2"].parent == "img_1"


def test_images_are_shown_shrunk_and_kept_whole() -> None:
    episode = start([photo(size=(2000, 1000))], limits=Limits(image_max_pixels=20_000))
    [shown] = episode.conversation.messages[0].images
    assert shown.width * shown.height <= 20_000
    assert episode.memory.images["img_0"].size == (2000, 1000)


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
    assert record.images[1].file == record.images[2].file or record.images[1].width != record.images[2].width


# Tools


def test_the_schema_of_a_tool_comes_from_its_hints_and_docstring(peeking: Tool) -> None:
    assert peeking.schema == {
        "type": "function",
        "function": {
            "name": "peek",
            "description": "Look at a place and see what is there.",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "Where to look, such as `sky`; never `cellar`."},
                    "times": {"type": "integer", "description": "How often."},
                },
                "required": ["place"],
            },
        },
    }


@tool(hidden=("alias", "anything"))
def many(
    memory: Memory,
    /,
    *,
    word: str,
    count: int,
    share: float,
    sure: bool,
    side: Literal["left", "right"],
    box: list[float],
    pairs: list[list[int]],
    more: dict[str, Any] | None = None,
    alias: str = "",
    anything: Any = None,
) -> Observation:
    """Takes all there is.

    Args:
        word: A.
        count: B.
        share: C.
        sure: D.
        side: E.
        box: F.
        pairs: G.
        more: H.
    """
    return Observation(ok=True, text=f"{word} {count} {share} {sure} {side} {box} {pairs} {more} {alias} {anything}")


FINE = {"word": "w", "count": 1, "share": 2, "sure": True, "side": "left", "box": [1, 2.5], "pairs": [[1, 2]]}


def test_every_kind_of_hint_has_its_json_type_and_hidden_parameters_are_not_shown() -> None:
    parameters = many.schema["function"]["parameters"]
    types = {name: value["type"] for name, value in parameters["properties"].items()}
    assert list(types.values()) == ["string", "integer", "number", "boolean", "string", "array", "array", "object"]
    assert parameters["properties"]["side"]["enum"] == ["left", "right"]
    assert parameters["required"] == list(FINE)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"more": None},
        {"more": {"a": 1}},
        {"alias": "x"},
        {"anything": [1]},
        {"anything": "x"},
        {"box": []},
        {"share": 0.5},
    ],
)
def test_arguments_that_fit_are_passed_on(changed: dict[str, Any]) -> None:
    given = FINE | changed
    text = many(Memory(), **given).text
    assert [str(value) for value in given.values() if str(value) not in text] == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"word": 1}, "parameter 'word' of many must be a string, got 1"),
        ({"word": None}, "must be a string, got null"),
        ({"count": 1.5}, "must be an integer, got 1.5"),
        ({"count": True}, "must be an integer, got true"),
        ({"count": "1"}, 'must be an integer, got "1"'),
        ({"share": "0.5"}, "must be a number"),
        ({"share": False}, "must be a number"),
        ({"sure": 1}, "must be a boolean"),
        ({"side": "up"}, "must be one of 'left', 'right', got \"up\""),
        ({"side": ["left"]}, "must be one of"),
        ({"box": 1}, "must be a list of number"),
        ({"box": [1, "2"]}, "must be a list of number"),
        ({"box": [1, True]}, "must be a list of number"),
        ({"pairs": [[1, 2], [3, 4.5]]}, "must be a list of list of integer"),
        ({"more": []}, "parameter 'more' of many must be an object"),
        ({"wrod": "w"}, "many has no parameter 'wrod'. Did you mean 'word'?"),
        ({"memory": {}}, "many has no parameter 'memory'."),
        ({"self": {}}, "many has no parameter 'self'."),
        ({"word": "x" * 9000, "count": "y" * 9000}, "y..."),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_usage(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError) as caught:
        many(Memory(), **(FINE | changed))
    assert said in str(caught.value)
    assert "Usage: many(word: string, count: integer," in str(caught.value)
    assert "alias" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("missing", FINE)
def test_a_missing_argument_is_named(missing: str) -> None:
    with pytest.raises(ToolError, match=f"many needs the parameter '{missing}'"):
        many(Memory(), **{name: value for name, value in FINE.items() if name != missing})


def test_a_function_without_a_manual_is_no_tool() -> None:
    def bare(memory: Memory, /, a: int) -> Observation: ...

    def half(memory: Memory, /, a: int) -> Observation:
        """Does something."""

    def foreign(memory: Memory, /, a: tuple[int, int]) -> Observation:
        """Does something.

        Args:
            a: What.
        """

    def unhinted(memory, /, a):
        """Does something.

        Args:
            a: What.
        """

    for function, said in (
        (bare, "parameter a"),
        (half, "parameter a"),
        (unhinted, "parameter a"),
        (foreign, "parameter a has a type"),
    ):
        with pytest.raises(TypeError, match=said):
            tool(function)


def test_tools_are_shown_by_what_the_memory_holds_unless_they_are_named(peeking: Tool, tmp_path: Path) -> None:
    def names(memory: Memory, chosen: tuple[str, ...] | None = None) -> list[str]:
        return [t.name for t in tools_for(memory, chosen)]

    pages = document_of(tmp_path / "report", 2)
    with_sheet = Memory([photo()], (), pages)
    check = [name for name in all_tools() if name.startswith("check_")]
    documents = ["doc_page_retrieval_by_query", "doc_page_retrieval_by_index"]
    assert names(Memory((), ["a", "b"])) == ["peek"]
    assert names(Memory([photo()])) == ["image_zoom_in_tool", "peek"]
    assert names(with_sheet) == [*documents, "peek"]
    assert len(check) == 19
    assert names(Memory((), ["a"], None, [Constraint(text="short")])) == [*check, "peek"]
    assert names(with_sheet, ("peek", "image_zoom_in_tool")) == ["peek", "image_zoom_in_tool"]
    assert names(with_sheet, ()) == []
    with pytest.raises(ArmliteError, match=r"no tool 'peak'\. Did you mean 'peek'"):
        names(with_sheet, ("peak",))
    register(many)
    assert get_tool("many") is many
    assert names(Memory())[-1] == "many"


# What lies outside


def document_of(folder: Path, pages: int) -> Any:
    from armlite.tools.pages import Document

    folder.mkdir()
    for i in range(1, pages + 1):
        photo("white", (200, 300)).save(folder / f"{i}.png")
    return Document(folder)


def test_files_outside_the_memory_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = document_of(tmp_path / "report", 2)
    document_of(tmp_path / "secret", 1)
    photo("red").save(tmp_path / "secret.png")
    (tmp_path / "secret.txt").write_text("secret words")
    monkeypatch.chdir(tmp_path)
    opened: list[Any] = []
    task = Task(id="t", kind="pointwise", question="Q", responses=("short",), constraints=("One word.",))  # type: ignore[arg-type]
    memory = Memory([photo(), photo()], task.responses, document, task.constraints)
    memory.start()
    episode = Episode(task, memory, EpisodeSettings(max_calls=99))
    before = set(memory.images)
    monkeypatch.setattr(
        "builtins.open", lambda file, *_, **__: opened.append(file) or os.fdopen(os.open(os.devnull, 0))
    )
    for path in (
        "secret.png",
        str(tmp_path / "secret.png"),
        "../secret.png",
        "file:///etc/passwd",
        "http://127.0.0.1/a.png",
    ):
        asked = [call("image_zoom_in_tool", f'{{"image": "{path}", "bbox_2d": [0, 0, 500, 500]}}')]
        asked += [call("doc_page_retrieval_by_index", f'{{"filename": "{path[:-4]}", "image_idx": 1}}')]
        asked += [call("doc_page_retrieval_by_query", f'{{"filename": "{path}", "query": "secret"}}')]
        asked += [call("check_whether_has_no_arabic_number_in_response", f'{{"response": "{path[:-4]}.txt"}}')]
        for text in asked:
            observation = seen(episode, text)
            assert (observation.ok, observation.tool is None) == (False, False)
            assert "there is no" in observation.text
    assert set(memory.images) == before
    assert opened == []


def test_a_whole_response_is_checked_by_a_tool_though_only_its_beginning_is_shown() -> None:
    task = Task(
        id="t",
        kind="pointwise",
        question="Q",
        responses=("word " * 50,),
        constraints=("At most 9 words.",),  # type: ignore[arg-type]
    )
    limits = Limits(shown_characters=20)
    episode = Episode(task, Memory((), task.responses, None, task.constraints, limits), EpisodeSettings(limits=limits))
    name, bounds = "check_whether_response_word_count_in_range", '"lower_bound": 50, "upper_bound": 50'
    assert "word " * 5 not in episode.conversation.messages[0].text
    assert seen(episode, call(name, f'{{"response": "text_0", {bounds}}}')).text.startswith("Check result: True")
