"""ARM-Thinker-Data as its preview shows it: JSON below `qwen/`, tagged responses, tool turns, all images in a list."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import image_column, write_image, write_json, write_parquet

FORMS = ("json", "rl")
NAMES = ("arm-thinker-data",)

SCHEMA = (
    '{"type": "function", "function": {"name": "image_zoom_in_tool", "description": "Zoom.", "parameters": '
    '{"type": "object", "properties": {}, "required": []}}}'
)
_SYSTEM = {"from": "system", "value": f"You are a helpful assistant.\n\n# Tools\n<tools>\n{SCHEMA}\n</tools>"}
_FUNCTION_CALL = '<think>I look closer.</think>\n{"name": "image_zoom_in_tool", "arguments": "{\\"image\\": \\"x\\"}"}'
_CALL = '<think>I look closer.</think><tool_call>\n{"name": "image_zoom_in_tool", "arguments": {}}\n</tool_call>'


def _rows() -> list[dict[str, Any]]:
    better = "<think>Clear.</think><answer>Overall Judgment: Answer 2 is better.</answer>"
    right = "<think>It says so.</think><answer>Overall Judgment: True</answer>"
    return [
        _row(
            42385, "llava-rlhf_9304", {"resp_1": "The dog.", "resp_2": "The cars."}, 2, [_CALL, better], "observation"
        ),
        _row(70218, "vlfeedback_8858", {"resp_1": "He irons.", "resp_2": "He sleeps."}, 1, [better]),
        _row(
            70218,
            "vlfeedback_8858",
            {"resp_1": "He irons.", "resp_2": "He cooks."},
            1,
            [_FUNCTION_CALL, better],
            "tool",
        ),
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
        said.append({"from": "function_call" if text == _FUNCTION_CALL else "gpt", "value": text})
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


def _rl_rows() -> list[dict[str, Any]]:
    """As verl reads them: no answer, the truth as each reward of the reference wants it."""
    named = "The given document is named `report`."
    return [
        _rl("deepeyes_crop", {"resp_1": "Red.", "resp_2": "Blue."}, 2, index=7),
        _rl("mp_docvqa", {"resp_0": "Page 3 says 12."}, -2, "single_rm", named),
        _rl("llava_critic", {"resp_1": "A.", "resp_2": "B."}, 1),
        _rl("mmif", {"text_0": "One. Two.", "constraint": "Two sentences."}, "True"),
    ]


def _rl(
    source: str,
    blocks: dict[str, str],
    truth: int | str,
    tag: str = "pair_rm",
    more: str = "",
    index: int | None = None,
) -> dict[str, Any]:
    tagged = "\n\n".join(f"<start_of_{name}>\n{text}\n<end_of_{name}>" for name, text in blocks.items())
    asked = f"<image>\nJudge.\n\n<start_of_instruction>\nWhat is odd?\n<end_of_instruction>\n\n{tagged}\n\n{more}"
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": asked}],
        "images": [image_column(source)],
        "reward_model": {"ground_truth": str(truth), "style": "rule"},
        "agent_name": "tool_agent",
        "extra_info": {"index": index, "rm_tag": tag},
    }


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    if form == "rl":
        write_parquet(folder / "rl" / "train.parquet", _rl_rows())
        return Built(rows=4, tasks=4)
    rows = _rows()
    _write(folder, rows)
    return Built(rows=len(rows), tasks=len(rows))


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    """The third row names an answer that is not there."""
    if form == "rl":
        spoilt = _rl_rows()
        spoilt[2]["reward_model"]["ground_truth"] = "3"
        write_parquet(folder / "rl" / "train.parquet", spoilt)
        return 3, "gt", "is 3, must be 1 to 2"
    rows = _rows()
    rows[2]["gt"] = 3
    _write(folder, rows)
    return 3, "gt", "is 3, must be 1 to 2"
