"""MP-DocVQA as published: the hub's parquet with lists as strings and 20 image columns, and the challenge's JSON."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import png, write_image, write_json, write_parquet

FORMS = ("parquet", "parquet-test", "rrc")
NAMES = ("mp-docvqa",)

_PAGE = (120, 160)


def _rows() -> list[dict[str, Any]]:
    """In the challenge's types; the second shows other pages of the first's document, the third's answer page is cut
    off in the hub's copy.
    """
    return [
        _row(49153, "What is the total?", "abcd0228", [2, 3, 4], ["$1,200", "1200"], 1),
        _row(49154, "Who signed?", "abcd0228", [3, 4], ["Dr. No"], 0),
        _row(49155, "What is the date?", "efgh0001", [1, 2, 10], ["3 May"], 2),
    ]


def _row(number: int, question: str, document: str, pages: list[int], answers: list[str], index: int) -> dict[str, Any]:
    return {
        "questionId": number,
        "question": question,
        "doc_id": document,
        "page_ids": [f"{document}_p{page}" for page in pages],
        "answers": answers,
        "answer_page_idx": index,
        "data_split": "val",
    }


def _write(folder: Path, form: str, rows: list[dict[str, Any]]) -> None:
    if form == "rrc":
        for page in {page for row in rows for page in row["page_ids"]}:
            write_image(folder / "images" / f"{page}.jpg", page, _PAGE)
        whole = {"dataset_name": "MP-DocVQA", "dataset_version": "1.0", "dataset_split": "val", "data": rows}
        write_json(folder / "val_v1.0.json", whole)
        return
    split = "test" if form == "parquet-test" else "val"
    published = [_published(row, hidden=split == "test") for row in rows]
    write_parquet(folder / "data" / f"{split}-00000-of-00001.parquet", published)


def _published(row: dict[str, Any], hidden: bool) -> dict[str, Any]:
    """As in the hub's copy: strings, `None` where there is no further page, at most two pages here."""
    pages = row["page_ids"][:2]
    return {
        "questionId": str(row["questionId"]),
        "question": row["question"],
        "doc_id": row["doc_id"],
        "page_ids": str(row["page_ids"]),
        "answers": None if hidden else str(row["answers"]),
        "answer_page_idx": None if hidden else str(row["answer_page_idx"]),
        "data_split": "test" if hidden else "val",
    } | {f"image_{i}": _image(pages[i - 1]) if i <= len(pages) else None for i in range(1, 21)}


def _image(page: str) -> dict[str, Any]:
    return {"bytes": png(page, _PAGE), "path": None}


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    rows = _rows()
    _write(folder, form, rows)
    return Built(rows=len(rows), tasks=len(rows))


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows()
    rows[1]["question"] = " "
    _write(folder, form, rows)
    return 2, "question", "is empty"
