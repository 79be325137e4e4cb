"""MM-IFEval as published: a JSONL a level with images by path, and the TSV with base64, aux rows and JSON in cells."""

import json
from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import base64_png, write_image, write_jsonl, write_tsv

FORMS = ("jsonl", "repository", "tsv")
NAMES = ("mm-ifeval",)

WORDS = {
    "key": "word_count",
    "value": "Your answer must be 3-8 words.",
    "judge": {
        "method": "rule_based",
        "verify_funcs": [{"func": "check_whether_response_word_count_in_range", "params": [3, 8]}],
    },
}
KEYWORDS = {
    "key": "keywords",
    "value": "Name the lake once, in one paragraph.",
    "judge": {
        "method": "rule_based",
        "verify_funcs": [
            {"func": "check_whether_each_keyword_in_list_metioned_in_range", "params": [["lake"], 1, 1]},
            {"func": "check_whether_response_paragraph_number_in_range", "params": [1, 1]},
        ],
    },
}
NO_DIGITS = {
    "key": "no_digits",
    "value": "Use no digits.",
    "judge": {
        "method": "rule_based",
        "verify_funcs": [{"func": "check_whether_has_no_arabic_number_in_response", "params": []}],
    },
}
TONE = {"key": "tone", "value": "Sound cheerful.", "judge": {"method": "direct_gpt"}}
ROLE = {"key": "role", "value": "Speak as a fisher.", "judge": {"method": "cmp_gpt"}}


def _rows() -> list[dict[str, Any]]:
    """In the repository's types."""
    describe = {"id": 7, "image": "images/lake.jpg", "instruction": "Describe the picture.", "tag": "C-Level"}
    poem = {"id": 8, "image": "images/hill.jpg", "instruction": "Write a poem.", "tag": "C-Level"}
    count = {"id": 300, "image": "images/lake.jpg", "question": "How many ducks, and where?", "tag": "P-Level"}
    return [
        describe | {"constraints": [WORDS, KEYWORDS, TONE, ROLE], "infer_type": "main"},
        describe | {"constraints": [WORDS, KEYWORDS, TONE, ROLE], "infer_type": "aux_cmp_gpt", "del_cons": "role"},
        poem | {"constraints": [TONE, NO_DIGITS], "infer_type": "main"},
        count | {"answer": ["3", "left bank"], "infer_type": "main"},
    ]


def _write(folder: Path, form: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if form == "tsv":
        write_tsv(folder / "MM-IFEval.tsv", [_cells(index, row) for index, row in enumerate(rows)])
        return
    place = folder / "data" / "MM-IFEval" if form == "repository" else folder
    for name in ("lake", "hill"):
        write_image(place / "images" / f"{name}.jpg", name)
    for level in ("C-Level", "P-Level"):
        write_jsonl(place / f"{level}.jsonl", [_line(row, form) for row in rows if row["tag"] == level])


def _line(row: dict[str, Any], form: str) -> dict[str, Any]:
    """The repository's image paths start from its `data`; without the tag, the file's name tells the level."""
    if form == "repository":
        return row | {"image": f"MM-IFEval/{row['image']}"}
    return {name: value for name, value in row.items() if name != "tag"}


def _cells(index: int, row: dict[str, Any]) -> dict[str, Any]:
    """As VLMEvalKit has it: the whole prompt as question, lists as JSON, the picture as base64."""
    asked = [c["value"] for c in row.get("constraints", ()) if c["key"] != row.get("del_cons")]
    prompt = " ".join([row.get("instruction", ""), *asked])
    return {
        "index": index,
        "id": row["id"],
        "image": base64_png(row["image"]),
        "question": row.get("question", prompt),
        "instruction": row.get("instruction"),
        "constraints": json.dumps(row["constraints"]) if "constraints" in row else None,
        "answer": json.dumps(row["answer"]) if "answer" in row else None,
        "tag": row["tag"],
        "infer_type": row["infer_type"],
        "del_cons": row.get("del_cons"),
    }


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    rows = _rows()
    _write(folder, form, rows)
    return Built(rows=len(rows), tasks=len(rows))


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    """A rule of the third row (C-Level: also the third line of its file) gets a parameter too many."""
    rows = _rows()
    rules = [{"func": "check_whether_has_no_arabic_number_in_response", "params": [1]}]
    rows[2]["constraints"] = [TONE, NO_DIGITS | {"judge": {"method": "rule_based", "verify_funcs": rules}}]
    _write(folder, form, rows)
    return 3, "constraints.1.judge.verify_funcs", "takes 0 parameters, not 1"
