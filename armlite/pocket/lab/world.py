"""The lab world: judging tasks in which it has to be decided whether to call a tool, which, and how often.

mosaic: which way do the stripes of a tile run? paper: a page's colour, code or stripes. prose: a constraint or two.
In each family some tasks need no call, some one and some two; that is read from the question and the picture.

`meta["needs"]` is the number of calls without which a task is a guess; `meta["expert"]` holds these calls and what is
seen in the end, for traces and baselines. Nothing that judges reads them.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from armlite.pocket.lab.mosaic import mosaic_ask
from armlite.pocket.lab.paper import paper_ask
from armlite.pocket.lab.parts import Ask
from armlite.pocket.lab.prose import prose_ask
from armlite.types import Task

FAMILIES = ("mosaic", "paper", "prose")
SPLITS = ("train", "validation", "test", "traces", "base", "transfer")
"""Disjoint streams. `base` and `traces` are what the base model and the cold start learn from; `transfer` asks for
places, topics, constraints and chains that none of the others asks for.
"""
NEEDS = {"mosaic": (0, 1, 2, 1), "paper": (0, 1, 2, 1), "prose": (0, 1, 2)}
"""Family -> calls that its tasks need, in turn."""
NEEDS_OF_BASE = (0, 1, 0, 2)
"""Of the split `base`, which is there to learn seeing and reading."""
LESSON_EVERY = 2
"""Of the split `base` every so many tasks are no pairs: they ask what is to be seen, or are drills with no picture."""


def generate(split: str, n: int, seed: int, out: Path, family: str | None = None) -> Iterator[Task]:
    """Make tasks one by one and write their images and documents below `out`.

    Args:
        split: part of every task's seed.
        n: number of tasks; families take turns, and so do the numbers of calls that they need.
        seed: another seed, other tasks.
        out: folder for `images/` and `documents/`; the tasks' paths are relative to it.
        family: only this one.
    """
    for folder in ("images", "documents"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for i in range(n):
        kind = family or FAMILIES[i % len(FAMILIES)]
        turn = i // (1 if family else len(FAMILIES))
        rng = random.Random(f"lab/{split}/{seed}/{kind}/{i}")
        name = f"{split}-{seed}-{kind}-{i}"
        cycle = NEEDS_OF_BASE if split == "base" else NEEDS[kind]
        needs = cycle[turn // (LESSON_EVERY if split == "base" else 1) % len(cycle)]
        ask = _ask(rng, kind, name, out, needs, split == "transfer")
        if split == "base" and turn % LESSON_EVERY == 0:
            yield Task(id=name, source=f"lab/{kind}", kind="open_qa", **ask.lesson(rng))
        else:
            yield Task(id=name, source=f"lab/{kind}", kind="pairwise", **ask.fields(rng))


def _ask(rng: random.Random, kind: str, name: str, out: Path, needs: int, transfer: bool) -> Ask:
    if kind == "prose":
        return prose_ask(rng, needs, transfer)
    return (mosaic_ask if kind == "mosaic" else paper_ask)(rng, name, out, needs, transfer)
