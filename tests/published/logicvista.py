"""LogicVista: a mapping of rows, several letters as an answer, one answer that is a number and one that is empty."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import image_column, write_image, write_json, write_parquet

FORMS = ("json", "parquet")
NAMES = ("logicvista",)
_QUESTIONS = (
    ("Which box (A, B, C, or D) goes on?", "C", "inductive"),
    ("Which two of A, B, C or D fit? Select from A-D", "B, D", "spatial"),
    ("Which sentence follows? Select from 1-5", "3", "deductive"),
    ("", "", "mechanical"),  # as the published v1_382
)


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, form, _rows(form))
    if form == "json":
        for number in range(len(_QUESTIONS)):
            write_image(folder / f"images/v1_{number}.png", f"{number}")
    return Built(rows=4, tasks=4)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows(form)
    rows["v1_1"]["skill"] = ["intuitive"]
    _write(folder, form, rows)
    return 2, "skill", "is 'intuitive', must be one of inductive"


def _write(folder: Path, form: str, rows: dict[str, dict[str, Any]]) -> None:
    if form == "json":
        write_json(folder / "dataset.json", rows)
    else:
        write_parquet(folder / "data/test-00000-of-00001.parquet", list(rows.values()))


def _rows(form: str) -> dict[str, dict[str, Any]]:
    rows = {}
    for number, (question, answer, skill) in enumerate(_QUESTIONS):
        row: dict[str, Any] = {"imagename": f"v1_{number}.png"} if form == "json" else {"id": f"v1_{number}"}
        row |= {"question": question, "answer": answer, "reasoning": "Because.", "skill": [skill]}
        row |= {"broad_capability": ["diagram"], "specific_capability": ["ocr"], "imagesource": "own"}
        row |= {"sourcelink": "", "liscenced": False}
        rows[f"v1_{number}"] = row if form == "json" else row | {"image": image_column(f"{number}")}
    return rows
