"""ARM-Thinker-Data: judgments with tool calls, as the reference system learned from them (internlm).

Two kinds of rows. Conversations: what is judged stands between tags in the first human turn, the right answer in `gt`;
the turns are kept, so that they can be learned from (`data.traces`). RL rows, as verl reads them from parquet: a prompt
without an answer. The inner files of the repository and the names of tool turns could not be verified.
"""

from collections.abc import Iterator
from typing import Any

from armlite.data.conversations import MARK, check_marks, check_tools, turns
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.data.tagged import document_of, judged
from armlite.types import Task

_RESULTS = ("observation", "tool", "human", "user")
"""Speakers of a tool's result, whose published name is not known."""
_MODEL = ("gpt", "assistant", "function_call")
"""Speakers of the model's turns; a `function_call` holds the JSON of a call, with or without a thought before it."""


def _tasks(row: Row) -> Iterator[Task]:
    yield _rl_task(row) if row.get("conversations") is None and row.get("prompt") is not None else _trace(row)


def _trace(row: Row) -> Task:
    said = turns(row)
    asked = _asked(row, said)
    check_tools(row, "conversations.0", said[0][1] if said[0][0] == "system" else "")
    images = row.items("images", of=str) if row.get("images") is not None else []
    check_marks(row, [text for _, text in said], len(images))
    paths = [row.keep(image, f"images.{i}") for i, image in enumerate(images)]
    source = row.text("source") if row.get("source") is not None else ""
    document, lost = document_of(row, asked)
    what = judged(row, "conversations", asked, row.need("gt"))
    if not what["responses"]:
        raise row.fail("conversations", "the first human turn holds no tagged response such as <start_of_resp_1>")
    return Task(
        id=row.words("id", "idx"),
        images=() if document else tuple(paths[: asked.count(MARK)]),
        document=document,
        source=f"arm-thinker-data/{source or 'unnamed'}",
        meta={
            "group": {"source": source},
            "conversations": [{"from": speaker, "value": text} for speaker, text in said],
            "conversation_images": paths,
            "tool_calls": row.integer("tool_call_cnt") if row.get("tool_call_cnt") is not None else None,
            **row.there("tools"),
            **lost,
        },
        **what,
    )


def _asked(row: Row, said: list[tuple[str, str]]) -> str:
    """The first human turn, after a check that the turns are a whole judgment."""
    rest = said[1:] if said[0][0] == "system" else said
    if not rest or rest[0][0] not in ("human", "user"):
        raise row.fail("conversations", "must open with a human turn")
    for i, (speaker, _) in enumerate(rest):
        wanted = _MODEL if i % 2 else _RESULTS
        if speaker not in wanted:
            raise row.fail("conversations", f"turn {i + 1} is from {speaker!r}, must be from {' or '.join(wanted)}")
    if len(rest) % 2 or rest[-1][0] == "function_call":
        raise row.fail("conversations", "must end with a gpt turn")
    return rest[0][1]


def _rl_task(row: Row) -> Task:
    """A row of `prompt`, `images`, `reward_model.ground_truth` and `data_source`, by which the reference rewards it."""
    users = [m for m in row.items("prompt", of=dict) if m.get("role") == "user"]
    if not users or not all(isinstance(m.get("content"), str) for m in users):
        raise row.fail("prompt", "must hold messages of role user whose content is a text")
    asked = users[0]["content"]
    images = row.items("images") if row.get("images") is not None else []
    source, info = row.text("data_source"), row.mapping("extra_info") if row.get("extra_info") is not None else {}
    document, lost = document_of(row, asked)
    what = judged(row, "prompt", asked, _truth(row))
    if not what["responses"]:
        raise row.fail("prompt", "the first user message holds no tagged response such as <start_of_resp_1>")
    number = info.get("index")
    return Task(
        id=f"{source}-{row.file.stem}-{row.number if number is None else number}",
        images=() if document else tuple(row.keep(image, f"images.{i}") for i, image in enumerate(images)),
        document=document,
        source=f"arm-thinker-data/{source}",
        meta={"group": {"source": source}, "data_source": source, "rm_tag": info.get("rm_tag"), **lost},
        **what,
    )


def _truth(row: Row) -> Any:
    value = row.mapping("reward_model").get("ground_truth")
    if value is None:
        raise row.fail("reward_model.ground_truth", "is missing")
    return value


DATASET = DataSet(
    name="arm-thinker-data",
    title="judgments with tool calls that ARM-Thinker was trained on",
    licence="CC-BY-NC-4.0",
    tasks=_tasks,
    files=("qwen/**/*.json|qwen/**/*.jsonl|qwen/**/*.parquet", "**/*.json|**/*.jsonl|**/*.parquet"),
    hub="internlm/ARM-Thinker-Data",
    split="train",
    snapshot=True,
    seen="fields as a preview of three rows shows them, their texts cut; tags as in the reference's prompts",
    notes=(
        "The files' names and the speaker of a tool's result could not be verified; observation, tool, human and "
        "user are accepted, and function_call for a call.",
        "What is converted is both tasks (data.tasks) and, of conversations, traces (data.traces).",
        "RL rows are read as the reference's trainer does: prompt, images, reward_model, data_source.",
        "A single response's gt of -1 and -2 is read as true and false, as the reference's document reward does.",
        "A document that a prompt names is looked for in documents/ below the folder; where it is not there, the task "
        "has the contact sheet and says so (lost_document).",
        "Written by Qwen3-VL-235B and GPT-4o; the licence rules out commercial use.",
    ),
)
