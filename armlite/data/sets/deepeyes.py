"""DeepEyes-47k: questions about an image with one right answer, three parquet files of differing columns (ChenShawn).

Their prompts teach a tool protocol of their own and are dropped; the question is the one in `extra_info`.
"""

from collections.abc import Iterator
from typing import Any

from armlite.data.conversations import check_marks
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Task

_SOURCES = ("vstar", "chart", "thinklite_eureka")


def _tasks(row: Row) -> Iterator[Task]:
    source = row.one_of(_SOURCES, "data_source")
    info, reward = row.mapping("extra_info"), row.mapping("reward_model")
    question = info.get("question")
    if not isinstance(question, str) or not question.replace("<image>", "").strip():
        raise row.fail("extra_info.question", "is missing" if question is None else "must be a text that is not blank")
    number = info.get("index") if info.get("index") is not None else info.get("id")
    identity = f"{source}-{row.file.stem}-{row.number}" if number is None else f"{source}-{number}"
    yield Task(
        id=identity,
        kind="open_qa",
        question=question.replace("<image>", "").strip(),
        images=_images(row),
        gold=(_answer(row, reward.get("ground_truth")),),
        source=f"deepeyes/{source}",
        meta={
            "group": {"data_source": source},
            "data_source": source,
            "ability": row.get("ability"),
            "env_name": row.get("env_name") or None,
        },
    )


def _answer(row: Row, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise row.fail(
            "reward_model.ground_truth", "is missing" if value is None else "must be a text that is not blank"
        )
    return str(value).strip()


def _images(row: Row) -> tuple[str, ...]:
    """All images, after a check that the user's turns mark as many."""
    values = row.items("images")
    if not values:
        raise row.fail("images", "is empty")
    users = [m["content"] for m in row.items("prompt", of=dict) if m.get("role") == "user"]
    if not all(isinstance(content, str) for content in users):
        raise row.fail("prompt", "must hold messages whose content is a text")
    check_marks(row, users, len(values))
    return tuple(row.keep(value, f"images.{i}") for i, value in enumerate(values))


DATASET = DataSet(
    name="deepeyes",
    title="47k questions about images, many on small details, with one right answer each",
    licence="unknown (the code of the repository is Apache-2.0)",
    tasks=_tasks,
    files=("data_*.parquet", "**/data_*.parquet", "**/*.parquet"),
    hub="ChenShawn/DeepEyes-Datasets-47k",
    split="train",
    snapshot=True,
    counts={"data_0.1.2_visual_toolbox_v2.parquet": 22362},
    notes=(
        "The data's licence is not stated; the keys of extra_info vary by file.",
        "No judgments: pairs are made of it with `armlite data pairs`.",
        "Its questions on small details share their source of images with V*: remove benchmark images first.",
    ),
)
