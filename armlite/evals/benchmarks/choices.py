"""The scorers of V* and of HR-Bench 4K and 8K: letters, by category; for HR-Bench the mean over its four cycles.

Sources: lmms-eval (`vstar_bench/utils.py`, `hrbench/utils.py`) and VLMEvalKit (`dataset/utils/hrbench.py`).
"""

from collections.abc import Sequence

from armlite.evals.benchmarks.letters import (
    Right,
    accuracies,
    by_rule,
    lmms_vstar_letter,
    majority,
    ours,
    unread,
    vlmevalkit_letter,
)
from armlite.evals.benchmarks.shares import clustered, first
from armlite.evals.figures import Benchmark, Figure, Figures, Item
from armlite.evals.intervals import mean_interval
from armlite.types import ImageInfo

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def score_vstar(items: Sequence[Item]) -> Figures:
    """Figures of the first answers.

    Returns:
        `acc` (our reading), `acc_lmms` and `acc_vlmevalkit` (their rules on the text inside `<answer>`, else on the
        last turn), each also as `.../CATEGORY`; `acc_last_turn` (lmms-eval's rule on the last turn with its thoughts);
        `parse_failures`; `crop_iou`, mean over the items with known boxes and a crop: how well the best crop of each
        target meets it.
    """
    figures: Figures = {}
    for name, right in (("acc", ours), ("acc_lmms", by_rule(lmms_vstar_letter))):
        figures |= accuracies(name, items, right, _category)
    figures |= accuracies("acc_vlmevalkit", items, by_rule(vlmevalkit_letter), _category)
    figures |= accuracies("acc_last_turn", items, by_rule(lmms_vstar_letter, whole_turn=True), lambda item: ())
    met = [iou for item in items if (iou := crop_iou(item)) is not None]
    figures["crop_iou"] = Figure(value=sum(met) / len(met) if met else None, n=len(met), ci95=mean_interval(met))
    return figures | majority(items) | {"parse_failures": unread(items)}


def _category(item: Item) -> list[str]:
    return [item.group["category"]]


def crop_iou(item: Item) -> float | None:
    """Mean over the targets of the best intersection over union with a crop of the first answer's trajectory.

    None where the boxes are not published with the row, or nothing was cropped.
    """
    answer, boxes = first(item), item.task.meta.get("bboxes")
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


def score_hr_bench(items: Sequence[Item]) -> Figures:
    """Figures of the first answers; each accuracy is the mean over cycles of a cycle's accuracy.

    Returns:
        `acc` (our reading) and `acc_official` (VLMEvalKit's rule on the text inside `<answer>`, else on the last turn),
        each also as `.../single` (FSP) and `.../cross` (FCP); `acc_official/cycle N`; `acc_last_turn` (the same rule on
        the last turn with its thoughts); `parse_failures`. Intervals are by question: its four cycles hang together.
    """
    official = by_rule(vlmevalkit_letter)
    figures: Figures = {}
    for name, right in (("acc", ours), ("acc_official", official)):
        figures[name] = over_cycles(items, right)
        for category in ("single", "cross"):
            figures[f"{name}/{category}"] = over_cycles([i for i in items if i.group["category"] == category], right)
    cycles = accuracies("acc_official", items, official, lambda item: [f"cycle {item.group['cycle']}"])
    figures |= {name: figure for name, figure in cycles.items() if "/cycle" in name}
    figures["acc_last_turn"] = over_cycles(items, by_rule(vlmevalkit_letter, whole_turn=True))
    return figures | majority(items) | {"parse_failures": unread(items)}


def over_cycles(items: Sequence[Item], right: Right) -> Figure:
    """Mean over the cycles of the share of right items; the plain share where all cycles are equally long."""
    sizes: dict[str, int] = {}
    for item in items:
        sizes[item.group["cycle"]] = sizes.get(item.group["cycle"], 0) + 1
    # Weighted so that the plain mean of the values is the mean over cycles.
    values = [right(item) * len(items) / (len(sizes) * sizes[item.group["cycle"]]) for item in items]
    questions = [item.task.meta["question_key"] for item in items]
    return clustered(values, questions)


_PROMPT = "The prompt is ours: the options as `A. ...`, and the answer asked for inside <answer>."
_RULE = "extract=rule: where VLMEvalKit and lmms-eval ask a language model, an answer that no rule reads is wrong here."
_VOTES = "With several votes, acc_majority takes the letter of most of them; all others take the first vote."
BENCHMARKS = {
    "vstar": Benchmark(
        name="vstar",
        main="acc",
        score=score_vstar,
        notes=(
            _PROMPT,
            _RULE,
            _VOTES,
            "The publisher compares the likelihoods of the options and has no rule for text; the gold letters are the "
            "data set's, not always A as in an evaluation that leaves the right option first.",
        ),
    ),
    **{
        name: Benchmark(name=name, main="acc_official", score=score_hr_bench, notes=(_PROMPT, _RULE, _VOTES))
        for name in ("hr-bench-4k", "hr-bench-8k")
    },
}
