"""MP-DocVQA: questions about scanned documents of up to 20 pages (lmms-lab/MP-DocVQA, RRC challenge 17 task 4).

The hub's copy embeds the pages in `image_1` to `image_20`; the challenge's JSON names them in `page_ids`, with the
pictures beside it. Either way a task gets a folder of page images. Scoring is in `armlite.evals.benchmarks.mp_docvqa`.
"""

from collections.abc import Iterator
from dataclasses import replace

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import Task

MAX_PAGES = 20


def _tasks(row: Row) -> Iterator[Task]:
    name, page_ids = row.words("doc_id"), row.items("page_ids", of=str)
    if not page_ids:
        raise row.fail("page_ids", "is empty")
    split = row.text("data_split") if row.get("data_split") is not None else "unnamed"
    embedded = any(f"image_{i}" in row.values for i in range(1, MAX_PAGES + 1))
    pages = _embedded(row) if embedded else _beside(row, page_ids)
    if len(pages) > len(page_ids):
        raise row.fail("page_ids", f"names {len(page_ids)} pages for {len(pages)} images")
    answers = _answers(row)
    index = row.integer("answer_page_idx") if answers and row.get("answer_page_idx") is not None else None
    if index is not None and not 0 <= index < len(page_ids):
        raise row.fail("answer_page_idx", f"is {index}, must be 0 to {len(page_ids) - 1}")
    yield Task(
        id=row.words("questionId"),
        kind="open_qa",
        question=row.words("question"),
        document=row.pictures.pages(pages, name),
        gold=answers or None,
        source=f"mp-docvqa/{split}",
        meta={
            "group": {"split": split},
            "doc_id": name,
            "page_ids": page_ids,
            "pages": len(pages),
            "evidence_pages": [] if index is None else [index + 1],
        },
    )


def _answers(row: Row) -> tuple[str, ...]:
    """Accepted answers; none in the test split, where they are hidden."""
    if row.get("answers") in (None, "None"):
        return ()
    return tuple(a for a in row.items("answers", of=str) if a.strip())


def _embedded(row: Row) -> list[str]:
    numbers = [i for i in range(1, MAX_PAGES + 1) if row.get(f"image_{i}") is not None]
    for position, number in enumerate(numbers, 1):
        if number != position:
            raise row.fail(f"image_{position}", f"is missing, though image_{numbers[-1]} is there")
    if not numbers:
        raise row.fail("image_1", "is missing")
    return [row.picture(f"image_{i}") for i in numbers]


def _beside(row: Row, page_ids: list[str]) -> list[str]:
    """Pages as `{page_id}.jpg`, in `images` or loose, in the given folder or beside the JSON file."""
    places = [(root, folder) for root in (row.folder, row.file.parent) for folder in ("images/", "")]
    there = (p for p in places if (p[0] / f"{p[1]}{page_ids[0]}.jpg").is_file())
    root, folder = next(there, places[0])
    beside = replace(row, root=root)
    return [beside.keep(f"{folder}{page}.jpg", f"page_ids.{i}") for i, page in enumerate(page_ids)]


SETS = {
    "mp-docvqa": DataSet(
        name="mp-docvqa",
        title="questions about scanned documents of up to 20 pages",
        use="benchmark",
        licence="MIT (hub copy); the original asks for registration",
        tasks=_tasks,
        files=(
            "data/val-*.parquet",
            "data/*.parquet",
            "*.parquet",
            "val_v*.json",
            "train_v*.json",
            "test_v*.json",
            "*.json",
        ),
        hub="lmms-lab/MP-DocVQA",
        split="val",
        mirrors=("lmms-lab-encoder/MP-DocVQA",),
        notes=(
            "The hub holds val and test, about 5,200 and 5,000 questions; the answers of test are hidden. Train comes "
            "with the challenge's JSON only. To read another split, give its file as --path.",
            "A page's number is its place in page_ids; some answers lie on a page that was cut off.",
            "The challenge's IMDB files are pickled and are not read.",
        ),
    )
}
