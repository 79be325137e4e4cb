"""We-Math testmini: each multi-step problem in one row, each of its steps in another (We-Math/We-Math).

Reads the hub's parquet and `testmini.json` with image files; scoring, which joins the rows of a problem, is in
`armlite.evals.benchmarks.we_math`.
"""

import re
from collections.abc import Iterator

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.data.sets.choices import gold_letter
from armlite.types import Task

KEYS = ("2steps_1", "2steps_2", "2steps_multi", "3steps_1", "3steps_2", "3steps_3", "3steps_multi")
_LETTER = re.compile(r"(?:^|;)\s*([A-H])\.\s*")
"""Semicolons occur inside options too, so one counts only before a letter."""
_KEPT = ("split", "knowledge concept", "question number", "option")


def _tasks(row: Row) -> Iterator[Task]:
    problem = row.words("ID")
    key = row.one_of(KEYS, "key")
    options = _options(row)
    steps = key.split("_")[0]
    yield Task(
        id=f"{problem}/{key}",  # the ID alone is shared by the rows of a problem
        kind="multiple_choice",
        question=row.words("question").strip(),
        images=(row.picture("image_path"),),
        options=options,
        gold=gold_letter(row, options, "option", "answer"),
        source=f"we-math/{key}",
        meta={
            "published_id": problem,
            "problem": problem,
            "key": key,
            "published": {name: row.get(name) for name in _KEPT if row.get(name) is not None},
            "group": {"key": key, "steps": steps},
        },
    )


def _options(row: Row) -> dict[str, str]:
    lead, *parts = _LETTER.split(row.words("option"))
    letters = parts[::2]
    if lead.strip() or len(set(letters)) < len(letters):
        raise row.fail("option", "must read `A. ...; B. ...`, each letter once")
    return {k: v.strip() for k, v in zip(letters, parts[1::2], strict=True)}


SETS = {
    "we-math": DataSet(
        name="we-math",
        title="visual mathematics, each problem whole and step by step",
        use="benchmark",
        licence="CC-BY-NC-4.0",
        tasks=_tasks,
        files=("**/testmini*.parquet", "**/*.parquet", "testmini.json", "**/testmini.json"),
        hub="We-Math/We-Math",
        split="testmini",
        counts={"all": 1740},
        seen="schema as published; some rows of the repository's testmini.json were read by eye, without images",
        notes=(
            "525 problems: 360 of two steps and 165 of three. Most have five options, some four.",
            "Image paths of testmini.json are relative to the unpacked archive's folder.",
        ),
    )
}
