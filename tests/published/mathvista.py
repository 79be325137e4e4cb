"""MathVista: choices and free answers of every type, a unit, a precision, null choices, a path beside the image."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import image_column, write_image, write_json, write_parquet

FORMS = ("parquet", "json")
NAMES = ("mathvista",)
_QUESTIONS: tuple[tuple[str, list[str] | None, str | None, int | None, str, str], ...] = (
    ("How large is the angle? ", ["28°", "30°", "32°"], None, None, "28°", "text"),
    ("How many are left?", None, None, None, "9", "integer"),
    ("How fast is it?\r\n", None, "m/s", 1, "4.5", "float"),
    ("Which two years?", None, None, None, "[2007, 2008]", "list"),
    ("Is the sum even?", ["Yes", "No"], None, None, "No", "text"),
)


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, form, _rows(form))
    if form == "json":
        for number in range(1, len(_QUESTIONS) + 1):
            write_image(folder / f"images/{number}.jpg", f"{number}")
    return Built(rows=5, tasks=5)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows(form)
    rows["5"]["choices"] = ["Maybe"]
    _write(folder, form, rows)
    return 5, "choices", "holds 1 choices, a multi_choice question needs 2 to 26"


def _write(folder: Path, form: str, rows: dict[str, dict[str, Any]]) -> None:
    if form == "json":
        write_json(folder / "testmini.json", rows)
    else:
        write_parquet(folder / "data/testmini-00000-of-00001.parquet", list(rows.values()))


def _rows(form: str) -> dict[str, dict[str, Any]]:
    rows = {}
    for number, (question, choices, unit, precision, answer, kind) in enumerate(_QUESTIONS, 1):
        metadata = {"split": "testmini", "language": "english", "img_width": 32, "img_height": 24, "source": "Own"}
        metadata |= {"category": "math-targeted-vqa", "task": "math word problem", "context": "diagram"}
        metadata |= {"grade": "college", "skills": ["arithmetic reasoning"] if number % 2 else ["logical reasoning"]}
        row = {"pid": str(number), "question": question, "image": f"images/{number}.jpg", "choices": choices}
        row |= {"unit": unit, "answer": answer, "answer_type": kind, "metadata": metadata}
        row |= {"question_type": "multi_choice" if choices else "free_form"}
        if form == "parquet":  # a column of floats there
            row |= {"precision": None if precision is None else float(precision), "query": f"Hint: ... {question}"}
            row |= {"decoded_image": image_column(f"{number}")}
        else:
            row |= {"precision": precision}
        rows[str(number)] = row
    return rows
