"""Multimodal RewardBench: pairs of answers about an image in five categories (facebookresearch/multimodal_rewardbench).

Reads `all_data.json` of the repository (images by path) and the hub mirror's parquet (images embedded).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Task

CATEGORIES = (
    "open_generation/correctness_task",
    "open_generation/preference_task",
    "knowledge",
    "reasoning",
    "safety",
    "vqa",
)


def _tasks(row: Row) -> Iterator[Task]:
    identity = row.words("ID")
    category = row.one_of(CATEGORIES, "Category")
    # The repository's paths are relative to the folder of its JSON file.
    images = [replace(row, root=None).keep(value, "Image") for value in _images(row)]
    question = row.text("Text")
    if question.count("<image>") not in (0, len(images)):
        raise row.fail("Text", f"names {question.count('<image>')} images, the row has {len(images)}")
    better = row.one_of(("Output1", "Output2"), "Better")
    group = {"category": category} | _sub(identity, category)
    yield Task(
        id=identity,
        kind="pairwise",
        question=question.replace("<image>", "").strip(),
        images=tuple(images),
        responses=(row.text("Output1"), row.text("Output2")),
        gold=1 if better == "Output1" else 2,
        source=f"multimodal-rewardbench/{category.replace('/', '-')}",
        meta={"published_id": identity, "group": group},
    )


def _images(row: Row) -> list[Any]:
    """One picture in all rows that were seen; a list of several is read too."""
    value = row.need("Image")
    return value if isinstance(value, list) else [value]


def _sub(identity: str, category: str) -> dict[str, str]:
    """The splits of two categories by the beginning of the id (the repository's `2_get_accuracy.py`)."""
    if category == "safety":
        return {"sub": "bias" if identity.lower().startswith("pairs") else "toxicity"}
    if category == "reasoning":
        return {"sub": "math" if identity.lower().startswith("math") else "coding"}
    return {}


SETS = {
    "multimodal-rewardbench": DataSet(
        name="multimodal-rewardbench",
        title="pairs of answers about an image: correctness, preference, knowledge, reasoning, safety, VQA",
        use="benchmark",
        licence="CC-BY-NC; third-party texts and images under their own terms",
        tasks=_tasks,
        files=("data/all_data.json", "**/all_data.json", "**/test*.parquet", "**/*.parquet", "**/*.json"),
        hub="syhuggingface/multimodal_rewardbench",
        counts={"all": 4711},
        notes=(
            "The hub id is a third party's mirror; the publisher's own form is data/all_data.json, made by the "
            "download script of github.com/facebookresearch/multimodal_rewardbench.",
            "The paper has 5211 rows; 500 of Hateful Memes are withheld.",
            "Twelve ids stand on two rows; the second gets '#2'.",
        ),
    )
}
