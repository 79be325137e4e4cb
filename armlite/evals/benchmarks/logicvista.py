"""LogicVista: logic questions about diagrams, several letters may be right (Yijia-Xiao/LogicVista).

Reads the repository's `dataset.json` (a mapping) with its `images/`, and the hub mirror with an Image column. The
publisher's `eval/extract_accuracy_new.py` has GPT-4 extract a list of letters and compares sorted lists in lower case,
all or nothing; here a rule extracts them.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.letters import accuracies, given, unread
from armlite.evals.benchmarks.shares import share
from armlite.evals.figures import Benchmark, Figures, Item, TaskMeta
from armlite.types import Task


class Meta(TaskMeta):
    """`group` has `skill`, the first of the skills."""

    published_question: str = ""
    answer: str
    """Letters, joined by a comma; empty in the row that has none."""
    skills: list[str]


SKILLS = ("inductive", "deductive", "numerical", "spatial", "mechanical")
_FOLDERS = ("images", "data/images", ".")
"""Where `dataset.json` or its repository is unpacked to, the images are in one of these."""
_REQUEST = "Answer with the letter (or number) of the right option; if several are right, give all, as in: A, C"


def _tasks(row: Row) -> Iterator[Task]:
    identity = row.key if row.key is not None else row.text("id", "index")
    question = str(row.get("question") or "").strip()
    if "question" not in row.values:
        raise row.fail("question", "is missing")
    skills = _read_skills(row)
    answer = str(row.get("answer") or "").strip()
    if "answer" not in row.values:
        raise row.fail("answer", "is missing")
    yield Task(
        id=identity,
        # Options stand in the question or only in the picture, and several may be right: no multiple_choice of ours.
        kind="open_qa",
        question=f"{question}\n{_REQUEST}".strip(),
        images=(_image(row),),
        gold=(answer,) if answer else None,
        source=f"logicvista/{skills[0]}",
        meta=Meta(
            published_id=identity, published_question=question, answer=answer, skills=skills, group={"skill": skills[0]}
        ).as_dict(),
    )


def _read_skills(row: Row) -> list[str]:
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


_LEAD = re.compile(
    r"^(?:(?:so|thus|therefore|hence),? )?(?:it is |it's |i (?:choose|pick|select) |my )?(?:both )?"
    r"(?:(?:the )?(?:final |correct |right |best )*(?:answers?|options?|choices?)\b\s*(?:is|are)?\s*:?\s*)?",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"\s+(?:is|are)\s+(?:the\s+)?(?:right|correct|best|answers?)(?:\s+(?:answers?|options?|choices?|ones?))?\.?$",
    re.IGNORECASE,
)
_NUMBERS = dict(zip(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine"), "123456789", strict=True))
_MARKS = re.compile(r"\\(?:boxed|text|mathrm)|[*`$\"'{}()\[\]]")


def letters(text: str) -> list[str] | None:
    """The options that an answer names, in lower case and order; None where it names none.

    Read as options are: a list of single letters or digits (`B, D`, `(A) and (C)`, `Option C is right`, `three`),
    capitals run together (`BD`), one before its text (`B. the text`), else all that stand in parentheses in the text.
    Nothing else is guessed at.
    """
    text = _LEAD.sub("", text.strip().strip("*`$").strip())
    bare = _LEAD.sub("", _TAIL.sub("", " ".join(_MARKS.sub(" ", text).split())))
    words = [word.strip(".:") for word in re.split(r"[\s,;/&]+|\band\b", bare)]
    words = [_NUMBERS.get(word.lower(), word) for word in words if word]
    if words and all(re.fullmatch("[A-Za-z0-9]", word) for word in words):
        return sorted({word.lower() for word in words})
    if re.fullmatch(r"[A-I]{2,5}\.?", bare) and len(set(bare)) == len(bare):
        return sorted(bare.rstrip(".").lower())
    if match := re.match(r"\(?([A-Z1-9])\s*[).:*]+\s", text):
        return [match[1].lower()]
    return sorted({found.lower() for found in re.findall(r"\(([A-Z1-9])\)", text)}) or None


def right(item: Item) -> bool:
    """The publisher's comparison. The row without an answer is right where the model's answer is empty, as there."""
    truth = sorted(Meta.of(item.task).answer.lower().split(", "))
    if truth == [""]:
        return item.first is not None and item.first.trajectory.fault is None and not given(item).strip()
    return letters(given(item)) == truth


def score(items: Sequence[Item]) -> Figures:
    """Figures of the first answers.

    Returns:
        `acc_official` (of all rows, also the one without an answer) and `acc` (of the rows that have one), both also as
        `.../SKILL`, where a row with several skills counts in each; `no_gold` (share of rows without an answer),
        `parse_failures` (no letter could be read).
    """
    gold = [item for item in items if Meta.of(item.task).answer]
    figures = accuracies("acc_official", items, right, _skills) | accuracies("acc", gold, right, _skills)
    figures["no_gold"] = share([not Meta.of(item.task).answer for item in items])
    return figures | {"parse_failures": unread(items, lambda item: letters(given(item)) is not None)}


def _skills(item: Item) -> Sequence[str]:
    return Meta.of(item.task).skills


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The mapping of answers that the publisher's scripts read."""
    rows = {item.published_id: {"answer": given(item), "reasoning": _thought(item)} for item in items}
    return {"armlite-answers.json": json.dumps(rows, ensure_ascii=False) + "\n"}


def _columns(item: Item) -> dict[str, Any]:
    """The row without an answer gets one that nothing meets: there VLMEvalKit's script would break off."""
    meta = Meta.of(item.task)
    return {"question": meta.published_question, "answer": meta.answer or "-", "skill": str(meta.skills)}


def _thought(item: Item) -> str:
    answer = item.first
    steps = answer.trajectory.steps if answer else ()
    return (steps[-1].turn.think if steps else None) or "none"


BENCHMARK = Benchmark(
    name="logicvista",
    main="acc_official",
    score=score,
    official=official,
    vlmevalkit=_columns,
    dataset=DataSet(
        title="logic questions about diagrams, by skill",
        licence="Apache-2.0",
        tasks=_tasks,
        files=("dataset.json", "**/dataset.json", "**/test*.parquet", "**/*.parquet"),
        hub="lscpku/LogicVista",
        counts={"all": 448},
        seen="all rows of the repository's dataset.json, without images",
        notes=(
            "The hub id is a mirror; the publisher's own is the GitHub repository Yijia-Xiao/LogicVista, folder data.",
            "107 inductive, 95 numerical, 93 deductive, 79 spatial and 74 mechanical questions.",
            "One row (v1_382) has neither question nor answer: it is asked without a question and has no gold. The "
            "publisher counts it: it is in all 14 of their result files, and their script gives it to an empty answer "
            "only, so a judge that answers loses 1 of 448. acc_official does as they do, acc leaves it out, no_gold "
            "counts it.",
        ),
    ),
    notes=(
        "extract=rule: the publisher and VLMEvalKit have a language model read the letters out of the text.",
        "The prompt is ours and asks for letters only. Only the first vote of an item counts.",
    ),
)
