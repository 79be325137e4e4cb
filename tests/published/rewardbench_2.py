"""RewardBench-2: fours of all five subsets, a ref and a tied prompt of Ties, an id that is there twice, NaN columns."""

import json
from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import write_parquet

FORMS = ("parquet", "jsonl")
NAMES = ("rewardbench-2",)
FOURS = ("Factuality", "Precise IF", "Math", "Safety", "Focus")


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, form, _rows())
    return Built(rows=len(FOURS) + 3, tasks=len(FOURS) + 1 + 4 + 5)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows()
    rows[1]["rejected"] = rows[1]["rejected"][:2]
    rows[1]["num_incorrect"] = 2
    _write(folder, form, rows)
    return 2, "rejected", "must hold 3 answers in subset Precise IF, not 2"


def _write(folder: Path, form: str, rows: list[dict[str, Any]]) -> None:
    if form == "parquet":
        write_parquet(folder / "data/test-00000-of-00001.parquet", rows)
    else:
        (folder / "raw_dataset_clean.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def _rows() -> list[dict[str, Any]]:
    rows = [_row(str(i), name, [f"{name}: right"], [f"wrong {k}" for k in "abc"]) for i, name in enumerate(FOURS)]
    rows.append(_row("0", "Math", ["four"], ["five", "six", "seven"]))
    rows.append(_row("ref:7", "Ties", ["Name a colour of the flag? Red."], ["Pink.", "Grey.", "Brown."]))
    rows.append(_row("tied:7", "Ties", ["Red.", "White."], ["Pink.", "Grey.", "Brown."]))
    return rows


def _row(identity: str, subset: str, chosen: list[str], rejected: list[str]) -> dict[str, Any]:
    counts = {"num_correct": len(chosen), "num_incorrect": len(rejected)}
    more = {"category": None, "correct": None, "index": float("nan"), "instruction_id_list": None, "models": None}
    return {
        "id": identity,
        "prompt": f"A question of {subset}, number {identity}?",
        "chosen": chosen,
        "rejected": rejected,
        **counts,
        "total_completions": len(chosen) + len(rejected),
        "models": ["model-a"],
        "subset": subset,
        "additional_metadata": more,
    }
