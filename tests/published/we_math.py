"""We-Math: rows that share an ID, semicolons inside options, four options without blanks between them."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import image_column, write_image, write_json, write_parquet

FORMS = ("json", "parquet")
NAMES = ("we-math",)
_OPTIONS = (
    "A. 3 cm; B. 4 cm; C. 5 cm; D. 6 cm; E. No correct answer",
    "A. first left; then up; B. first up; then left; C. both; D. neither; E. No correct answer",
    "A. 8 m³;   B. 16 m³;C. 24 m³; D. No correct answer",
)
_KEYS = ("2steps_1", "2steps_2", "2steps_multi", "3steps_1", "3steps_2", "3steps_3", "3steps_multi")


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    rows = _rows(form)
    _write(folder, form, rows)
    if form == "json":
        for row in rows:
            write_image(folder / row["image_path"], row["key"])
    return Built(rows=7, tasks=7)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows(form)
    rows[4]["option"] = "3 cm or 4 cm"
    _write(folder, form, rows)
    return 5, "option", "must read `A. ...; B. ...`"


def _write(folder: Path, form: str, rows: list[dict[str, Any]]) -> None:
    if form == "json":
        write_json(folder / "testmini.json", rows)
    else:
        write_parquet(folder / "data/testmini-00000-of-00001.parquet", rows)


def _rows(form: str) -> list[dict[str, Any]]:
    rows = []
    for number, key in enumerate(_KEYS):
        steps, part = key.split("_")
        image: Any = f"{steps}/image/1-{part}.png" if form == "json" else image_column(key)
        row = {"ID": f"{steps}_1", "split": "testmini", "knowledge concept": f"Concept {number}"}
        row |= {"question": f"How much is {number}?", "option": _OPTIONS[number % 3], "answer": "ABCD"[number % 4]}
        row |= {"image_path": image, "key": key, "question number": number}
        rows.append(row | {"knowledge concept description": "What it is."})
    return rows
