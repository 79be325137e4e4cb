"""HR-Bench: two questions in four cycles each, one of them with a missing option, images in base64."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import base64_png, write_parquet, write_tsv

FORMS = ("parquet", "tsv")
NAMES = ("hr-bench-4k", "hr-bench-8k")
_QUESTIONS = (
    ("single", "What is written on the sign?", ["12", "21", "71", "17"], "71"),
    ("cross", "What is behind the bus?", ["a van", "a tree", "a dog", None], "a dog"),
)


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, form, name, _rows())
    return Built(rows=8, tasks=8)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows()
    rows[3]["category"] = "double"
    _write(folder, form, name, rows)
    return 4, "category", "must be one of single, cross"


def _write(folder: Path, form: str, name: str, rows: list[dict[str, Any]]) -> None:
    stem = f"hr_bench_{name[-2:]}"
    if form == "parquet":
        write_parquet(folder / f"{stem}.parquet", rows)
    else:
        write_tsv(folder / f"{stem}.tsv", rows)


def _rows() -> list[dict[str, Any]]:
    rows = []
    for number, (category, question, options, right) in enumerate(_QUESTIONS):
        for cycle in range(4):
            moved = [*options[cycle:], *options[:cycle]]
            row = {"index": 4 * number + cycle, "question": question, "answer": "ABCD"[moved.index(right)]}
            row |= {"category": category, **dict(zip("ABCD", moved, strict=True)), "cycle_category": str(cycle)}
            rows.append(row | {"image": base64_png(f"{number}")})
    return rows
