"""MMIF-23k as published: two JSON lists in LLaMA-Factory's ShareGPT shape, without ids, images by path."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import write_image, write_json

FORMS = ("json",)
NAMES = ("mmif-23k",)


def _sft() -> list[dict[str, Any]]:
    return [
        _row("<image>\nDescribe the fair in two sentences. Use no digits.") | {"images": ["images/fair.jpg"]},
        _row("Compare <image> and <image>. End with a question.") | {"images": ["images/fair.jpg", "images/sea.jpg"]},
        _row("Write a slogan for a fair. Keep it below ten words.") | {"images": []},
    ]


def _row(asked: str) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": "A fair. Is it not?"}]}


def _dpo() -> list[dict[str, Any]]:
    return [
        {
            "conversations": [{"from": "human", "value": "<image>\nName three things. Begin each line with a dash."}],
            "chosen": {"from": "gpt", "value": "- sand\n- a boat\n- gulls"},
            "rejected": {"from": "gpt", "value": "Sand, a boat and gulls."},
            "images": ["images/sea.jpg"],
        }
    ]


def _write(folder: Path, sft: list[dict[str, Any]], dpo: list[dict[str, Any]]) -> None:
    for name in ("fair", "sea"):
        write_image(folder / "images" / f"{name}.jpg", name)
    write_json(folder / "mmif_sft.json", sft)
    write_json(folder / "mmif_dpo.json", dpo)


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, _sft(), _dpo())
    return Built(rows=4, tasks=4)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    """The second row loses an image, so that a mark is left over."""
    sft = _sft()
    sft[1]["images"].pop()
    _write(folder, sft, _dpo())
    return 2, "images", "holds 1 for 2 <image> marks"
