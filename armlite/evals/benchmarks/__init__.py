"""The table of benchmarks; a benchmark's file is imported when it is asked for."""

from importlib import import_module

from armlite.errors import ArmliteError, nearest
from armlite.evals.figures import Benchmark

MODULES = {
    "vl-rewardbench": "vl_rewardbench",
    "rewardbench-2": "rewardbench_2",
    "multimodal-rewardbench": "multimodal_rewardbench",
    "armbench-vl": "armbench_vl",
    "vstar": "choices",
    "hr-bench-4k": "choices",
    "hr-bench-8k": "choices",
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
"""Name -> module, whose `BENCHMARKS` holds one Benchmark or several."""


def get_benchmark(name: str) -> Benchmark:
    """A benchmark by its name.

    Raises:
        ArmliteError: there is none of that name; names the nearest.
    """
    if name not in MODULES:
        raise ArmliteError(
            f"there is no benchmark {name!r}.{nearest(name, [*MODULES, 'retrieval'])} "
            f"Benchmarks: {', '.join(MODULES)}, retrieval"
        )
    found: dict[str, Benchmark] = import_module(f"{__name__}.{MODULES[name]}").BENCHMARKS
    return found[name]
