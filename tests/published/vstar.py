"""V*: an option with parentheses, two options only, a question_id that repeats, boxes beside the images."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import base64_png, image_column, write_image, write_json, write_jsonl, write_parquet, write_tsv

FORMS = ("jsonl", "parquet", "tsv")
NAMES = ("vstar",)
_ASK = "Answer with the option's letter from the given choices directly."
_QUESTIONS: tuple[tuple[str, str, str, list[str], str, list[list[int]]], ...] = (
    ("direct_attributes/sa_1", "0", "What is the kite made of?", ["silk (a thin one)", "paper", "nylon", "wool"], "A",
     [[4, 5, 10, 8]]),
    ("relative_position/sa_7", "0", "Is the (red) cup left of the bell?", ["right", "left"], "B",
     [[1, 2, 6, 6], [20, 10, 8, 9]]),
    ("direct_attributes/sa_2", "1", "What colour is the hat?", ["blue", "red", "green", "black"], "C",
     [[0, 0, 5, 5]]),
)  # fmt: skip


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, form, _rows(form))
    if form == "jsonl":
        for path, _, question, options, label, boxes in _QUESTIONS:
            write_image(folder / f"{path}.jpg", path)
            right = options["ABCD".index(label)]  # the publisher's file has the right one first
            listed = [right, *(option for option in options if option != right)]
            noted = {"target_object": ["thing"] * len(boxes), "bbox": boxes, "question": question, "options": listed}
            write_json(folder / f"{path}.json", noted)
    return Built(rows=3, tasks=3)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows(form)
    field = "answer" if form == "tsv" else "label"
    rows[1][field] = "C"
    _write(folder, form, rows)
    return 2, field, "must be one of the options A, B"


def _write(folder: Path, form: str, rows: list[dict[str, Any]]) -> None:
    if form == "jsonl":
        write_jsonl(folder / "test_questions.jsonl", rows)
    elif form == "parquet":
        write_parquet(folder / "data/test-00000-of-00001.parquet", rows)
    else:
        write_tsv(folder / "VStarBench.tsv", rows)


def _rows(form: str) -> list[dict[str, Any]]:
    rows = []
    for path, number, question, options, label, _ in _QUESTIONS:
        category = path.split("/")[0]
        if form == "tsv":
            four: list[str | None] = [*options, None, None][:4]
            columns = dict(zip("ABCD", four, strict=True))
            rows.append({"index": number, "image": base64_png(path), "question": question, **columns}
                        | {"answer": label, "category": category})  # fmt: skip
            continue
        listed = "".join(f"\n({letter}) {option}" for letter, option in zip("ABCD", options, strict=False))
        image = f"{path}.jpg" if form == "jsonl" else image_column(path)
        rows.append({"image": image, "text": f"{question}{listed}\n{_ASK}", "category": category}
                    | {"label": label, "question_id": int(number) if form == "jsonl" else number})  # fmt: skip
    return rows
