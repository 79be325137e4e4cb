"""All invented sets. Each question holds its own mark, `[hr-bench-4k 7]`, by which the scripted server finds the turn
to say. All is drawn from fixed seeds: the same rows and turns each time.
"""

from collections.abc import Iterator
from dataclasses import replace

from real.answers import logicvista, mathvista, mmlongbench_doc, mp_docvqa
from real.choices import hr_bench, mme_realworld, vstar, we_math
from real.pairs import multimodal_rewardbench, vl_rewardbench
from real.turns import CUT, NO_TURN, RealSet


def sets() -> Iterator[RealSet]:
    """All of them."""
    yield hr_bench("4k")
    yield hr_bench("8k")
    yield vstar()
    yield mme_realworld()
    yield vl_rewardbench()
    yield multimodal_rewardbench()
    yield we_math()
    yield mathvista()
    yield logicvista()
    yield mmlongbench_doc()
    yield mp_docvqa()


SILENT = {"vl-rewardbench": (NO_TURN, CUT), "multimodal-rewardbench": (NO_TURN, CUT), "mathvista": (CUT,)}
"""Turns without an answer, left out of sets where the kit then draws one at random, or takes the nearest choice."""


def spoken(one: RealSet) -> RealSet:
    """The set without the turns that lmms-eval would answer by chance."""
    silent = SILENT.get(one.name, ())
    return replace(one, rows=[row for row in one.rows if row["turn"] not in silent])
