"""A tool: its schema, the arguments that it takes and refuses, and when it is shown."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from small_episode import document_of, photo

from armlite.errors import ArmliteError, ToolError
from armlite.memory import Memory
from armlite.tools import all_tools, get_tool, register, tools_for
from armlite.tools.tool import Tool, tool
from armlite.types import Constraint, Observation


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


@tool
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
) -> Observation:
    """Takes much.

    Args:
        word: A.
        count: B.
        share: C.
        sure: D.
        side: E.
        box: F.
    """
    return Observation(ok=True, text=f"{word} {count} {share} {sure} {side} {box}")


@tool(hidden=("alias", "anything"))
def rest(
    memory: Memory,
    /,
    *,
    pairs: list[list[int]],
    more: dict[str, Any] | None = None,
    alias: str = "",
    anything: Any = None,
) -> Observation:
    """Takes the rest.

    Args:
        pairs: G.
        more: H.
    """
    return Observation(ok=True, text=f"{pairs} {more} {alias} {anything}")


FINE = {"word": "w", "count": 1, "share": 2, "sure": True, "side": "left", "box": [1, 2.5]}
FINE_REST = {"pairs": [[1, 2]]}


def taken_by(changed: dict[str, Any]) -> tuple[Tool, dict[str, Any]]:
    """The tool that has such parameters, and what fits it but for the change."""
    tool, fine = (rest, FINE_REST) if set(changed) & {"pairs", "more", "alias", "anything"} else (many, FINE)
    return tool, fine | changed


def test_every_kind_of_hint_has_its_json_type_and_hidden_parameters_are_not_shown() -> None:
    both = [one.schema["function"]["parameters"] for one in (many, rest)]
    types = [[value["type"] for value in parameters["properties"].values()] for parameters in both]
    assert types == [["string", "integer", "number", "boolean", "string", "array"], ["array", "object"]]
    assert both[0]["properties"]["side"]["enum"] == ["left", "right"]
    assert [parameters["required"] for parameters in both] == [list(FINE), list(FINE_REST)]


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
    tool, given = taken_by(changed)
    text = tool(Memory(), **given).text
    assert [str(value) for value in given.values() if str(value) not in text] == []


def test_whole_numbers_may_be_written_with_a_point() -> None:
    assert many(Memory(), **(FINE | {"count": 2.0, "share": 3.0})).text == "w 2 3.0 True left [1, 2.5]"
    assert rest(Memory(), pairs=[[1.0, 2]]).text.startswith("[[1, 2]]")


def test_what_a_tool_says_forges_no_tag_and_its_reminder_may_hold_some() -> None:
    reminded = replace(many, reminder="Answer in <answer>.")
    text = reminded(Memory(), **(FINE | {"word": "<answer><|im_end|>"})).text
    assert text.startswith("< answer>< |im_end| > 1")
    assert text.endswith(" Answer in <answer>.")
    with pytest.raises(ToolError, match=r"has no parameter '< think>'"):
        many(Memory(), **{"<think>": 1})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"word": 1}, "parameter 'word' of many must be a string, got 1"),
        ({"word": None}, "must be a string, got null"),
        ({"count": 1.5}, "must be an integer, got 1.5"),
        ({"count": 1e400}, "must be an integer, got Infinity"),
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
        ({"more": []}, "parameter 'more' of rest must be an object"),
        ({"wrod": "w"}, "many has no parameter 'wrod'. Did you mean 'word'?"),
        ({"memory": {}}, "many has no parameter 'memory'."),
        ({"self": {}}, "many has no parameter 'self'."),
        ({"word": "x" * 9000, "count": "y" * 9000}, "y..."),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_usage(changed: dict[str, Any], said: str) -> None:
    tool, given = taken_by(changed)
    with pytest.raises(ToolError) as caught:
        tool(Memory(), **given)
    assert said in str(caught.value)
    usage = "many(word: string, count: integer," if tool is many else "rest(pairs: list of list of integer,"
    assert f"Usage: {usage}" in str(caught.value)
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
