"""MME-RealWorld: keys with drifting case, a Task that is none, an attribute category, full-width parentheses (CN),
choices written out, and choices as VLMEvalKit caches them.
"""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import base64_png, write_image, write_json, write_parquet, write_tsv

FORMS = ("json", "parquet", "tsv")
NAMES = ("mme-realworld", "mme-realworld-cn", "mme-realworld-lite")
_FILES = {
    "mme-realworld": "MME_RealWorld",
    "mme-realworld-cn": "MME_RealWorld_CN",
    "mme-realworld-lite": "MME_RealWorld_Lite",
}
_REFUSAL = "The image does not feature it"
_QUESTIONS = (
    ("Perception", "Monitoring", "Vehicle/attribute/color", "What colour is the cart?", ["red", "tan", "blue", "grey"],
     "B"),
    ("Reasoning", "Diagram and Table", "diagram", "In which year is the bar (grey) highest?",
     ["2001", "2002", "2003", "2004"], "E"),
    ("Perception", "Remote Sensing", "position", "Where is the pool?", ["top", "left (upper)", "right", "bottom"],
     "C"),
)  # fmt: skip


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, form, name, _rows(form, name))
    if form == "json":
        for number in range(3):
            write_image(folder / f"photos/{number}.png", f"{number}")
    return Built(rows=3, tasks=3)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows(form, name)
    field = "Ground truth" if form == "json" else "answer"
    rows[2][field] = "F"
    _write(folder, form, name, rows)
    return 3, field, "is 'F', must be one of the options A, B, C, D, E"


def _write(folder: Path, form: str, name: str, rows: list[dict[str, Any]]) -> None:
    if form == "json":
        write_json(folder / f"{_FILES[name]}.json", rows)
    elif form == "parquet":
        write_parquet(folder / "data/train-00000-of-00001.parquet", rows)
    else:
        write_tsv(folder / f"{_FILES[name].lower()}.tsv", rows)


def _rows(form: str, name: str) -> list[dict[str, Any]]:
    left, right = "（）" if name.endswith("cn") else "()"
    rows = []
    for number, (task, subtask, l2, text, options, answer) in enumerate(_QUESTIONS):
        choices = [f"{left}{k}{right} {v}" for k, v in zip("ABCDE", [*options, _REFUSAL], strict=True)]
        if form == "json":
            kind = "Question Type" if number else "Question type"
            slug = subtask.lower().replace(" ", "_")
            rows.append(
                {"Question_id": f"{task.lower()}/{slug}/{l2}/{number:04}", "Image": f"photos/{number}.png"}
                | {"Text": text, kind: "Multiple Choice", "Answer choices" if number else "Answer Choices": choices}
                | {"Ground truth": answer, "Category": l2, "Subtask": subtask}
                | {"Task": "position" if l2 == "position" else task}
            )
        elif form == "parquet":
            rows.append({"index": number, "bytes": base64_png(f"{number}"), "question": text}
                        | {"multi-choice options": choices, "answer": answer}
                        | {"category": f"{task}/{subtask}", "l2-category": l2})  # fmt: skip
        else:
            cached = "The choices are listed below:\n" + "\n".join(choices)
            rows.append({"index": number, "image": base64_png(f"{number}"), "question": text}
                        | {"multi-choice options": cached if number == 1 else str(choices), "answer": answer}
                        | {"category": f"{task}/{subtask}", "l2-category": l2})  # fmt: skip
    return rows
