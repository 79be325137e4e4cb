"""Trajectories as the reference saves them: its agent's list of messages (`result.json`), or rows of its evaluation
with the messages in them, pictures in the text or in files beside.

They become tasks whose turns are kept, so that they can be learned from (`data.traces`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from armlite.data.conversations import MARK, check_tools
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.data.tagged import document_of, judged
from armlite.types import Task

_ROLES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
_FOLDERS = (".", "images", "result_images/test_agent_image_zoom_in", "result_images")
"""Below the file's folder: where the reference writes the pictures that messages name."""


def _tasks(row: Row) -> Iterator[Task]:
    result = row.mapping("judge_result") if row.get("judge_result") is not None else {}
    field = "messages" if row.get("messages") is not None else "judge_result.full_messages"
    messages = row.get("messages") or result.get("full_messages")
    if not isinstance(messages, list) or not messages:
        raise row.fail(field, "is missing: the trajectory was saved without its messages")
    said: list[dict[str, str]] = []
    pictures: list[str] = []
    for number, message in enumerate(messages):
        speaker, text, shown = _message(row, f"{field}.{number}", message)
        said.append({"from": speaker, "value": MARK * len(shown) + text})
        pictures += shown
    asked = next((turn["value"] for turn in said if turn["from"] == "human"), "")
    if said[-1]["from"] != "gpt" or not asked:
        raise row.fail(field, "must begin with a user's message and end with the assistant's")
    check_tools(row, f"{field}.0", said[0]["value"] if said[0]["from"] == "system" else "")
    document, lost = document_of(row, asked)
    identity = row.text("idx", "id") if row.get("idx", "id") is not None else f"{row.file.stem}-{row.number}"
    yield Task(
        id=identity,
        images=() if document else tuple(pictures[: asked.count(MARK)]),
        document=document,
        source="arm-thinker-trajectories/judged" if "<start_of_" in asked else "arm-thinker-trajectories/asked",
        meta={
            "conversations": said,
            "conversation_images": pictures,
            "tool_calls": sum(turn["from"] == "observation" for turn in said),
            **{name: result[name] for name in ("model_choice", "score") if result.get(name) is not None},
            **lost,
        },
        **judged(row, field, asked, row.get("gt"), need_gold=False),
    )


def _message(row: Row, field: str, message: Any) -> tuple[str, str, list[str]]:
    """Speaker, text and pictures of a message."""
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise row.fail(f"{field}.role", f"must be one of {', '.join(_ROLES)}")
    content, texts, pictures = message.get("content"), [], []
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
        if block.get("type") == "image_url":
            pictures.append(_picture(row, field, block["image_url"]["url"]))
        else:
            texts.append(str(block.get("text", "")))
    if not texts and not pictures:
        raise row.fail(f"{field}.content", "is empty")
    return _ROLES[message["role"]], "".join(texts), pictures


def _picture(row: Row, field: str, url: str) -> str:
    if url == "hidden":
        raise row.fail(f"{field}.content", "hides its picture: save trajectories as base64 or save_to_path")
    if url.startswith("data:"):
        return row.keep(url, field)
    below = row.file.parent
    places = (Path(folder) / url for folder in _FOLDERS if (below / folder / url).is_file())
    return row.keep(str(below.relative_to(row.folder) / next(places, Path(url))), field)


DATASET = DataSet(
    name="arm-thinker-trajectories",
    title="trajectories that ARM-Thinker's agent and evaluation have saved",
    licence="that of what was judged",
    tasks=_tasks,
    files=("**/*.jsonl|**/result*.json", "**/*.json"),
    split="train",
    seen="the repository's own tests/result.json; rows of an evaluation as its script writes them",
    notes=(
        "A list of messages, or rows with messages or judge_result.full_messages, which the script's own code keeps "
        "out by default.",
        "Pictures as data URLs, or as files that are looked for beside the file, in images/ and in result_images/.",
        "Turns are learned from with the system text that they were saved with.",
    ),
)
