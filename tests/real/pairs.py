"""Invented rows of reward benchmarks, in the forms that we and the kits read."""

import random
from pathlib import Path
from typing import Any

from published.pieces import base64_png, image_column, write_parquet, write_tsv
from real.turns import COLOURS, RealSet, asked, pair_turn


def vl_rewardbench() -> RealSet:
    draw, rows = random.Random("vlrb"), []
    ids = ("RLAIF-V-{}", "RLHF-V_{}", "hallucination_pair-{}", "mathverse_{}", "wildvision-battle_{}", "vlfeedback_{}")
    groups = ("hallucination", "hallucination", "hallucination", "reasoning", "general", "general")
    for number in range(36):
        gold = draw.choice((1, 2))
        responses = [f"One {draw.choice(COLOURS)} boat.", f"Two {draw.choice(COLOURS)} boats, one of them away."]
        rows.append(
            {"mark": f"[vl-rewardbench {number}]", "id": ids[number % 6].format(number), "index": number}
            | {"question": "How many boats are there?", "responses": responses, "gold": gold}
            | {"category": groups[number % 6], "image": f"p{number}", **pair_turn(draw, gold)}
        )

    def table(row: dict[str, Any]) -> dict[str, Any]:
        ranking = [0, 1] if row["gold"] == 1 else [1, 0]
        return {"index": row["index"], "question": asked(row), "response": row["responses"]} | {
            "answer": ranking, "category": row["category"], "image": base64_png(row["image"])}  # fmt: skip

    def hub(row: dict[str, Any]) -> dict[str, Any]:
        ranking = [0, 1] if row["gold"] == 1 else [1, 0]
        return {"id": row["id"], "query": asked(row), "response": row["responses"]} | {
            "human_ranking": ranking, "image": image_column(row["image"])}  # fmt: skip

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        write_tsv(folder / "vl_rewardbench.tsv", [table(row) for row in rows])

    return RealSet("vl-rewardbench", rows, ours, ("VL-RewardBench", table), ("vl_rewardbench/test", hub, ("image",)))


def multimodal_rewardbench() -> RealSet:
    draw, rows = random.Random("mmrb"), []
    categories = ("knowledge", "reasoning", "safety", "vqa", "open_generation/correctness_task")
    for number in range(30):
        category, gold = categories[number % 5], draw.choice((1, 2))
        lead = {"reasoning": ("mathvista", "emma"), "safety": ("pairs", "hate")}.get(category, ("nocaps", "mmmu"))
        rows.append(
            {"mark": f"[multimodal-rewardbench {number}]", "ID": f"{lead[number // 5 % 2]}_{number}", "gold": gold}
            | {"category": category, "image": f"q{number}", **pair_turn(draw, gold)}
            | {"question": "What is on the shelf?", "responses": ["A jar.", f"{number} jars, one of them open."]}
        )

    def hub(row: dict[str, Any]) -> dict[str, Any]:
        one, two = row["responses"]
        made = {"ID": row["ID"], "Text": asked(row), "Output1": one, "Output2": two, "Category": row["category"]}
        return made | {"Better": f"Output{row['gold']}", "Image": image_column(row["image"])}

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        write_parquet(folder / "data/test-00000-of-00001.parquet", [hub(row) for row in rows])

    return RealSet("multimodal-rewardbench", rows, ours, None, ("multimodal_rewardbench/test", hub, ("Image",)))
