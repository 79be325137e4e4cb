"""MMLongBench-Doc: questions about long PDF documents, one in five without an answer (yubo2333/MMLongBench-Doc).

Reads `samples.json` of the repository or the hub's parquet, all fields strings, with the PDFs in `documents/`. The
scorer is rebuilt from the repository's `eval/eval_score.py` with its habits, without its `eval`: a rule for each answer
format, accuracy and F1. There GPT-4o first extracts a short answer from a free text; here the text inside `<answer>` is
taken, with the small clean-up of `extract` (`extract=rule`), so the numbers are not GPT-extracted.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import isclose, sqrt
from typing import Any

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.anls import similarity
from armlite.evals.benchmarks.shares import mean, share
from armlite.evals.figures import Benchmark, Figure, Figures, Item, TaskMeta
from armlite.evals.intervals import Z
from armlite.types import Task


class Meta(TaskMeta):
    """`group` has `span` and `doc_type`."""

    doc_id: str
    doc_type: str
    answer: str
    answer_format: str
    """`Str`, `Int`, `Float`, `List` or `None`."""
    evidence_pages: list[int]
    """As published, from 1; some lie outside of the document."""
    evidence_sources: list[str]
    """Kinds of evidence, as `Chart`."""


FORMATS = ("Str", "Int", "Float", "List", "None")
UNANSWERABLE = "Not answerable"
"""Published answer of all questions of format None."""


def _tasks(row: Row) -> Iterator[Task]:
    name = row.words("doc_id")
    pages = row.items("evidence_pages", of=int)
    answer, answer_format = row.words("answer"), row.one_of(FORMATS, "answer_format")
    if answer_format == "None" and answer != UNANSWERABLE:
        raise row.fail("answer", f"is {answer!r}, must be {UNANSWERABLE!r} where answer_format is None")
    span = "unanswerable" if answer == UNANSWERABLE else "single-page" if len(pages) == 1 else "cross-page"
    yield Task(
        id=f"{name.removesuffix('.pdf')}-{row.number}",
        kind="open_qa",
        question=row.words("question"),
        document=_document(row, name),
        gold=(answer,),
        source=f"mmlongbench-doc/{span}",
        meta=Meta(
            group={"span": span, "doc_type": row.text("doc_type")},
            doc_id=name,
            doc_type=row.text("doc_type"),
            answer=answer,
            answer_format=answer_format,
            evidence_pages=pages,
            evidence_sources=row.items("evidence_sources", of=str),
        ).as_dict(),
    )


def _document(row: Row, name: str) -> str:
    """Path of the PDF in `documents/`: beside the file of the row, as in the repository's `data/`, or in the folder."""
    places = (row.file.parent, row.folder) if row.root is not None else (row.folder,)
    for place in places:
        if (place / "documents" / name).is_file():
            break
    try:
        return row.pictures.named(f"documents/{name}", place)
    except ValueError as error:
        raise row.fail("doc_id", str(error)) from error


Prediction = str | list[str]
FAILED = "Failed to extract"
"""Prediction of an item without a readable answer, as in the official script: wrong, and not "Not answerable"."""
_NUMBER = re.compile(r"(?:(?<!\w)[-+])?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)")


def score(items: Sequence[Item]) -> Figures:
    """Figures `acc` and `f1`, `acc/NAME` by span of the evidence, by its source and by type of document, and
    `parse_failures`. Of several answers the first counts.
    """
    rows = [_judged(item) for item in items]
    figures = {"acc": _acc(rows), "f1": _f1(rows)}
    spans = {
        "single-page": [r for r in rows if len(r["evidence_pages"]) == 1],
        "cross-page": [r for r in rows if len(r["evidence_pages"]) != 1 and r["answer"] != UNANSWERABLE],
        "unanswerable": [r for r in rows if r["answer"] == UNANSWERABLE],
    }
    figures |= {f"acc/{name}": _acc(group) for name, group in spans.items() if group}
    for source in sorted({source for row in rows for source in row["evidence_sources"]}):
        figures[f"acc/{source}"] = _acc([row for row in rows if source in row["evidence_sources"]])
    for kind in sorted({row["doc_type"] for row in rows}):
        figures[f"acc/{kind}"] = _acc([row for row in rows if row["doc_type"] == kind])
    return figures | {"parse_failures": share([row["pred"] == FAILED for row in rows])}


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The results file of the repository's scripts: the published fields, the response, our extraction, its score."""
    rows = []
    for item in items:
        row = _judged(item)
        lists = {name: str(row[name]) for name in ("evidence_pages", "evidence_sources")}
        pred = row["pred"] if isinstance(row["pred"], str) else str(row["pred"])
        rows.append(row | lists | {"pred": pred})
    return {"res_armlite.json": json.dumps(rows, ensure_ascii=False, indent=1)}


def _columns(item: Item) -> dict[str, Any]:
    meta = Meta.of(item.task)
    lists = {name: str(getattr(meta, name)) for name in ("evidence_pages", "evidence_sources")}
    return {name: getattr(meta, name) for name in ("doc_id", "doc_type", "answer", "answer_format")} | lists


def extract(answer: str, answer_format: str) -> Prediction:
    """The short answer in the text inside `<answer>`.

    Without emphasis marks and a last full stop; the only number in it, where a number is asked for; a list written with
    brackets, else with lines, semicolons or commas, where a list is asked for.
    """
    text = answer.strip().strip("*`").strip()
    text = text.removesuffix(".") if not re.search(r"\b[ap]\.m\.$", text) else text
    if text.lower().strip("'\"") == UNANSWERABLE.lower():
        return UNANSWERABLE
    if answer_format in ("Int", "Float"):
        numbers = _NUMBER.findall(text)
        return numbers[0].replace(",", "") if len(numbers) == 1 else text
    return _listed(text) if answer_format == "List" else text


def answer_score(gold: str, pred: Prediction, answer_format: str) -> float:
    """Score of an answer between 0 and 1, by the official rule of its format.

    Args:
        gold: as published; of a List its Python literal.
        pred: what was extracted.
    """
    if answer_format == "List":
        return _list_score(_literal(gold), pred if isinstance(pred, list) else [pred])
    if not isinstance(pred, str):
        return 0.0
    if answer_format == "Int":
        return float(_same_whole(gold, pred))
    if answer_format == "Float":
        one, two = _number(_clean(gold)), _number(_clean(pred))
        return float(one is not None and two is not None and _close(one, two))
    one, two = _clean(gold), _clean(pred)
    return float(one == two) if _is_exact(one) else _anls(one, two)


def _judged(item: Item) -> dict[str, Any]:
    """The published fields, the prediction and its score."""
    meta, answer = Meta.of(item.task), item.first
    final = answer.final if answer is not None else None
    pred = extract(final, meta.answer_format) if final else FAILED
    return {
        "doc_id": meta.doc_id,
        "doc_type": meta.doc_type,
        "question": item.task.question,
        "answer": meta.answer,
        "evidence_pages": meta.evidence_pages,
        "evidence_sources": meta.evidence_sources,
        "answer_format": meta.answer_format,
        "response": answer.text if answer is not None else "",
        "pred": pred,
        "score": answer_score(meta.answer, pred, meta.answer_format) if pred != FAILED else 0.0,
    }


def _acc(rows: Sequence[Mapping[str, Any]]) -> Figure:
    return mean([row["score"] for row in rows])


def _f1(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Recall over what can be answered, precision over what was; with S the scores of answerable questions their F1 is
    2 S / (answerable + answered), a ratio of sums whose interval comes from its linearisation.
    """
    n = len(rows)
    tops = [2 * row["score"] * (row["answer"] != UNANSWERABLE) for row in rows]
    bottoms = [(row["answer"] != UNANSWERABLE) + (row["pred"] != UNANSWERABLE) for row in rows]
    if not any(row["answer"] != UNANSWERABLE for row in rows) or not any(row["pred"] != UNANSWERABLE for row in rows):
        return Figure(value=0.0 if rows else None, n=n)  # as the official script, which has nothing to divide by
    value = sum(tops) / sum(bottoms)
    if n < 2:
        return Figure(value=value, n=n)
    squares = sum((top - value * bottom) ** 2 for top, bottom in zip(tops, bottoms, strict=True))
    half = Z * sqrt(n / (n - 1) * squares) / sum(bottoms)
    return Figure(value=value, n=n, ci95=(value - half, value + half))


def _anls(one: str, two: str) -> float:
    alike = similarity(one, two)
    return alike if alike > 0.5 else 0.0


def _list_score(gold: list[str] | None, pred: list[str]) -> float:
    """As long as the gold, and each element in sorted order alike: the least alike counts."""
    if not gold or len(gold) != len(pred):
        return 0.0
    gold, pred = sorted(map(_clean, gold)), sorted(map(_clean, pred))
    if _number(gold[0]) is not None or _is_exact(gold[0]):
        return float("-".join(gold) == "-".join(pred))
    return min(_anls(one, two) for one, two in zip(gold, pred, strict=True))


def _close(gold: float, pred: float) -> bool:
    """Within 1 %, or equal when rounded to the fewer decimals of the two, at least 2; also as a percentage or share."""
    for value in (gold / 100, gold, gold * 100):
        decimals = max(min(_decimals(pred), _decimals(value)), 2)
        if isclose(value, pred, rel_tol=0.01) or round(pred, decimals) == round(value, decimals):
            return True
    return False


def _decimals(value: float) -> int:
    """Counted in Python's writing of the number; 3 where that has no point."""
    return len(str(value).split(".")[-1]) if "." in str(value) else 3


def _same_whole(gold: str, pred: str) -> bool:
    """The prediction is cut to a whole number, as in the official script: 14.9 counts as 14."""
    try:
        return int(gold) == int(float(pred))
    except (ValueError, OverflowError):
        return False


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _clean(value: Any) -> str:
    """Lower case, without parentheses, outer quotes, a dollar sign in front and a percent sign behind.

    The official script means to take units (mile, million) off too, but drops the result; they stay here too.
    """
    text = re.sub(r"\s*\([^)]*\)", "", str(value).lower().strip()).strip()
    text = re.sub(r"^['\"]|['\"]$", "", text).strip()
    return text.lstrip("$").strip().rstrip("%").strip()


def _is_exact(text: str) -> bool:
    """Whether a gold answer must be met letter by letter: addresses, files, pages, telephone numbers, times, dates."""
    whole = (r"\d+(?:[-\s]\d+)?", r"\d{4}[-\s]\d{2}(?:[-\s]\d{2})?", r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}")
    parts = ("https://", "a.m.", "p.m.")
    return (
        any(part in text for part in parts)
        or text.endswith((".py", "ipynb"))
        or text.startswith("page")
        or any(re.fullmatch(pattern, text) for pattern in whole)
    )


def _literal(text: str) -> list[str] | None:
    """A gold list; one that is not written as a list is its only element, and a broken one is None."""
    if not text.startswith("["):
        return [text]
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    return [str(element) for element in found] if isinstance(found, list) else [str(found)]


def _listed(text: str) -> list[str]:
    if text.startswith("["):
        found = _literal(text)
        if found is not None:
            return found
        text = text.strip("[]")
    for separator in ("\n", ";", ","):
        if separator in text:
            parts = (re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", part).strip() for part in text.split(separator))
            return [part for part in parts if part]
    return [text]


BENCHMARK = Benchmark(
    name="mmlongbench-doc",
    main="acc",
    score=score,
    official=official,
    vlmevalkit=_columns,
    dataset=DataSet(
        title="questions about 135 long PDF documents, over one page, several, or without an answer",
        licence="CC-BY-NC-4.0",
        tasks=_tasks,
        files=("samples.json", "data/samples.json", "data/*.parquet", "*.parquet"),
        hub="yubo2333/MMLongBench-Doc",
        split="train",
        snapshot=True,
        counts={"all": 1082},
        seen="all rows of the repository's samples.json, and 14 of the documents",
        notes=(
            "An older revision has 1,091 questions; the questions were edited in September 2025.",
            "Evidence pages count from 1 as published; a few lie outside their document and stay in meta.",
        ),
    ),
    notes=(
        "extract=rule: the text inside <answer>, cleaned up by the gold's format; officially GPT-4o extracts.",
        "The judge sees a contact sheet and asks for pages by tool; officially all pages, at most 120, are shown.",
        "Partial scores count, as officially: a Str or List answer more than half alike earns its likeness.",
    ),
)
