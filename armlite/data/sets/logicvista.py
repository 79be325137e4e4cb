"""LogicVista: logic questions about diagrams, several letters may be right (Yijia-Xiao/LogicVista).

Reads the repository's `dataset.json` (a mapping) with its `images/`, and the hub mirror with an Image column; scoring
is in `armlite.evals.benchmarks.logicvista`.
"""

from collections.abc import Iterator

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Task

SKILLS = ("inductive", "deductive", "numerical", "spatial", "mechanical")
_FOLDERS = ("images", "data/images", ".")
"""Where `dataset.json` or its repository is unpacked to, the images are in one of these."""
_REQUEST = "Answer with the letter (or number) of the right option; if several are right, give all, as in: A, C"


def _tasks(row: Row) -> Iterator[Task]:
    identity = row.key if row.key is not None else row.text("id", "index")
    question = row.words("question").strip()
    skills = _skills(row)
    answer = str(row.get("answer") or "").strip()
    if "answer" not in row.values:
        raise row.fail("answer", "is missing")
    yield Task(
        id=identity,
        # Options stand in the question or only in the picture, and several may be right: no multiple_choice of ours.
        kind="open_qa",
        question=f"{question}\n{_REQUEST}",
        images=(_image(row),),
        gold=(answer,) if answer else None,
        source=f"logicvista/{skills[0]}",
        meta={
            "published_id": identity,
            "published_question": question,
            "answer": answer,
            "skills": skills,
            "group": {"skill": skills[0]},
        },
    )


def _skills(row: Row) -> list[str]:
    """A list in the JSON file; the mirrors' may be written out, or one word."""
    value = row.need("skill")
    skills = [value] if value in SKILLS else row.items("skill", of=str)
    for skill in skills or [""]:
        if skill not in SKILLS:
            raise row.fail("skill", f"is {skill!r}, must be one of {', '.join(SKILLS)}")
    return skills


def _image(row: Row) -> str:
    if row.get("image") is not None:
        return row.picture("image")
    name = row.words("imagename")
    paths = [f"{folder}/{name}" for folder in _FOLDERS]
    return row.keep(next((path for path in paths if (row.folder / path).is_file()), paths[0]), "imagename")


SETS = {
    "logicvista": DataSet(
        name="logicvista",
        title="logic questions about diagrams, by skill",
        use="benchmark",
        licence="Apache-2.0",
        tasks=_tasks,
        files=("dataset.json", "**/dataset.json", "**/test*.parquet", "**/*.parquet"),
        hub="lscpku/LogicVista",
        counts={"all": 448},
        seen="schema as published; some rows of the repository's dataset.json were read by eye, without images",
        notes=(
            "The hub id is a mirror; the publisher's own is the GitHub repository Yijia-Xiao/LogicVista, folder data.",
            "107 inductive, 95 numerical, 93 deductive, 79 spatial and 74 mechanical questions.",
            "One row has no answer: it is asked and kept without gold, wrong in acc_official and left out of acc.",
            "The answers' form is asked for in a sentence of ours after the question.",
        ),
    )
}
