"""ARM-Thinker-Data: judgments with tool calls, as the reference system learned from them (internlm).

What is judged stands between tags in the first human turn, the right answer in `gt`; the turns are kept, so that they
can be learned from. The inner files of the repository and the names of tool turns could not be verified.
"""

import re
from collections.abc import Iterator
from typing import Any

from armlite.data.conversations import check_marks, turns, unmarked
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Constraint, Task

_RESULTS = ("observation", "tool", "human", "user")
"""Speakers of a tool's result, whose published name is not known."""
_TRUE_FALSE = {-1: True, -2: False}
"""A single response's `gt` as the reference's document reward reads it."""
_QUESTION = re.compile(r"<start_of_(instruction|question)>(.*?)<end_of_\1>", re.DOTALL)
_CONSTRAINT = re.compile(r"<start_of_constraint>(.*?)<end_of_constraint>", re.DOTALL)
_RESPONSE = re.compile(r"<start_of_((?:resp|text)_[0-4])>(.*?)<end_of_\1>", re.DOTALL)


def _tasks(row: Row) -> Iterator[Task]:
    said = turns(row)
    asked = _asked(row, said)
    responses = {name: text.strip() for name, text in _RESPONSE.findall(asked)}
    if not responses:
        raise row.fail("conversations", "the first human turn holds no tagged response such as <start_of_resp_1>")
    if not all(responses.values()):
        raise row.fail("conversations", "the first human turn holds an empty response")
    images = row.items("images", of=str) if row.get("images") is not None else []
    check_marks(row, [text for _, text in said], len(images))
    paths = [row.keep(image, f"images.{i}") for i, image in enumerate(images)]
    source = row.text("source") if row.get("source") is not None else ""
    yield Task(
        id=row.words("id", "idx"),
        question=_question(row, asked),
        images=tuple(paths[: asked.count("<image>")]),
        responses=tuple(responses.values()),
        constraints=tuple(Constraint(text=text.strip()) for text in _CONSTRAINT.findall(asked) if text.strip()),
        source=f"arm-thinker-data/{source or 'unnamed'}",
        meta={
            "group": {"source": source},
            "conversations": [{"from": speaker, "value": text} for speaker, text in said],
            "conversation_images": paths,
            "tool_calls": row.integer("tool_call_cnt") if row.get("tool_call_cnt") is not None else None,
        },
        **_judged(row, list(responses)),
    )


def _asked(row: Row, said: list[tuple[str, str]]) -> str:
    """The first human turn, after a check that the turns are a whole judgment."""
    rest = said[1:] if said[0][0] == "system" else said
    if not rest or rest[0][0] not in ("human", "user"):
        raise row.fail("conversations", "must open with a human turn")
    for i, (speaker, _) in enumerate(rest):
        wanted = ("gpt", "assistant") if i % 2 else _RESULTS
        if speaker not in wanted:
            raise row.fail("conversations", f"turn {i + 1} is from {speaker!r}, must be from {' or '.join(wanted)}")
    if len(rest) % 2:
        raise row.fail("conversations", "must end with a gpt turn")
    return rest[0][1]


def _question(row: Row, asked: str) -> str:
    """The field, else the tagged instruction."""
    found = _QUESTION.search(asked)
    question = unmarked(row.text("question") if row.get("question") is not None else found[2] if found else "")
    if not question:
        raise row.fail("question", "is missing, and the first human turn holds no tagged instruction")
    return question


def _judged(row: Row, names: list[str]) -> dict[str, Any]:
    """Kind and gold by the number of tagged responses; `gt` counts from 1."""
    if len(names) == 1:
        value = row.need("gt")
        gold = {"true": True, "false": False}.get(str(value).strip().lower())
        if gold is None:
            gold = _TRUE_FALSE.get(row.integer("gt"))
        if gold is None:
            raise row.fail("gt", f"is {value!r}; of a single response it must be True, False, -1 (true) or -2 (false)")
        return {"kind": "pointwise", "gold": gold}
    if names != [f"resp_{i}" for i in range(1, len(names) + 1)]:
        raise row.fail("conversations", f"holds the responses {', '.join(names)}; must be resp_1, resp_2 ...")
    gold = row.integer("gt")
    if not 1 <= gold <= len(names):
        raise row.fail("gt", f"is {gold}, must be 1 to {len(names)}")
    return {"kind": "pairwise" if len(names) == 2 else "listwise", "gold": gold}


DATASET = DataSet(
    name="arm-thinker-data",
    title="judgments with tool calls that ARM-Thinker was trained on",
    licence="CC-BY-NC-4.0",
    tasks=_tasks,
    files=("qwen/**/*.json|qwen/**/*.jsonl", "**/*.json|**/*.jsonl"),
    hub="internlm/ARM-Thinker-Data",
    split="train",
    snapshot=True,
    seen="fields as a preview of three rows shows them, their texts cut; tags as in the reference's prompts",
    notes=(
        "The files' names and the speaker of a tool's result could not be verified; observation, tool, human and "
        "user are accepted.",
        "A single response's gt of -1 and -2 is read as true and false, as the reference's document reward does.",
        "Written by Qwen3-VL-235B and GPT-4o; the licence rules out commercial use.",
    ),
)
