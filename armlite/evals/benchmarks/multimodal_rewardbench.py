"""Multimodal RewardBench: pairs of answers about an image in five categories (facebookresearch/multimodal_rewardbench).

Reads `all_data.json` of the repository (images by path) and the hub mirror's parquet (images embedded). The scorer is
rebuilt from the repository's `2_get_accuracy.py`, which draws at random, with seed 123 and in the order of the file,
where no verdict can be read.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.shares import share
from armlite.evals.exports import jsonl
from armlite.evals.figures import Benchmark, Figures, Item, TaskMeta
from armlite.types import Decision, Task


class Meta(TaskMeta):
    """`group` has `category`, of two categories also `sub`."""


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
        meta=Meta(published_id=identity, group=group).as_dict(),
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


SEED = 123


def score(items: Sequence[Item]) -> Figures:
    """Figures of judged pairs, in the order of the file; the first answer of each counts.

    Returns:
        `acc_official` (no readable choice: drawn), `acc_all` (wrong), `acc_parsed` (left out), each also as
        `.../CATEGORY`, with `safety/bias`, `safety/toxicity`, `reasoning/math`, `reasoning/coding`;
        `parse_failures`. A tie is no choice. The official output has the two split categories by their halves only.
    """
    choices = [_choice(item) for item in items]
    drawn = _drawn(choices)
    rows = [(_groups(item), c, d, item.task.gold) for item, c, d in zip(items, choices, drawn, strict=True)]
    figures: Figures = {}
    for group in ["", *sorted({g for groups, *_ in rows for g in groups})]:
        mine = [(c, d, gold) for groups, c, d, gold in rows if not group or group in groups]
        suffix = f"/{group}" if group else ""
        figures[f"acc_official{suffix}"] = share([d == gold for _, d, gold in mine])
        figures[f"acc_all{suffix}"] = share([c == gold for c, _, gold in mine])
        figures[f"acc_parsed{suffix}"] = share([c == gold for c, _, gold in mine if c is not None])
    figures["parse_failures"] = share([c is None for c in choices])
    return figures


def _choice(item: Item) -> int | None:
    return int(item.decision) if item.decision in (1, 2) else None


def _drawn(choices: Sequence[int | None]) -> list[int]:
    """One draw for each choice that is missing, below one half: the first output."""
    stream = random.Random(SEED)
    return [choice if choice is not None else 1 if stream.random() < 0.5 else 2 for choice in choices]


def _groups(item: Item) -> list[str]:
    category, sub = item.group.get("category", ""), item.group.get("sub")
    return [category, f"{category}/{sub}"] if sub else [category]


def kit_verdict(decision: Decision | None) -> str:
    """What the publisher's script and lmms-eval read as the verdict; empty for none."""
    return {1: "[[A]]", 2: "[[B]]"}.get(decision, "")  # type: ignore[call-overload]


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The answers file that `2_get_accuracy.py` reads, one line an item, with [[A]] or [[B]] as the output."""
    lines = []
    for item in items:
        published, output = str(item.published_id), kit_verdict(item.decision)
        meta = {"ID": published, "Category": item.group.get("category", "")}
        label = "A" if item.task.gold == 1 else "B"
        lines.append({"ID": published, "Label": label, "Meta": meta, "output": output})
    return {"multimodal-rewardbench.jsonl": jsonl(lines)}


BENCHMARK = Benchmark(
    name="multimodal-rewardbench",
    main="acc_official",
    score=score,
    official=official,
    kit_text=lambda item: kit_verdict(item.decision),
    dataset=DataSet(
        title="pairs of answers about an image: correctness, preference, knowledge, reasoning, safety, VQA",
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
    ),
    notes=(
        "extract=rule: our prompt and final <answer> instead of the MT-Bench prompt and [[A]] or [[B]].",
        "acc_official draws where no choice can be read, with the official seed, in the order of the file: a "
        "part of the file (--n) draws other numbers. acc_all counts these wrong, acc_parsed leaves them out.",
        "The first answer of an item counts; further votes and the reversed order do not.",
        "The official script prints safety and reasoning by their halves only.",
    ),
)
