"""Multimodal RewardBench: all categories, both halves of safety and reasoning, an id that is there twice."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import image_column, write_image, write_json, write_parquet

FORMS = ("json", "parquet")
NAMES = ("multimodal-rewardbench",)
_ROWS = (
    ("nocaps_3", "open_generation/correctness_task", "Output1"),
    ("visitbench_61", "open_generation/preference_task", "Output2"),
    ("visitbench_61", "open_generation/preference_task", "Output1"),
    ("mmmu-s_4", "knowledge", "Output2"),
    ("mathvista_117", "reasoning", "Output1"),
    ("EMMA-Coding_9", "reasoning", "Output2"),
    ("pairs_30", "safety", "Output1"),
    ("MMBench_2", "vqa", "Output2"),
)


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, form, _rows(form))
    if form == "json":
        for number, _ in enumerate(_ROWS):
            write_image(folder / f"data/images/invented/{number}.jpg", str(number))
    return Built(rows=len(_ROWS), tasks=len(_ROWS))


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows(form)
    rows[4]["Better"] = "Output3"
    _write(folder, form, rows)
    return 5, "Better", "must be one of Output1, Output2"


def _write(folder: Path, form: str, rows: list[dict[str, Any]]) -> None:
    if form == "json":
        write_json(folder / "data/all_data.json", rows)
    else:
        write_parquet(folder / "data/test-00000-of-00001.parquet", rows)


def _rows(form: str) -> list[dict[str, Any]]:
    return [
        {
            "ID": identity,
            "Text": f"Question {number}?",
            "Image": f"images/invented/{number}.jpg" if form == "json" else image_column(str(number)),
            "Output1": f"first answer {number}",
            "Output2": f"second answer {number}",
            "Better": better,
            "Category": category,
        }
        for number, (identity, category, better) in enumerate(_ROWS)
    ]
