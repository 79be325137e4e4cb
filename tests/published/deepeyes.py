"""DeepEyes-47k as published: three parquet files whose columns differ, prompts that teach a tool protocol."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import png, write_parquet

FORMS = ("parquet",)
NAMES = ("deepeyes",)

_SYSTEM = {"role": "system", "content": "You may call image_zoom_in_tool inside <tool_call></tool_call>."}


def _rows() -> dict[str, list[dict[str, Any]]]:
    return {
        "data_0.1.2_visual_toolbox_v2": [
            _row("vstar", "What colour is the glove?", "red", {"index": "0", "pred_ans": "blue"}, "visual_toolbox_v2"),
            _row("vstar", "Is the ball left of the dog?", "yes", {"index": "1"}, "visual_toolbox_v2"),
        ],
        "data_v0.8_visual_toolbox_v2": [
            _row("chart", "Which bar is the tallest?", "2019", {"id": 5}, "visual_toolbox_v2"),
        ],
        "data_thinklite_reasoning_acc": [
            _row("thinklite_eureka", "How long is AB?", "12", {"index": 0}, None, images=2),
        ],
    }


def _row(
    source: str, question: str, truth: str, info: dict[str, Any], env: str | None, images: int = 1
) -> dict[str, Any]:
    user = "<image>\n" * images + question + ("\nThink first, call the tool if needed, then answer." if env else "")
    return {
        "data_source": source,
        "prompt": ([_SYSTEM] if env else []) + [{"role": "user", "content": user}],
        "images": [{"bytes": png(f"{source[:2]}{i}{truth}"), "path": None} for i in range(images)],
        "ability": "vl_chart" if source == "chart" else "math",
        "env_name": env,
        "reward_model": {"ground_truth": truth, "style": "model"},
        "extra_info": {"answer": truth, "question": question} | info,
    }


def _write(folder: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    for name, some in rows.items():
        write_parquet(folder / f"{name}.parquet", some)


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, _rows())
    return Built(rows=4, tasks=4)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows()
    rows["data_0.1.2_visual_toolbox_v2"][1]["extra_info"]["question"] = None
    _write(folder, rows)
    return 2, "extra_info.question", "is missing"
