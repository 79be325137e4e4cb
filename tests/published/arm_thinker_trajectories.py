"""Saved trajectories of the reference: the agent's list of messages with pictures beside, and rows of an evaluation."""

import base64
from pathlib import Path
from typing import Any

from published.arm_thinker_data import SCHEMA
from published.built import Built
from published.pieces import png, write_image, write_json, write_jsonl

FORMS = ("messages", "rows")
NAMES = ("arm-thinker-trajectories",)
CALL = '<think>I look.</think>\n<tool_call>\n{"name": "image_zoom_in_tool", "arguments": {}}\n</tool_call>'
ANSWER = "<think>I see.</think>\n<answer>Overall Judgment: Answer 2 is better.</answer>"
PAIR = (
    "Judge.\n\n<start_of_instruction>\nWhat is odd?\n<end_of_instruction>\n\n<start_of_resp_1>\nThe dog.\n"
    "<end_of_resp_1>\n\n<start_of_resp_2>\nThe cars.\n<end_of_resp_2>\n"
)


def _picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _messages(asked: str, urls: list[str], final: str) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": f"Your role.\n\n# Tools\n<tools>\n{SCHEMA}\n</tools>"},
        {"role": "user", "content": [_picture(urls[0]), {"type": "text", "text": asked}]},
        {"role": "assistant", "content": CALL},
        {"role": "tool", "content": [_picture(urls[1]), {"type": "text", "text": "This is the zoom-in image."}]},
        {"role": "assistant", "content": CALL},
        {"role": "tool", "content": "Error: nothing there."},
        {"role": "assistant", "content": final},
    ]


def _rows() -> list[dict[str, Any]]:
    data = f"data:image/png;base64,{base64.b64encode(png('inside')).decode()}"
    kept = _messages(PAIR, ["7/img_0000.png", "7/img_0001.png"], ANSWER)
    return [
        {"idx": 7, "question": "What is odd?", "gt": 2, "judge_result": {"full_messages": kept, "score": 1}},
        {"idx": 8, "gt": 1, "judge_result": {"full_messages": _messages(PAIR, [data, data], ANSWER)}},
        {"idx": 9, "question": "What?", "messages": _messages(PAIR, [data, data], ANSWER)},
    ]


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    if form == "messages":
        asked = "Where was it taken?\n\n**Important Requirement:**\nThe given image is `original_image`. You must."
        write_json(
            folder / "result.json", _messages(asked, ["img_0000.png", "img_0001.png"], "In <answer>Ulm</answer>")
        )
        for number in range(2):
            write_image(folder / f"result_images/test_agent_image_zoom_in/img_000{number}.png", f"{number}")
        return Built(rows=1, tasks=1)
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "judge.jsonl", _rows())
    for number in range(2):
        write_image(folder / f"images/7/img_000{number}.png", f"{number}")
    return Built(rows=3, tasks=3)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    if form == "messages":
        write_json(folder / "result.json", _messages("Where?", ["hidden", "hidden"], "Ulm"))
        return 1, "messages.1.content", "hides its picture"
    rows = _rows()
    del rows[1]["judge_result"]["full_messages"]
    write_jsonl(folder / "judge.jsonl", rows)
    return 2, "judge_result.full_messages", "is missing"
