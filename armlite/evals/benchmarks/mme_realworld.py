"""MME-RealWorld, its Chinese part and the Lite sample: five options, the last of which refuses (yifanzhang114).

Reads the publisher's JSON with image files (keys with spaces, whose case drifts), the parquet form for lmms-eval and
the TSV for VLMEvalKit (both base64). The scorer is rebuilt from the repository's `evaluation/eval_your_results.py`,
which has no language model in it. What it is to read is the question: our answers stand inside `<answer>`, which
VLMEvalKit looks for first and lmms-eval does not.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.choices import NOTES, gold_letter
from armlite.evals.benchmarks.letters import accuracies, by_rule, given, majority, ours, unread
from armlite.evals.benchmarks.shares import share, unweighted
from armlite.evals.figures import Benchmark, Figures, Item, TaskMeta
from armlite.types import Task


class Meta(TaskMeta):
    """`group` has `task`, `subtask` and `l2`."""

    published: dict[str, Any]
    """What the script's file of results repeats, by the keys of the JSON form."""


TASKS = ("Perception", "Reasoning")
SUBTASKS = ("Monitoring", "Autonomous_Driving", "OCR with Complex Context", "Diagram and Table", "Remote Sensing")
"""As the publisher's script spells them."""
_CHOICE = re.compile(r"\s*[(（]\s*([A-E])\s*[)）]\s*(.*)", re.DOTALL)
"""The Chinese part has full-width parentheses."""
_COLUMNS = {"Question_id": "index", "Text": "question", "Answer choices": "multi-choice options"}
_COLUMNS |= {"Ground truth": "answer", "Image": "bytes", "Category": "l2-category"}
"""Key of the JSON form -> column of the parquet and TSV forms."""


def _tasks(row: Row) -> Iterator[Task]:
    field = {name: _field(row, name) for name in _COLUMNS}
    task, subtask = _task_and_subtask(row, field["Question_id"])
    l2 = row.words(field["Category"]).strip().lower()
    if "attribute" in l2:  # the publisher's script counts them together
        l2 = f"{l2.split('/')[0]}/attribute"
    choices, options = _choices(row, field["Answer choices"])
    identity = row.text(field["Question_id"])
    published = {"Question_id": identity, "Text": row.words(field["Text"]), "Answer choices": choices}
    published |= {"Category": row.words(field["Category"]), "Task": task, "Subtask": subtask}
    yield Task(
        id=identity,
        kind="multiple_choice",
        question=row.words(field["Text"]).strip(),
        images=(row.picture(field["Image"]),),
        options=options,
        gold=gold_letter(row, options, field["Answer choices"], field["Ground truth"]),
        source=f"{row.dataset}/{task} {subtask}",
        meta=Meta(
            published_id=identity, published=published, group={"task": task, "subtask": subtask, "l2": l2}
        ).as_dict(),
    )


def _field(row: Row, name: str) -> str:
    """What a key is called in this row: its own spelling, in any case, else the column's of the other forms."""
    found = {_plain(key): key for key in row.values if row.get(key) is not None}
    column = _COLUMNS[name]
    hub = "l2-category" in row.values or "multi-choice options" in row.values
    for wanted in (column, name) if hub else (name, column):
        if _plain(wanted) in found:
            return found[_plain(wanted)]
    return column if hub else name


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def _task_and_subtask(row: Row, identity: str) -> tuple[str, str]:
    """From `Task` and `Subtask`, or from a category as `Perception/Remote Sensing`; some rows have the task only in
    the first part of their id.
    """
    if row.get("Subtask") is None and "Subtask" not in row.values:
        task, _, subtask = row.words("category").partition("/")
        task_field, subtask_field = "category", "category"
    else:
        task, subtask = str(row.get("Task") or ""), row.words("Subtask")
        task_field, subtask_field = "Task", "Subtask"
        if _known(task, TASKS) is None:
            task = row.text(identity).split("/")[0]
    found = _known(task, TASKS), _known(subtask, SUBTASKS)
    if found[0] is None:
        raise row.fail(task_field, f"is {task!r}, must be one of {', '.join(TASKS)}")
    if found[1] is None:
        raise row.fail(subtask_field, f"is {subtask!r}, must be one of {', '.join(SUBTASKS)}")
    return found[0], found[1]


def _known(name: str, names: tuple[str, ...]) -> str | None:
    return next((known for known in names if _plain(known) == _plain(name)), None)


def _choices(row: Row, field: str) -> tuple[list[str], dict[str, str]]:
    """The choices as published, and letter -> text."""
    value = row.need(field)
    if isinstance(value, str) and not value.lstrip().startswith("["):  # VLMEvalKit's cache: one a line, under a heading
        choices = [line for line in value.splitlines() if _CHOICE.match(line)]
    else:
        choices = row.items(field, of=str)
    options: dict[str, str] = {}
    for position, choice in enumerate(choices):
        match = _CHOICE.fullmatch(choice)
        if match is None or match[1] in options:
            raise row.fail(f"{field}.{position}", f"is {choice[:40]!r}, must begin with one of (A) to (E), each once")
        options[match[1]] = match[2].strip()
    return choices, options


_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    # A comma is missing in the script, twice: these are its strings.
    "The best option isThe correct option is",
    "Best answer:Best option:",
)


def official_letter(text: str, options: Mapping[str, str]) -> str:
    """The script's reading of a text: the first of the letters A to E anywhere, once some prefixes are gone.

    So `Answer: C` is an A and `Best answer: C` a B. Without such a letter: nothing where the text has more than ten
    words, else the first option that contains it.
    """
    text = text.strip()
    for prefix in _PREFIXES:
        text = text.replace(prefix, "")
    if match := re.search("[ABCDE]", text):
        return match[0]
    if len(text.split()) > 10:
        return ""
    return next((k for k, option in options.items() if text.lower() in f"({k}) {option}".lower()), "")


_KIT_PREFIXES = (*_PREFIXES[:4], "The best option is", "The correct option is", "Best answer:", "Best option:")


def kits_letter(text: str, options: Mapping[str, str]) -> str:
    """VLMEvalKit's and lmms-eval's reading: the script's without its missing commas, and without the options' texts.

    Where no letter A to E is in the text, a lone small one is read.
    """
    text = text.strip()
    for prefix in _KIT_PREFIXES:
        text = text.replace(prefix, "")
    if match := re.search("[ABCDE]", text):
        return match[0]
    return next((letter for letter in "ABCDE" if text.lower() in f"({letter.lower()})"), "")


def score(items: Sequence[Item]) -> Figures:
    """Figures of the first answers.

    Returns:
        `acc` (our reading), `acc_official` (the script's rule on `Answer.said`), `acc_kits` (VLMEvalKit's and
        lmms-eval's) and `acc_last_turn` (the script's rule on the last turn with its thoughts); the first two also as
        `.../TASK` and `.../TASK/SUBTASK`, the second as `.../TASK/SUBTASK/L2`; `macro_official` (unweighted mean of
        the subtasks of both tasks), `refusals` (share of answers that the rule reads as option E), `parse_failures`.
    """
    official = by_rule(official_letter)
    figures = accuracies("acc", items, ours, lambda item: _groups(item)[:2])
    figures |= accuracies("acc_official", items, official, _groups)
    figures |= accuracies("acc_kits", items, by_rule(kits_letter), lambda item: ())
    figures |= accuracies("acc_last_turn", items, by_rule(official_letter, whole_turn=True), lambda item: ())
    subtasks = sorted({f"acc_official/{_groups(item)[1]}" for item in items})
    figures["macro_official"] = unweighted([figures[name] for name in subtasks])
    figures["refusals"] = share([_refused(item) for item in items])
    return figures | majority(items) | {"parse_failures": unread(items)}


def _refused(item: Item) -> bool:
    text = given(item)
    return bool(text.strip()) and official_letter(text, item.task.options) == "E"


def _groups(item: Item) -> list[str]:
    task, subtask, l2 = (item.group[name] for name in ("task", "subtask", "l2"))
    return [task, f"{task}/{subtask}", f"{task}/{subtask}/{l2}"]


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The list of results that the script reads, in the form of its `output_test_template.json`."""
    return {"results.json": json.dumps([_row(item) for item in items], ensure_ascii=False, indent=1) + "\n"}


def _row(item: Item) -> dict[str, Any]:
    published = dict(Meta.of(item.task).published)
    return {
        "Question_id": published.pop("Question_id"),
        "Question Type": "Multiple Choice",
        "Image": item.task.images[0],
        **published,
        "Ground truth": item.task.gold,
        "Output": given(item),
    }


def _columns(item: Item) -> dict[str, Any]:
    group = item.group
    return {
        "category": f"{group['task']}/{group['subtask']}",
        "l2-category": Meta.of(item.task).published["Category"],
        "multi-choice options": "\n".join(Meta.of(item.task).published["Answer choices"]),
    }


_NOTES = (
    "extract=rule, as the publisher's script does: the first of A to E anywhere in the text.",
    "The prompt is ours: the options as `A. ...`, and the answer asked for inside <answer>; acc_last_turn shows what "
    "the script makes of the whole last turn.",
    "An item without any text is wrong here; the script reads the empty text as option A.",
    NOTES[-1],
)


def _benchmark(
    name: str, title: str, json_file: str, hub: str, counts: dict[str, int], notes: tuple[str, ...] = ()
) -> Benchmark:
    return Benchmark(
        name=name,
        main="acc_official",
        score=score,
        official=official,
        vlmevalkit=_columns,
        dataset=DataSet(
            title=title,
            licence="Apache-2.0 (hub card); the repository's README allows academic research only",
            tasks=_tasks,
            files=(json_file, f"**/{json_file}", "**/train*.parquet", "**/*.parquet", "**/*.tsv"),
            hub=f"yifanzhang114/MME-RealWorld{hub}",
            split="train",
            counts=counts,
            notes=(
                "The JSON form names image files: join and unpack the publisher's split archives into its folder "
                "first.",
                *notes,
            ),
        ),
        notes=_NOTES,
    )


BENCHMARKS = (
    _benchmark(
        "mme-realworld",
        "five-way questions about high-resolution photos, diagrams and scans",
        "MME_RealWorld.json",
        "-Lmms-eval",
        {"all": 23609},
    ),
    _benchmark(
        "mme-realworld-cn",
        "the Chinese part of MME-RealWorld",
        "MME_RealWorld_CN.json",
        "-CN-Lmms-eval",
        {},
        (
            "The number of rows is unclear: the repository's README says 5917, the paper's totals leave 5820, "
            "and others who read the file count 5462.",
        ),
    ),
    _benchmark(
        "mme-realworld-lite",
        "a sample of MME-RealWorld",
        "MME_RealWorld_Lite.json",
        "-lite-lmms-eval",
        {"all": 1919},
        ("The sample is published in the parquet and TSV forms; the name of a JSON file is a guess.",),
    ),
)
