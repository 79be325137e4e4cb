"""ARMBench-VL: the three tracks, all four shapes, idx as number and text, a document with and without its PDF."""

from pathlib import Path
from typing import Any

from make_pdf import write_pdf

from published.built import Built
from published.pieces import write_image, write_jsonl

FORMS = ("jsonl",)
NAMES = ("armbench-vl",)
WORDS = {
    "key": "word_count",
    "value": "Your answer must have 2 to 4 words.",
    "judge": {
        "method": "rule_based",
        "verify_funcs": [{"func": "check_whether_response_word_count_in_range", "params": [2, 4]}],
    },
}
TASTE = {"key": "tone", "value": "Be polite.", "judge": {"method": "direct_gpt", "verify_funcs": []}}


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    for track, rows in _tracks().items():
        write_jsonl(folder / f"{track}.jsonl", rows)
        for row in rows:
            write_image(folder / row["images"][0], row["images"][0])
    (folder / "documents").mkdir(exist_ok=True)
    write_pdf(folder / "documents/report.pdf", ["Page one", "Page two"])
    return Built(rows=7, tasks=7)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _tracks()["fine_grained_perception"]
    rows[1]["gt"] = "2"
    write_jsonl(folder / "fine_grained_perception.jsonl", rows)
    return 2, "gt", "must be a whole number from 1 to 4, not '2'"


def _tracks() -> dict[str, list[dict[str, Any]]]:
    return {
        "fine_grained_perception": [
            _row("relpos-1", "2-way-pair_rm", ["left", "right"], 2, "images/a.jpg", question="<image>\nWhere is it?"),
            _row(2, "4-way-pair_rm", ["red", "blue", "green", "grey"], 4, "images/b.jpg"),
            _row(3, "single_rm", ["The sign says 12."], "False", "images/c.jpg"),
        ],
        "multimodal_long_document": [
            _row(0, "pair_rm", ["12", "14"], 1, "images/report.jpg", doc_id="report.pdf"),
            _row(1, "pair_rm", ["May", "June"], 2, "images/other.jpg", doc_id="other.pdf"),
        ],
        "multimodal_instruction_following": [
            _row(0, "single_rm", ["Good day to you."], "True", "images/d.jpg", constraints=[WORDS, TASTE]),
            _row(1, "single_rm", ["Hi"], "False", "images/e.jpg", constraints=[WORDS]),
        ],
    }  # fmt: skip


def _row(idx: int | str, tag: str, preds: list[str], gt: int | str, image: str, **more: Any) -> dict[str, Any]:
    question = more.pop("question", "What is right?")
    row = {"idx": idx, "rm_tag": tag, "question": question, "preds": preds, "images": [image], "gt": gt}
    return row | more
