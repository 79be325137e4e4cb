"""The table of published data sets; a set's file is imported when it is asked for."""

from importlib import import_module

from armlite.data.dataset import DataSet
from armlite.errors import ArmliteError, nearest

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
    "we-math": "we_math",
    "logicvista": "logicvista",
    "mathvista": "mathvista",
    "llava-critic": "llava_critic",
    "deepeyes": "deepeyes",
    "mmif-23k": "mmif_23k",
    "mp-docvqa": "mp_docvqa",
    "arm-thinker-data": "arm_thinker_data",
}
"""Name -> module, whose `SETS` holds one DataSet or several."""


def get_set(name: str) -> DataSet:
    """A set by its name.

    Raises:
        ArmliteError: there is none of that name; names the nearest.
    """
    if name not in MODULES:
        raise ArmliteError(f"there is no data set {name!r}.{nearest(name, MODULES)} Sets: {', '.join(MODULES)}")
    found: dict[str, DataSet] = import_module(f"{__name__}.{MODULES[name]}").SETS
    return found[name]
