"""ARM-Thinker-Data as its preview shows it: JSON below `qwen/`, tagged responses, tool turns, all images in a list."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import write_image, write_json

FORMS = ("json",)
NAMES = ("arm-thinker-data",)

_SYSTEM = {"from": "system", "value": "You are a helpful assistant.\n\n# Tools\n<tools>\n{}\n</tools>"}
_CALL = '<think>I look closer.</think><tool_call>\n{"name": "image_zoom_in_tool", "arguments": {}}\n</tool_call>'


def _rows() -> list[dict[str, Any]]:
    better = "<think>Clear.</think><answer>Overall Judgment: Answer 2 is better.</answer>"
    right = "<think>It says so.</think><answer>Overall Judgment: True</answer>"
    return [
        _row(
            42385, "llava-rlhf_9304", {"resp_1": "The dog.", "resp_2": "The cars."}, 2, [_CALL, better], "observation"
        ),
        _row(70218, "vlfeedback_8858", {"resp_1": "He irons.", "resp_2": "He sleeps."}, 1, [better]),
        _row(70218, "vlfeedback_8858", {"resp_1": "He irons.", "resp_2": "He cooks."}, 1, [_CALL, better], "tool"),
        _row(11, "four_1", {f"resp_{i}": f"Answer {i}" for i in range(1, 5)}, 4, [_CALL, better], "human"),
        _row(12, "doc_2", {"resp_0": "Page 3 says 12."}, -2, [right]),
        _row(13, "mmif_3", {"text_0": "One. Two.", "constraint": "Two sentences."}, "True", [_CALL, right], "tool"),
    ]


def _row(
    idx: int, identity: str, blocks: dict[str, str], gt: int | str, turns: list[str], speaker: str = ""
) -> dict[str, Any]:
    """Tagged blocks in the first turn; `gpt` turns with results from `speaker` between them, each with an image."""
    tagged = "\n\n".join(f"<start_of_{name}>\n{text}\n<end_of_{name}>" for name, text in blocks.items())
    asked = f"<image>\nJudge.\n\n<start_of_instruction>\nWhat is odd?\n<end_of_instruction>\n\n{tagged}\n\n## Output"
    said = [_SYSTEM, {"from": "human", "value": asked}]
    for i, text in enumerate(turns):
        if i:
            said.append({"from": speaker, "value": "<image>\nThis is the zoom-in image."})
        said.append({"from": "gpt", "value": text})
    return {
        "conversations": said,
        "images": [f"qwen/images/{idx}/{i}.jpeg" for i in range(len(turns))],
        "idx": idx,
        "id": identity,
        "source": identity.partition("_")[0],
        "question": "What is odd?",
        "gt": gt,
        "tool_call_cnt": len(turns) - 1,
    }


def _write(folder: Path, rows: list[dict[str, Any]]) -> None:
    for image in {image for row in rows for image in row["images"]}:
        write_image(folder / image, image[-12:], (90, 24))
    write_json(folder / "qwen" / "sft" / "crop.json", rows[:3])
    write_json(folder / "qwen" / "rl" / "rest.json", rows[3:])


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    rows = _rows()
    _write(folder, rows)
    return Built(rows=len(rows), tasks=len(rows))


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    """The third row names an answer that is not there."""
    rows = _rows()
    rows[2]["gt"] = 3
    _write(folder, rows)
    return 3, "gt", "is 3, must be 1 to 2"
