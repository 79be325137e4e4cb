"""ARMBench-VL: the reference's own benchmark, in the row that its evaluation scripts read, one JSONL file a track.

No public file was at hand: reader and scorer follow the scripts. A row is right where the choice equals `gt`, types
included; figures are plain means over all rows and by `rm_tag`. Tracks of the same kind made from other sets are built
by `armlite.evals.lookalike`: they are "ARMBench-VL-style", never this set, and scored here too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from armlite.data.constraints import as_constraint
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.data.tagged import find_document
from armlite.evals.benchmarks.letters import accuracies, unread
from armlite.evals.exports import jsonl
from armlite.evals.figures import Answer, Benchmark, Figures, Item, TaskMeta
from armlite.rewards import is_right
from armlite.types import Constraint, Decision, Kind, Task


class Meta(TaskMeta):
    """`group` has `rm_tag` and `track`."""

    doc_id: Any = None
    """As published."""
    lost_document: str = ""
    """Name of the document that is not there, so that its contact sheet stands for it."""


TAGS: dict[str, tuple[Kind, int]] = {
    "single_rm": ("pointwise", 1),
    "pair_rm": ("pairwise", 2),
    "2-way-pair_rm": ("pairwise", 2),
    "4-way-pair_rm": ("listwise", 4),
}
"""`rm_tag` -> kind and number of responses."""


def _tasks(row: Row) -> Iterator[Task]:
    tag = row.one_of(tuple(TAGS), "rm_tag")
    kind, wanted = TAGS[tag]
    responses = row.items("preds", of=str)
    if len(responses) != wanted:
        raise row.fail("preds", f"must hold {wanted} for {tag}, not {len(responses)}")
    question = row.words("question")
    images = row.items("images") if row.get("images") is not None else []
    identity, track = row.words("idx"), row.file.stem
    named = row.get("doc_id") is not None
    document = find_document(row, "doc_id", row.words("doc_id")) if named else None
    lost = {"lost_document": row.text("doc_id")} if named and document is None else {}
    # The reference shows the first image only; of a document that is its contact sheet, which is drawn anew here.
    shown = () if document or not images else (row.keep(images[0], "images.0"),)
    yield Task(
        id=f"{track}/{identity}",
        kind=kind,
        question=question.replace("<image>", "").strip(),
        images=shown,
        document=document,
        responses=tuple(responses),
        constraints=tuple(_constraints(row)),
        gold=_gold(row, kind, wanted),
        source=f"armbench-vl/{track}",
        meta=Meta(
            published_id=row.need("idx"), group={"rm_tag": tag, "track": track}, **row.there("doc_id"), **lost
        ).as_dict(),
    )


def _gold(row: Row, kind: Kind, count: int) -> bool | int:
    """`gt`: "True" or "False" as text, or the number of the right response from 1; the types matter."""
    gold = row.need("gt")
    if kind == "pointwise":
        if gold not in ("True", "False"):
            raise row.fail("gt", f"must be the text 'True' or 'False' for single_rm, not {gold!r}")
        return gold == "True"
    if type(gold) is not int or not 1 <= gold <= count:
        raise row.fail("gt", f"must be a whole number from 1 to {count}, not {gold!r}")
    return gold


def _constraints(row: Row) -> Iterator[Constraint]:
    if row.get("constraints") is None:
        return
    for position, published in enumerate(row.items("constraints", of=(dict, str))):
        try:
            yield as_constraint({"value": published} if isinstance(published, str) else published)
        except ValueError as error:
            raise row.fail(f"constraints.{position}", str(error)) from error


_BETTER = re.compile(r"Answer\s*(\d+)\s*is\s*(?:the\s*)?(?:slightly\s*)?(?:better|preferred)", re.IGNORECASE)
_BARE = re.compile(r"<answer>\s*(\d+)\s*</answer>", re.IGNORECASE)
_BLOCK = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_VERDICT = re.compile(r"\b(True|False)\b", re.IGNORECASE)


def score(items: Sequence[Item]) -> Figures:
    """Figures of judged rows; the first answer of each counts, an unreadable one is wrong.

    Returns:
        `acc` (our reading of the final answer), `acc_reference` (the reference's regular expressions on the last
        turn), each also by rm_tag and by track as `.../NAME`; `parse_failures`, `parse_failures_reference`.
    """
    figures = accuracies("acc", items, lambda item: _right(item, item.decision), _groups)
    figures |= accuracies("acc_reference", items, lambda item: _right(item, _reference(item)), _groups)
    figures["parse_failures"] = unread(items)
    figures["parse_failures_reference"] = unread(items, lambda item: _reference(item) is not None)
    return figures


def _right(item: Item, decision: Decision | None) -> bool:
    return bool(is_right(item.task, decision))


def _reference(item: Item) -> Decision | None:
    return reference_choice(item, item.first) if item.first else None


def _groups(item: Item) -> set[str]:
    return set(item.group.values())


def reference_choice(item: Item, answer: Answer) -> Decision | None:
    """What the reference's scripts read in the last turn, in the publisher's order.

    Pairs: the last "Answer N is better", anywhere; else the last bare number in <answer>. A number that no response
    has is kept as it is, which is never right. Single responses: the first True or False in the first <answer>.
    """
    if item.task.kind == "pointwise":
        block = _BLOCK.search(answer.text)
        word = _VERDICT.search(block[1]) if block else None
        return None if word is None else word[1].lower() == "true"
    found = _BETTER.findall(answer.text) or _BARE.findall(answer.text)
    if not found:
        return None
    shown, order = int(found[-1]), answer.trajectory.order
    return order[shown - 1] if 1 <= shown <= len(order) else -shown


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The results file of the reference's scripts (one line a row) and their table of scores, by our own reading."""
    tags: dict[str, list[int]] = {}
    lines = []
    for item in items:
        tag, mark = item.group.get("rm_tag", ""), int(_right(item, item.decision))
        for name in (tag, "overall"):
            tags.setdefault(name, []).append(mark)
        result = {
            "model_resp": item.first.text if item.first else "",
            "model_choice": _as_published(item.decision),
            "gt": _as_published(item.task.gold),
            "score": mark,
            "flag_status": "ExtractFailed" if item.decision is None else "ExtractSuccess",
        }
        lines.append({"idx": item.published_id, "rm_tag": tag, "judge_result": result})
    table = {
        name: {"score": sum(marks), "count": len(marks), "average": sum(marks) / len(marks)}
        for name, marks in tags.items()
    }
    return {"armbench-vl.jsonl": jsonl(lines), "armbench-vl_scores.json": json.dumps(table, indent=2) + "\n"}


def _as_published(value: Any) -> Any:
    """True and False are texts there."""
    return str(value) if isinstance(value, bool) else value


BENCHMARK = Benchmark(
    name="armbench-vl",
    main="acc",
    score=score,
    official=official,
    dataset=DataSet(
        title="the reference's benchmark: perception, long documents, instruction following",
        licence="other (not seen)",
        tasks=_tasks,
        files=(
            "**/fine_grained_perception.jsonl|**/multimodal_long_document.jsonl|"
            "**/multimodal_instruction_following.jsonl",
            "**/*.jsonl",
        ),
        hub="ChrisDing1105/ARMBench-VL",
        snapshot=True,
        seen="row as the reference's evaluation scripts read it; no published file was at hand",
        notes=(
            "The hub id (three configs, mixed types of idx) was reported and not seen; row counts are unknown.",
            "All constraints of a row are shown; the reference shows the first, and by a slip in most runs none.",
            "With documents/<doc_id>.pdf below the folder the document itself is given, else the contact sheet image.",
        ),
    ),
    notes=(
        "acc reads the text inside the final <answer>; acc_reference applies the reference's regular expressions "
        "to the whole last turn (its fallback for single responses, which counts an empty match as read and is "
        "never right, changes no score).",
        "The first answer of an item counts. All constraints of a row are shown; the reference shows the first.",
        "acc_reference ignores capital letters everywhere, as the reference does.",
    ),
)
