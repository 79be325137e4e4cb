"""ARMBench-VL's scorer, as the reference's evaluation scripts decide: right where the choice equals `gt`, types
included; the plain mean over all rows and by `rm_tag`.

Also scores the look-alike tracks of `armlite.evals.lookalike`, whose tasks have the same groups.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from armlite.evals.benchmarks.shares import first, share
from armlite.evals.figures import Answer, Benchmark, Figures, Item
from armlite.rewards import is_right
from armlite.types import Decision

_BETTER = re.compile(r"Answer\s*(\d+)\s*is\s*(?:the\s*)?(?:slightly\s*)?(?:better|preferred)", re.IGNORECASE)
_BARE = re.compile(r"<answer>\s*(\d+)\s*</answer>")
_BLOCK = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_VERDICT = re.compile(r"\b(True|False)\b")


def score(items: Sequence[Item]) -> Figures:
    """Figures of judged rows; the first answer of each counts, an unreadable one is wrong.

    Returns:
        `acc` (our reading of the final answer), `acc_reference` (the reference's regular expressions on the last
        turn), each also by rm_tag and by track as `.../NAME`; `parse_failures`, `parse_failures_reference`.
    """
    figures: Figures = {}
    rows = [(item, first(item)) for item in items]
    ours = [a is not None and bool(is_right(item.task, a.decision)) for item, a in rows]
    theirs = [None if a is None else reference_choice(item, a) for item, a in rows]
    marks = {
        "acc": ours,
        "acc_reference": [bool(is_right(item.task, c)) for item, c in zip(items, theirs, strict=True)],
    }
    groups = [set(item.group.values()) for item in items]
    for name, hits in marks.items():
        figures[name] = share(hits)
        for group in sorted(set().union(*groups)):
            figures[f"{name}/{group}"] = share([hit for hit, mine in zip(hits, groups, strict=True) if group in mine])
    figures["parse_failures"] = share([a is None or a.decision is None for _, a in rows])
    figures["parse_failures_reference"] = share([choice is None for choice in theirs])
    return figures


def reference_choice(item: Item, answer: Answer) -> Decision | None:
    """What the reference's scripts read in the last turn, in the publisher's order.

    Pairs: the last "Answer N is better", anywhere; else the last bare number in <answer>. A number that no response
    has is kept as it is, which is never right. Single responses: the first True or False in the first <answer>.
    """
    if item.task.kind == "pointwise":
        block = _BLOCK.search(answer.text)
        word = _VERDICT.search(block[1]) if block else None
        return None if word is None else word[1] == "True"
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
        answer, tag = first(item), item.group.get("rm_tag", "")
        decision = None if answer is None else answer.decision
        mark = int(bool(is_right(item.task, decision)))
        for name in (tag, "overall"):
            tags.setdefault(name, []).append(mark)
        result = {
            "model_resp": "" if answer is None else answer.text,
            "model_choice": _as_published(decision),
            "gt": _as_published(item.task.gold),
            "score": mark,
            "flag_status": "ExtractFailed" if decision is None else "ExtractSuccess",
        }
        line = {"idx": item.task.meta.get("published_id", item.task.id), "rm_tag": tag, "judge_result": result}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    table = {
        name: {"score": sum(marks), "count": len(marks), "average": sum(marks) / len(marks)}
        for name, marks in tags.items()
    }
    return {"armbench-vl.jsonl": "".join(lines), "armbench-vl_scores.json": json.dumps(table, indent=2) + "\n"}


def _as_published(value: Any) -> Any:
    """True and False are texts there."""
    return str(value) if isinstance(value, bool) else value


BENCHMARKS = {
    "armbench-vl": Benchmark(
        name="armbench-vl",
        main="acc",
        score=score,
        official=official,
        order="as_published",
        notes=(
            "acc reads the text inside the final <answer>; acc_reference applies the reference's regular expressions "
            "to the whole last turn (its fallback for single responses, which counts an empty match as read and is "
            "never right, changes no score).",
            "The first answer of an item counts. All constraints of a row are shown; the reference shows the first.",
            "Capital letters are ignored in 'Answer N is better'; whether the reference does so is not known.",
        ),
    )
}
