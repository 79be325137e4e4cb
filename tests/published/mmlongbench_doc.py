"""MMLongBench-Doc as published: all fields strings, pages 0 and 1418 as evidence, an answer without evidence."""

from pathlib import Path
from typing import Any

from make_pdf import write_pdf

from published.built import Built
from published.pieces import write_json, write_parquet

FORMS = ("json", "repository", "parquet")
NAMES = ("mmlongbench-doc",)

_ROWS = (
    ("How tall is the tower?", "31 m", "[2]", "['Pure-text (Plain-text)']", "Str"),
    ("How many lamps are on the map?", "14", "[1, 3]", "['Chart', 'Figure']", "Int"),
    ("What share of visitors came by boat?", "21%", "[0]", "['Table']", "Float"),
    ("Who painted the door?", "Not answerable", "[]", "[]", "None"),
    ("Which two towns are named?", "['Aro', 'Bel (old)']", "[3, 1418]", "['Pure-text (Plain-text)']", "List"),
    ("Which colour is the roof?", "red", "[]", "['Figure']", "Str"),
)


def _rows() -> list[dict[str, Any]]:
    names = ("question", "answer", "evidence_pages", "evidence_sources", "answer_format")
    documents = [("tower-guide.pdf", "Guidebook"), ("annual.report.pdf", "Tutorial/Workshop")]
    return [
        dict(zip(("doc_id", "doc_type"), documents[i % 2], strict=True)) | dict(zip(names, row, strict=True))
        for i, row in enumerate(_ROWS)
    ]


def _write(folder: Path, form: str, rows: list[dict[str, Any]]) -> None:
    data = folder / "data" if form == "repository" else folder
    documents = data / "documents"
    documents.mkdir(parents=True, exist_ok=True)
    for name in ("tower-guide.pdf", "annual.report.pdf"):
        write_pdf(documents / name, ["# The tower", "It is 31 m tall.", "Aro and Bel (old)"])
    if form == "parquet":
        write_parquet(folder / "data" / "train-00000-of-00001.parquet", rows)
    else:
        write_json(data / "samples.json", rows)


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    rows = _rows()
    _write(folder, form, rows)
    return Built(rows=len(rows), tasks=len(rows))


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows()
    rows[2]["answer_format"] = "Percent"
    _write(folder, form, rows)
    return 3, "answer_format", "'Percent', must be one of Str"
