"""MMLongBench-Doc: questions about long PDF documents, one in five without an answer (yubo2333/MMLongBench-Doc).

`samples.json` of the repository or the hub's parquet, all fields strings, with the PDFs in `documents/`. Scoring is in
`armlite.evals.benchmarks.mmlongbench_doc`.
"""

from collections.abc import Iterator

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Task

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
        meta={
            "group": {"span": span, "doc_type": row.text("doc_type")},
            "doc_id": name,
            "doc_type": row.text("doc_type"),
            "answer": answer,
            "answer_format": answer_format,
            "evidence_pages": pages,
            "evidence_sources": row.items("evidence_sources", of=str),
        },
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


SETS = {
    "mmlongbench-doc": DataSet(
        name="mmlongbench-doc",
        title="questions about 135 long PDF documents, over one page, several, or without an answer",
        use="benchmark",
        licence="CC-BY-NC-4.0",
        tasks=_tasks,
        files=("samples.json", "data/samples.json", "data/*.parquet", "*.parquet"),
        hub="yubo2333/MMLongBench-Doc",
        split="train",
        snapshot=True,
        counts={"all": 1082},
        seen="124 published rows about 14 of the documents (samples.json)",
        notes=(
            "An older revision has 1,091 questions; the questions were edited in September 2025.",
            "Evidence pages count from 1 as published; a few lie outside their document and stay in meta.",
        ),
    )
}
