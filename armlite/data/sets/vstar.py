"""V*: questions about small things in large photos (craigwu/vstar_bench, SEAL).

Reads the repository's `test_questions.jsonl` with the JPEG and JSON files beside it, the hub mirror with an Image
column, and VLMEvalKit's TSV; scoring is in `armlite.evals.benchmarks.choices`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.data.sets.choices import gold_letter, option_columns
from armlite.types import Task

CATEGORIES = ("direct_attributes", "relative_position")
_OPTION = re.compile(r"\n\(([A-Z])\) ")
"""An option may hold parentheses of its own, so only one at the start of a line counts."""
_REQUEST = re.compile(r"\s*Answer with the option's letter from the given choices directly\.?\s*$")


def _tasks(row: Row) -> Iterator[Task]:
    question, options, asked = _question(row)
    answer = "label" if row.get("label") is not None or row.get("answer") is None else "answer"
    category = row.one_of(CATEGORIES, "category")
    identity = row.text("question_id", "index")
    targets = _targets(row)
    yield Task(
        id=identity,
        kind="multiple_choice",
        question=question,
        images=(row.picture("image"),),
        options=options,
        gold=gold_letter(row, options, asked, answer),
        source=f"vstar/{category}",
        meta={"published_id": identity, "category": category, "group": {"category": category}} | targets,
    )


def _question(row: Row) -> tuple[str, dict[str, str], str]:
    """Question, options, and the field that the options come from."""
    if row.get("text") is None and row.get("question") is not None:
        return row.words("question").strip(), option_columns(row), "A"
    question, *parts = _OPTION.split(_REQUEST.sub("", row.words("text")))
    letters = parts[::2]
    if len(set(letters)) < len(letters):
        raise row.fail("text", f"names an option twice: {', '.join(letters)}")
    return question.strip(), {k: v.strip() for k, v in zip(letters, parts[1::2], strict=True)}, "text"


def _targets(row: Row) -> dict[str, Any]:
    """What is to be found, and where, from the JSON file beside an image file, where there is one.

    Boxes are published as x, y, width, height and kept as left, top, right, bottom, in pixels. The file's options are
    left alone: the first of them is always the right one.
    """
    image = row.get("image")
    if isinstance(image, dict):
        image = image.get("path") if image.get("bytes") is None else None
    if not isinstance(image, str) or len(image) > 1024 or Path(image).is_absolute() or ".." in Path(image).parts:
        return {}
    beside = (row.folder / image).with_suffix(".json") if Path(image).suffix else None
    if beside is None or not beside.is_file():
        return {}
    try:
        noted = json.loads(beside.read_text("utf-8"))
        names, boxes = [str(name) for name in noted["target_object"]], [[*map(float, box)] for box in noted["bbox"]]
        boxes = [[round(x), round(y), round(x + w), round(y + h)] for x, y, w, h in boxes]
    except (ValueError, KeyError, TypeError) as error:
        raise row.fail(
            "image", f"{beside.name} beside it must hold target_object and bbox [[x, y, w, h], ...]"
        ) from error
    return {"targets": names, "bboxes": boxes}


SETS = {
    "vstar": DataSet(
        name="vstar",
        title="multiple choice questions about small things in large photos",
        use="benchmark",
        licence="none declared",
        tasks=_tasks,
        files=("test_questions.jsonl", "**/test_questions.jsonl", "**/test*.parquet", "**/*.parquet", "**/*.tsv"),
        hub="craigwu/vstar_bench",
        mirrors=("lmms-lab/vstar-bench", "xjtupanda/VStar_Bench"),
        snapshot=True,
        counts={"all": 191},
        notes=(
            "115 questions are direct_attributes with four options, 76 relative_position with two.",
            "The boxes of what is to be found come only with the repository's own files, not with the mirrors.",
            "The columns of the TSV are those of VLMEvalKit's multiple choice sets; that file has not been seen.",
        ),
    )
}
