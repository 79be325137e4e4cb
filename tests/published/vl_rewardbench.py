"""VL-RewardBench: an image mark in the query, a row that is there twice, empty rationales; lists as text in the TSV."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import base64_png, image_column, write_image, write_jsonl, write_parquet, write_tsv

FORMS = ("parquet", "tsv", "jsonl")
NAMES = ("vl-rewardbench",)
_PAIRS = (
    ("RLAIF-V-12", "rlaif-v", "What is on the shelf?", ["A blue jar.", "Two red jars, one open."], [0, 1]),
    ("RLHF-V_3", "rlhf-v", "<image>\nHow many boats are there?", ["Three.", "Four boats."], [1, 0]),
    ("hallucination_pair-8", "povid", "Describe the scene.", ["A dog on grass.", "A dog and a kite."], [0, 1]),
    ("mathverse_44", "reasoning_tasks", "What is angle B?", ["40 degrees", "50 degrees"], [1, 0]),
    ("wildvision-battle_5", "wildvision-battle", "Write a caption.", ["Calm sea.", "A storm."], [0, 1]),
    ("LRVInstruction-0007", "vlfeedback", "Is the cat asleep?", ["Yes.", "No, it looks up."], [1, 0]),
    ("RLAIF-V-12", "rlaif-v", "What is on the shelf?", ["A blue jar.", "Two red jars, one open."], [0, 1]),
)
GROUPS = ("hallucination", "hallucination", "hallucination", "reasoning", "general", "general", "hallucination")


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    _write(folder, form, _rows(form))
    if form == "jsonl":
        for identity, source, *_ in _PAIRS:
            write_image(folder / f"data/images/{source}/{identity}.jpg", identity)
    return Built(rows=len(_PAIRS), tasks=len(_PAIRS))


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    rows = _rows(form)
    field = "answer" if form == "tsv" else "human_ranking"
    rows[3][field] = [1, 1]
    _write(folder, form, rows)
    return 4, field, "must be [0, 1] or [1, 0]"


def _write(folder: Path, form: str, rows: list[dict[str, Any]]) -> None:
    if form == "parquet":
        write_parquet(folder / "data/test-00000-of-00001.parquet", rows)
    elif form == "tsv":
        write_tsv(folder / "vl_rewardbench.tsv", rows)
    else:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        write_jsonl(folder / "data/data.jsonl", rows)


def _rows(form: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, ((identity, source, query, response, ranking), group) in enumerate(zip(_PAIRS, GROUPS, strict=True)):
        if form == "tsv":
            rows.append({"index": number, "image": base64_png(identity), "question": query, "response": response}
                        | {"answer": ranking, "category": group})  # fmt: skip
            continue
        row = {"id": identity, "query": query, "response": response, "human_ranking": list(ranking)}
        row |= {"models": ["model-a", "model-b"], "judge": "human", "query_source": "invented"}
        if form == "parquet":
            row |= {"image": image_column(identity), "rationale": "", "ground_truth": ""}
        else:
            row |= {"image_path": f"images/{source}/{identity}.jpg", "rationale": None, "meta": {"note": "none"}}
            row |= {"human_error_analysis": ["counting"]}
        rows.append(row)
    return rows
