"""V*: questions about small things in large photos (craigwu/vstar_bench, SEAL).

Reads the repository's `test_questions.jsonl` with the JPEG and JSON files beside it, the hub mirror with an Image
column, and VLMEvalKit's TSV. Scored by letters, by category; source: lmms-eval (`vstar_bench/utils.py`).
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.choices import NOTES, gold_letter, option_columns, split_options
from armlite.evals.benchmarks.letters import (
    accuracies,
    by_rule,
    lmms_vstar_letter,
    majority,
    ours,
    unread,
    vlmevalkit_letter,
)
from armlite.evals.benchmarks.shares import plain_mean
from armlite.evals.figures import Benchmark, Figures, Item, TaskMeta
from armlite.types import ImageInfo, Task


class Meta(TaskMeta):
    """`group` has `category`; the last two are published with the repository's own files only."""

    category: str = ""
    targets: list[str] = []
    """What is to be found."""
    bboxes: list[list[int]] = []
    """And where: left, top, right, bottom in pixels."""


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


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
        meta=Meta(published_id=identity, category=category, group={"category": category}, **targets).as_dict(),
    )


def _question(row: Row) -> tuple[str, dict[str, str], str]:
    """Question, options, and the field that the options come from."""
    if row.get("text") is None and row.get("question") is not None:
        return row.words("question").strip(), option_columns(row), "A"
    question, *parts = _OPTION.split(_REQUEST.sub("", row.words("text")))
    return question.strip(), split_options(row, "text", parts), "text"


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


def score(items: Sequence[Item]) -> Figures:
    """Figures of the first answers.

    Returns:
        `acc` (our reading), `acc_lmms` and `acc_vlmevalkit` (their rules on `Answer.said`), each also as
        `.../CATEGORY`; `acc_last_turn` (lmms-eval's rule on the last turn with its thoughts); `parse_failures`;
        `crop_iou`, mean over the items with known boxes and a crop: how well the best crop of each target meets it.
    """
    figures: Figures = {}
    lmms, vlmevalkit = by_rule(lmms_vstar_letter), by_rule(vlmevalkit_letter)
    for name, right in (("acc", ours), ("acc_lmms", lmms), ("acc_vlmevalkit", vlmevalkit)):
        figures |= accuracies(name, items, right, _category)
    figures |= accuracies("acc_last_turn", items, by_rule(lmms_vstar_letter, whole_turn=True), lambda item: ())
    met = [iou for item in items if (iou := crop_iou(item)) is not None]
    figures["crop_iou"] = plain_mean(met)
    return figures | majority(items) | {"parse_failures": unread(items)}


def _category(item: Item) -> list[str]:
    return [item.group["category"]]


def crop_iou(item: Item) -> float | None:
    """Mean over the targets of the best intersection over union with a crop of the first answer's trajectory.

    None where the boxes are not published with the row, or nothing was cropped.
    """
    answer, boxes = item.first, Meta.of(item.task).bboxes
    if answer is None or not boxes:
        return None
    crops = _crops(answer.trajectory.images)
    return sum(max(_iou(tuple(box), crop) for crop in crops) for box in boxes) / len(boxes) if crops else None


def _crops(images: Sequence[ImageInfo]) -> list[Box]:
    """Crops in pixels of the task's image, of which V* has one; a crop of a crop is followed back to it."""
    frames: dict[str, tuple[Box, ImageInfo]] = {}
    for info in images:
        if info.parent is None:
            frames[info.id] = (0.0, 0.0, float(info.width), float(info.height)), info
        elif info.box is not None and info.parent in frames:
            (left, top, right, bottom), parent = frames[info.parent]
            across, down = (right - left) / parent.width, (bottom - top) / parent.height
            x0, y0, x1, y1 = info.box
            frames[info.id] = (left + x0 * across, top + y0 * down, left + x1 * across, top + y1 * down), info
    return [frame for frame, info in frames.values() if info.parent is not None]


def _iou(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (areas - shared) if areas > shared else 0.0


BENCHMARK = Benchmark(
    name="vstar",
    main="acc",
    score=score,
    dataset=DataSet(
        title="multiple choice questions about small things in large photos",
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
    ),
    notes=(
        *NOTES,
        "The publisher compares the likelihoods of the options and has no rule for text; the gold letters are the "
        "data set's, not always A as in an evaluation that leaves the right option first.",
    ),
)
