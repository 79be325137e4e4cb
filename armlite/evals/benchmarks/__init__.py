"""The table of benchmarks and of data sets, and the door for benchmarks of one's own: `@benchmark`.

A shipped benchmark is one file with its reader and its scorer, imported when it is asked for.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.sets import MODULES as TRAINING
from armlite.errors import ArmliteError, nearest
from armlite.evals.figures import Benchmark, Figures, Item
from armlite.imports import check_free, imports_hint

MODULES = {
    "vl-rewardbench": "vl_rewardbench",
    "rewardbench-2": "rewardbench_2",
    "multimodal-rewardbench": "multimodal_rewardbench",
    "armbench-vl": "armbench_vl",
    "vstar": "vstar",
    "hr-bench-4k": "hr_bench",
    "hr-bench-8k": "hr_bench",
    "mme-realworld": "mme_realworld",
    "mme-realworld-cn": "mme_realworld",
    "mme-realworld-lite": "mme_realworld",
    "mm-ifeval": "mm_ifeval",
    "mmlongbench-doc": "mmlongbench_doc",
    "mp-docvqa": "mp_docvqa",
    "we-math": "we_math",
    "logicvista": "logicvista",
    "mathvista": "mathvista",
}
"""Name -> module, which holds its `BENCHMARK`, or several in `BENCHMARKS`."""
RETRIEVAL = "retrieval"
"""The page search of the document tool, which is evaluated without a model (`armlite.evals.retrieval`)."""
_OWN: dict[str, Benchmark] = {}


def benchmark(
    *, name: str, main: str, dataset: DataSet, **fields: Any
) -> Callable[[Callable[[Sequence[Item]], Figures]], Benchmark]:
    """Make a score function (judged items -> figures) a benchmark that this process knows by its name.

    Args:
        name: lower case with hyphens; its folder of results is called so.
        main: the figure that stands for it, one of those that the function returns.
        dataset: where its rows are; `dataset.tasks` reads one.
        **fields: further ones of `Benchmark`: `official`, `vlmevalkit`, `kit_text`, `order`, `votes`, `notes`.

    Raises:
        ArmliteError: a benchmark or data set of armlite has the name.
    """
    if name in (*MODULES, *TRAINING, RETRIEVAL):
        raise ArmliteError(f"there is a benchmark or data set {name!r} in armlite: give yours another name")

    def register(score: Callable[[Sequence[Item]], Figures]) -> Benchmark:
        check_free("benchmark", name, score, _OWN[name].score if name in _OWN else None)
        _OWN[name] = Benchmark(name=name, main=main, score=score, dataset=dataset, **fields)
        return _OWN[name]

    return register


def get_benchmark(name: str) -> Benchmark:
    """A benchmark by its name.

    Raises:
        ArmliteError: there is none of that name; names the nearest.
    """
    if name in _OWN:
        return _OWN[name]
    if name not in MODULES:
        names = [*MODULES, *_OWN, RETRIEVAL]
        known = f"{nearest(name, names)} Benchmarks: {', '.join(names)}{imports_hint()}"
        raise ArmliteError(f"there is no benchmark {name!r}.{known}")
    module = import_module(f"{__name__}.{MODULES[name]}")
    several: tuple[Benchmark, ...] = getattr(module, "BENCHMARKS", ())
    return next((one for one in several if one.name == name), None) or module.BENCHMARK


def set_names() -> list[str]:
    """The names that `get_set` knows."""
    return [*MODULES, *_OWN, *TRAINING]


def get_set(name: str) -> DataSet:
    """A data set by its name: a benchmark's, or a training set.

    Raises:
        ArmliteError: there is none of that name; names the nearest.
    """
    if name not in set_names():
        raise ArmliteError(f"there is no data set {name!r}.{nearest(name, set_names())} Sets: {', '.join(set_names())}")
    if name not in TRAINING:
        return get_benchmark(name).dataset
    found: DataSet = import_module(f"armlite.data.sets.{TRAINING[name]}").DATASET
    return found
