"""HR-Bench 4K and 8K: multiple choice questions about very large images (DreamMr/HR-Bench).

Each of the 200 questions is there four times with its options moved round, a cycle each. Reads the hub's parquet and
the TSV, images are base64 in both; scoring is in `armlite.evals.benchmarks.choices`.
"""

import hashlib
import json
from collections.abc import Iterator

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.data.sets.choices import gold_letter, option_columns
from armlite.types import Task


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
        meta={
            "published_id": identity,
            "category": category,
            "cycle_category": cycle,
            "question_key": same,
            "group": {"category": category, "cycle": cycle},
        },
    )


def _set(size: str) -> DataSet:
    upper = size.upper()
    return DataSet(
        name=f"hr-bench-{size}",
        title=f"multiple choice questions about {upper} images, each in four orders of its options",
        use="benchmark",
        licence="other (see the data card)",
        tasks=_tasks,
        files=(
            f"hr_bench_{size}.parquet",
            f"**/*{size}*.parquet",
            f"hr_bench_{size}.tsv",
            f"HRBench{upper}.tsv",
            f"**/*{size}*.tsv",
            f"**/*{upper}*.tsv",
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
    )


SETS = {f"hr-bench-{size}": _set(size) for size in ("4k", "8k")}
