"""MMIF-23k: instructions about an image with many constraints, as answers to imitate (SFT) and as pairs (DPO).

JSON lists in the shape of LLaMA-Factory's ShareGPT format; a row with `chosen` is a pair. The constraints are part of
the instruction's text and are not published as a list.
"""

from collections.abc import Iterator
from typing import Any

from armlite.data.conversations import check_marks, turn, turns, unmarked
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Task


def _tasks(row: Row) -> Iterator[Task]:
    pair = row.get("chosen") is not None or row.get("rejected") is not None
    said = turns(row)
    speakers = [speaker for speaker, _ in said]
    if speakers != (["human"] if pair else ["human", "gpt"]):
        wanted = "one human turn beside chosen and rejected" if pair else "one human and one gpt turn"
        raise row.fail("conversations", f"must be {wanted}, not {', '.join(speakers)}")
    values = row.items("images") if row.get("images") is not None else []
    check_marks(row, [text for _, text in said], len(values))
    question = unmarked(said[0][1])
    if not question:
        raise row.fail("conversations.0.value", "holds nothing but marks of images")
    use = "dpo" if pair else "sft"
    judged: dict[str, Any] = {"kind": "open_qa", "gold": (said[1][1],)} if not pair else _pair(row)
    yield Task(
        id=row.text("id") if row.get("id") is not None else f"{row.file.stem}-{row.number}",
        question=question,
        images=tuple(row.keep(value, f"images.{i}") for i, value in enumerate(values)),
        source=f"mmif-23k/{use}",
        meta={"group": {"use": use}, "use": use},
        **judged,
    )


def _pair(row: Row) -> dict[str, Any]:
    (_, chosen), (_, rejected) = (turn(row, row.need(name), name) for name in ("chosen", "rejected"))
    if chosen.strip() == rejected.strip():
        raise row.fail("rejected", "is the same as the chosen response")
    return {"kind": "pairwise", "responses": (chosen, rejected), "gold": 1}


DATASET = DataSet(
    name="mmif-23k",
    title="23k instructions with constraints about an image: answers (SFT) and pairs (DPO)",
    licence="unknown",
    tasks=_tasks,
    files=("**/*.json", "**/*.jsonl"),
    hub="ChrisDing1105/MMIF-23k",
    split="train",
    snapshot=True,
    notes=(
        "File names and licence could not be verified: point --path at a folder that holds these JSON files only.",
        "An SFT row has no judgment: it becomes an open question whose accepted answer is the published one.",
        "The rejected response was written without some of the constraints, and always stands second as published.",
    ),
)
