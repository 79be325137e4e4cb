"""VL-RewardBench: pairs of answers to a question about an image, ranked by people (MMInstruction/VL-RewardBench).

Reads the hub's parquet, the repository's JSONL and the TSV twin of VLMEvalKit; scoring is in
`armlite.evals.benchmarks.vl_rewardbench`.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Task

_BY_PREFIX = {
    "rlaif": "hallucination",
    "rlhf": "hallucination",
    "hallucination": "hallucination",
    "mathverse": "reasoning",
    "mmmu": "reasoning",
}
"""First part of an id, in lower case -> group; all others are `general` (data card)."""
_BY_FOLDER = {
    "vlfeedback": "general",
    "wildvision-battle": "general",
    "povid": "hallucination",
    "rlhf-v": "hallucination",
    "rlaif-v": "hallucination",
    "reasoning_tasks": "reasoning",
}
"""Folder of an image in the repository -> group (its `cal.py`)."""
_KEPT = ("models", "judge", "rationale", "query_source", "ground_truth")


def _tasks(row: Row) -> Iterator[Task]:
    identity = row.words("id", "index")
    question = row.text("query", "question")
    marks = question.count("<image>")
    if marks > 1:
        raise row.fail("query", f"names {marks} images, the row has one")
    responses = row.items("response", of=str)
    if len(responses) != 2:
        raise row.fail("response", f"must hold 2 answers, not {len(responses)}")
    yield Task(
        id=identity,
        kind="pairwise",
        question=question.replace("<image>", "").strip(),
        images=(_image(row),),
        responses=tuple(responses),
        gold=_better(row),
        source=f"vl-rewardbench/{(group := _group(row, identity))}",
        meta={"published_id": identity, "group": {"category": group}} | _rest(row),
    )


def _image(row: Row) -> str:
    """Embedded, or in the JSONL form a path that is relative to the file's own folder."""
    return replace(row, root=None).picture("image_path") if row.get("image") is None else row.picture("image")


def _better(row: Row) -> int:
    """Number of the better answer: `human_ranking` gives each one's rank, 0 is best."""
    field = "answer" if row.get("human_ranking") is None and row.get("answer") is not None else "human_ranking"
    ranking = row.items(field, of=int)
    if sorted(ranking) != [0, 1]:
        raise row.fail(field, f"must be [0, 1] or [1, 0] (the rank of each answer, 0 is best), not {ranking}")
    return ranking.index(0) + 1


def _group(row: Row, identity: str) -> str:
    if row.get("category") is not None and (category := row.text("category").strip().lower()) in _BY_FOLDER.values():
        return category
    folder = str(row.get("image_path") or "").split("/")
    if len(folder) > 2 and folder[-2] in _BY_FOLDER:
        return _BY_FOLDER[folder[-2]]
    return _BY_PREFIX.get(re.split("[_-]", identity)[0].lower(), "general")


def _rest(row: Row) -> dict[str, object]:
    """What the official prediction file repeats."""
    rest = {name: row.get(name) for name in _KEPT}
    return {name: value for name, value in rest.items() if value not in (None, "", [])}


SETS = {
    "vl-rewardbench": DataSet(
        name="vl-rewardbench",
        title="pairs of answers about an image, ranked by people: general, hallucination, reasoning",
        use="benchmark",
        licence="MIT",
        tasks=_tasks,
        files=(
            "data/test-*.parquet",
            "**/test*.parquet",
            "**/*.parquet",
            "**/*.tsv",
            "**/*.jsonl",
        ),
        hub="MMInstruction/VL-RewardBench",
        counts={"all": 1247},
        seen="schema as published; the first rows of the repository's data.jsonl were read by eye, without images",
        notes=(
            "An older revision has 1250 rows; the revision is not pinned.",
            "The group of a row is its category (TSV), its image's folder (JSONL), else the first part of its id.",
        ),
    )
}
