"""HR-Bench 4K and 8K: multiple choice questions about very large images (DreamMr/HR-Bench).

Each of the 200 questions is there four times with its options moved round, a cycle each. Reads the hub's parquet and
the TSV, images are base64 in both. Scored by letters, the mean over the four cycles; sources: VLMEvalKit
(`dataset/utils/hrbench.py`) and lmms-eval (`hrbench/utils.py`).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.choices import NOTES, gold_letter, option_columns
from armlite.evals.benchmarks.letters import (
    Right,
    accuracies,
    by_rule,
    lmms_hr_bench_letter,
    majority,
    ours,
    unread,
    vlmevalkit_letter,
)
from armlite.evals.benchmarks.shares import clustered
from armlite.evals.figures import Benchmark, Figure, Figures, Item, TaskMeta
from armlite.types import Task


class Meta(TaskMeta):
    """`group` has `category` and `cycle`."""

    category: str = ""
    cycle_category: str = ""
    question_key: str
    """What the four cycles of a question have in common: a digest of image, words and options."""


def _tasks(row: Row) -> Iterator[Task]:
    identity = row.text("index")
    question = row.words("question").strip()
    options = option_columns(row, "ABCD")
    category = row.one_of(("single", "cross"), "category")
    cycle = row.text("cycle_category")
    image = row.picture("image")
    # No column says which four rows are the same question: the image, the words and the set of options do.
    same = hashlib.sha256(json.dumps([image, question, sorted(options.values())]).encode()).hexdigest()[:16]
    yield Task(
        id=identity,
        kind="multiple_choice",
        question=question,
        images=(image,),
        options=options,
        gold=gold_letter(row, options, "A", "answer"),
        source=f"{row.dataset}/{category}",
        meta=Meta(
            published_id=identity,
            category=category,
            cycle_category=cycle,
            question_key=same,
            group={"category": category, "cycle": cycle},
        ).as_dict(),
    )


def score(items: Sequence[Item]) -> Figures:
    """Figures of the first answers; each accuracy is the mean over cycles of a cycle's accuracy.

    Returns:
        `acc` (our reading), `acc_official` (VLMEvalKit's rule on `Answer.said`) and `acc_lmms` (lmms-eval's, which
        was VLMEvalKit's until August 2025), each also as `.../single` (FSP) and `.../cross` (FCP);
        `acc_official/cycle N`; `acc_last_turn` (VLMEvalKit's rule on the last turn with its thoughts);
        `parse_failures`. Intervals are by question: its four cycles hang together.
    """
    official = by_rule(vlmevalkit_letter)
    figures: Figures = {}
    for name, right in (("acc", ours), ("acc_official", official), ("acc_lmms", by_rule(lmms_hr_bench_letter))):
        figures[name] = over_cycles(items, right)
        for category in ("single", "cross"):
            figures[f"{name}/{category}"] = over_cycles([i for i in items if i.group["category"] == category], right)
    cycles = accuracies("acc_official", items, official, lambda item: [f"cycle {item.group['cycle']}"])
    figures |= {name: figure for name, figure in cycles.items() if "/cycle" in name}
    figures["acc_last_turn"] = over_cycles(items, by_rule(vlmevalkit_letter, whole_turn=True))
    return figures | majority(items) | {"parse_failures": unread(items)}


def over_cycles(items: Sequence[Item], right: Right) -> Figure:
    """Mean over the cycles of the share of right items; the plain share where all cycles are equally long."""
    sizes = Counter(item.group["cycle"] for item in items)
    # Weighted so that the plain mean of the values is the mean over cycles.
    values = [right(item) * len(items) / (len(sizes) * sizes[item.group["cycle"]]) for item in items]
    questions = [Meta.of(item.task).question_key for item in items]
    return clustered(values, questions)


def _columns(item: Item) -> dict[str, Any]:
    return {"cycle_category": item.group["cycle"]}


BENCHMARKS = tuple(
    Benchmark(
        name=f"hr-bench-{size}",
        main="acc_official",
        score=score,
        dataset=DataSet(
            title=f"multiple choice questions about {size.upper()} images, each in four orders of its options",
            licence="other (see the data card)",
            tasks=_tasks,
            files=(
                f"hr_bench_{size}.parquet",
                f"**/*{size}*.parquet",
                f"hr_bench_{size}.tsv",
                f"HRBench{size.upper()}.tsv",
                f"**/*{size}*.tsv",
                f"**/*{size.upper()}*.tsv",
            ),
            hub="DreamMr/HR-Bench",
            config="hrbench_version_split",
            split=f"hrbench_{size}",
            counts={"all": 800},
            notes=(
                "200 questions in four cycles; intervals are by question, told by image, words and options.",
                "The file hr_bench_4k.tsv has MD5 f6b041b03d49543494b8a56d2e35be65, that of 8K "
                "274c9c7f89329b804a4723178a00219c (VLMEvalKit's table).",
            ),
        ),
        vlmevalkit=_columns,
        notes=(
            *NOTES,
            "acc_official follows VLMEvalKit's rule since commit a67ace5 of June 2026: a lone letter counts among the "
            "last four words only. Figures of papers before August 2025 rest on the older rule: acc_lmms.",
        ),
    )
    for size in ("4k", "8k")
)
