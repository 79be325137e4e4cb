"""How well the document tool finds pages: recall against the evidence pages of MMLongBench-Doc, without any model.

It measures `Document.search` of `armlite.tools.documents.pages`, the very function behind the judge's page retrieval.
Another ranker (a dense retriever, say) goes in as `ranker`, which is any `Ranker` of that module.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlite.data.files import Unreadable, read_file
from armlite.errors import ArmliteError
from armlite.tools.documents import ocr
from armlite.tools.documents.pages import Document, Ranker
from armlite.tools.documents.ranking import rank

SAMPLES, DOCUMENTS = "samples.json", "documents"
DEPTHS = (1, 3, 5)


@dataclass(frozen=True)
class Question:
    """A question about a document and where its answer stands."""

    document: str
    text: str
    pages: frozenset[int]
    """Evidence pages as published, from 1; some lie outside of the document."""
    sources: tuple[str, ...]
    """Kinds of evidence, as `Chart`."""


def read_questions(folder: Path) -> list[Question]:
    """The questions of `samples.json` (a list of rows of strings, as published).

    Raises:
        ArmliteError: no such folder or file, or no JSON.
        DataError: a row breaks the schema.
    """
    file = folder / SAMPLES
    if not folder.is_dir():
        raise ArmliteError(f"there is no folder {folder}")
    if not file.is_file():
        raise ArmliteError(f"{folder} holds no {SAMPLES}: give the folder with {SAMPLES} and {DOCUMENTS}/*.pdf")
    questions = []
    for row in read_file("retrieval", file):
        if isinstance(row, Unreadable):
            raise row.error
        name = row.words("doc_id")
        if name != Path(name).name:
            raise row.fail("doc_id", f"must be a plain file name, not {name!r}")
        pages = frozenset(row.items("evidence_pages", of=int))
        questions.append(Question(name, row.words("question"), pages, tuple(row.items("evidence_sources", of=str))))
    return questions


def evaluate_retrieval(
    folder: Path, ranker: Ranker = rank, on_question: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Search for each question in its document, and compare with the evidence pages.

    Evidence pages that the document does not have are ignored; a question without any left is not counted.

    Args:
        folder: holds `samples.json` and `documents/*.pdf`.
        ranker: how pages are ranked.
        on_question: called with (questions done, of how many).

    Returns:
        `questions`; `recall@1`, `recall@3`, `recall@5`, `any@5`: means per question in percent; `by_source`: the same
        and `n` for each kind of evidence; `seconds_per_query`; `seconds_per_page`: reading and indexing, of which a
        document read before takes less (its text is cached); `pages`, `documents`; `ocr`: whether pages without a text
        layer were read with OCR. Undefined figures are None.

    Raises:
        ArmliteError: documents are missing (all are named), or one cannot be read.
    """
    questions = [q for q in read_questions(folder) if q.pages]
    _check_documents(folder, questions)
    names = sorted({q.document for q in questions})
    found: list[tuple[Question, dict[str, float]]] = []
    indexing = searching = 0.0
    pages = done = 0
    for name in names:
        document = Document(folder / DOCUMENTS / name, ranker)
        started = time.perf_counter()
        _ = document.index
        indexing += time.perf_counter() - started
        pages += len(document)
        for question in (q for q in questions if q.document == name):
            evidence = {page for page in question.pages if 1 <= page <= len(document)}
            if evidence:
                started = time.perf_counter()
                best = [page for page, _ in document.search(question.text)]
                searching += time.perf_counter() - started
                found.append((question, _hits(best, evidence)))
            done += 1
            if on_question is not None:
                on_question(done, len(questions))
    sources = sorted({source for question, _ in found for source in question.sources})
    return {
        **_means([hits for _, hits in found], "questions"),
        "by_source": {s: _means([hits for q, hits in found if s in q.sources], "n") for s in sources},
        "seconds_per_query": searching / len(found) if found else None,
        "seconds_per_page": indexing / pages if pages else None,
        "documents": len(names),
        "pages": pages,
        "ocr": ocr.available(),
    }


def _check_documents(folder: Path, questions: Sequence[Question]) -> None:
    names = sorted({q.document for q in questions})
    missing = [name for name in names if not (folder / DOCUMENTS / name).is_file()]
    if missing:
        raise ArmliteError(
            f"{len(missing)} of {len(names)} documents are missing in {folder / DOCUMENTS}: {', '.join(missing)}"
        )


def _hits(best: Sequence[int], evidence: set[int]) -> dict[str, float]:
    """Share of the evidence pages among the first 1, 3, 5, and whether any is among the first 5, in percent."""
    recall = {f"recall@{k}": 100 * len(evidence.intersection(best[:k])) / len(evidence) for k in DEPTHS}
    return {**recall, "any@5": 100.0 * bool(evidence.intersection(best[:5]))}


def _means(rows: Sequence[dict[str, float]], count: str) -> dict[str, Any]:
    names = [*(f"recall@{k}" for k in DEPTHS), "any@5"]
    means = {name: sum(row[name] for row in rows) / len(rows) if rows else None for name in names}
    return {count: len(rows), **means}
