"""RewardBench-2: text-only, one right answer of four; in the subset Ties many right ones (allenai/reward-bench-2).

A Ties row becomes one `rating` task for each answer, without a gold: only the ratings of a row together can be scored
(`armlite.evals.benchmarks.rewardbench_2`).
"""

from collections.abc import Iterator

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Task

SUBSETS = ("Factuality", "Precise IF", "Math", "Safety", "Focus", "Ties")


def _tasks(row: Row) -> Iterator[Task]:
    identity = row.words("id")
    subset = row.one_of(SUBSETS, "subset")
    question = row.words("prompt")
    chosen, rejected = row.items("chosen", of=str), row.items("rejected", of=str)
    for field, answers, name in (("num_correct", chosen, "chosen"), ("num_incorrect", rejected, "rejected")):
        if not answers:
            raise row.fail(name, "is empty")
        if row.get(field) is not None and row.integer(field) != len(answers):
            raise row.fail(field, f"says {row.get(field)}, but {name} holds {len(answers)}")
    meta = {"published_id": identity, "group": {"subset": subset}} | _rest(row)
    if subset == "Ties":
        yield from _ratings(row, identity, question, chosen, rejected, meta)
        return
    if len(chosen) != 1:
        raise row.fail("chosen", f"must hold 1 answer in subset {subset}, not {len(chosen)}")
    if len(rejected) != 3:
        raise row.fail("rejected", f"must hold 3 answers in subset {subset}, not {len(rejected)}")
    yield Task(
        id=identity,
        kind="listwise",
        question=question,
        responses=(*chosen, *rejected),
        gold=1,
        source=f"rewardbench-2/{subset}",
        meta=meta,
    )


def _ratings(
    row: Row, identity: str, question: str, chosen: list[str], rejected: list[str], meta: dict[str, object]
) -> Iterator[Task]:
    kind, _, number = identity.partition(":")
    if kind not in ("ref", "tied") or not number.isdigit():
        raise row.fail("id", f"must be ref:N or tied:N in subset Ties, not {identity!r}")
    if kind == "ref" and len(chosen) != 1:
        raise row.fail("chosen", f"must hold 1 answer in a ref prompt, not {len(chosen)}")
    for k, answer in enumerate((*chosen, *rejected), 1):
        yield Task(
            id=f"{identity}/{k}",
            kind="rating",
            question=question,
            responses=(answer,),
            source="rewardbench-2/Ties",
            meta=meta | {"row": identity, "k": k, "correct": k <= len(chosen), "prompt": kind, "pair": int(number)},
        )


def _rest(row: Row) -> dict[str, object]:
    rest = {"models": row.get("models"), "num_correct": row.get("num_correct")}
    return {name: value for name, value in rest.items() if value is not None}


SETS = {
    "rewardbench-2": DataSet(
        name="rewardbench-2",
        title="one right answer of four, text only, six subsets; Ties by ratings",
        use="benchmark",
        licence="ODC-BY",
        tasks=_tasks,
        files=("data/test-*.parquet", "**/test*.parquet", "**/*.parquet", "**/*.jsonl", "**/*.json"),
        hub="allenai/reward-bench-2",
        counts={"all": 1865},
        notes=(
            "Rows by subset, recalled and not checked (the sum agrees): Factuality 475, Precise IF 160, Math 183, "
            "Safety 450, Focus 495, Ties 102.",
            "A Ties row becomes as many tasks as it has answers.",
        ),
    )
}
