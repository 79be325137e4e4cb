"""Invented rows of multiple choice sets, in the forms that we and the kits read."""

import random
from pathlib import Path
from typing import Any

from published.pieces import base64_png, image_column, write_parquet, write_tsv
from real.turns import COLOURS, RealSet, asked, easy, letters


def hr_bench(size: str) -> RealSet:
    draw, rows, name = random.Random(f"hr{size}"), [], f"hr-bench-{size}"
    for number in range(10):
        category = "single" if number % 3 else "cross"
        texts = draw.sample([*COLOURS, "a tall mast", "two masts"], 4)
        gold = draw.choice(texts)
        for cycle in range(4):
            moved = [*texts[cycle:], *texts[:cycle]]
            options = dict(zip("ABCD", moved, strict=True))
            right = "ABCD"[moved.index(gold)]
            index = 3 + 7 * len(rows)  # not the row's place
            rows.append(
                {"mark": f"[{name} {index}]", "index": index, "question": f"What is at the mast of number {number}?"}
                | {"answer": right, "category": category, "options": options, "cycle_category": str(cycle)}
                | {"turn": letters(draw, options, right), "image": f"{size}{number}"}
            )

    def table(row: dict[str, Any]) -> dict[str, Any]:
        kept = {name: row[name] for name in ("index", "answer", "category", "cycle_category")}
        return kept | row["options"] | {"question": asked(row), "image": base64_png(row["image"])}

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        write_tsv(folder / f"hr_bench_{size}.tsv", [table(row) for row in rows])

    return RealSet(name, rows, ours, (f"HRBench{size.upper()}", table), (f"hrbench{size}/hrbench_{size}", table, ()))


def vstar() -> RealSet:
    draw, rows = random.Random("vstar"), []
    for number in range(30):
        two = number % 3 == 0
        texts = ["left", "right"] if two else draw.sample(COLOURS, 4)
        options = dict(zip("ABCD", texts, strict=False))
        gold = draw.choice(list(options))
        index = 100 - number if number < 20 else 400 + number
        rows.append(
            {"mark": f"[vstar {index}]", "index": index, "question": "Where is, or what colour has, the kite?"}
            | {"answer": gold, "category": "relative_position" if two else "direct_attributes", "options": options}
            | {"turn": letters(draw, options, gold), "image": f"v{number}"}
        )

    def table(row: dict[str, Any]) -> dict[str, Any]:
        four = {letter: row["options"].get(letter) for letter in "ABCD"}
        kept = {name: row[name] for name in ("index", "answer", "category")}
        return kept | four | {"question": asked(row), "image": base64_png(row["image"])}

    def hub(row: dict[str, Any]) -> dict[str, Any]:
        listed = "".join(f"\n({letter}) {text}" for letter, text in row["options"].items())
        ask = "Answer with the option's letter from the given choices directly."
        return {"image": image_column(row["image"]), "text": f"{row['question']} {row['mark']}{listed}\n{ask}"} | {
            "category": row["category"], "label": row["answer"], "question_id": str(row["index"])}  # fmt: skip

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        write_tsv(folder / "VStarBench.tsv", [table(row) for row in rows])

    return RealSet("vstar", rows, ours, ("VStarBench", table), ("vstar_bench/test", hub, ("image",)))


def mme_realworld() -> RealSet:
    draw, rows = random.Random("mme"), []
    groups = (
        ("Perception", "Monitoring", "Vehicle/attribute/color"),
        ("Reasoning", "Diagram and Table", "diagram"),
        ("Perception", "Remote Sensing", "position"),
        ("Reasoning", "Autonomous_Driving", "Intention"),
    )
    for number in range(32):
        task, subtask, l2 = groups[number % 4]
        texts = [*draw.sample(COLOURS, 4), "the picture does not feature it"]
        options = dict(zip("ABCDE", texts, strict=True))
        gold = draw.choice("ABCDE")
        rows.append(
            {"mark": f"[mme-realworld-lite {number}]", "index": 2 * number, "question": "What colour has the cart?"}
            | {"answer": gold, "category": f"{task}/{subtask}", "l2-category": l2, "options": options}
            | {"turn": letters(draw, options, gold), "image": f"m{number}"}
        )

    def table(row: dict[str, Any]) -> dict[str, Any]:
        kept = {name: row[name] for name in ("index", "answer", "category", "l2-category")}
        choices = [f"({letter}) {text}" for letter, text in row["options"].items()]
        question = asked(row)
        return kept | {"question": question, "multi-choice options": str(choices), "image": base64_png(row["image"])}

    def hub(row: dict[str, Any]) -> dict[str, Any]:
        made = table(row)
        choices = [f"({letter}) {text}" for letter, text in row["options"].items()]
        return made | {"bytes": made.pop("image"), "multi-choice options": choices}

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        write_tsv(folder / "mme_realworld_lite.tsv", [table(row) for row in rows])

    name = "mme-realworld-lite"
    return RealSet(name, rows, ours, ("MME-RealWorld-Lite", table), ("mmerealworld_lite/train", hub, ()))


def we_math() -> RealSet:
    draw, rows = random.Random("wemath"), []
    concept = "Understanding Area of Rectangles"
    for problem in range(12):
        steps = 2 if problem % 3 else 3
        for part in [*map(str, range(1, steps + 1)), "multi"]:
            lengths = draw.sample(["3 cm", "4 cm", "5 cm", "6 cm", "8 cm"], 4)
            options = dict(zip("ABCDE", [*lengths, "No correct answer"], strict=True))
            gold, number = draw.choice("ABCDE"), len(rows)
            rows.append(
                {"mark": f"[we-math {number}]", "index": number, "ID": f"{steps}steps_{problem}", "answer": gold}
                | {"key": f"{steps}steps_{part}", "knowledge concept": concept, "options": options, "split": "testmini"}
                | {"question": "How long is it?", "question number": number, "image": f"w{number}"}
                | {"turn": easy(draw, options, gold), "knowledge concept description": "What it is."}
            )

    def shared(row: dict[str, Any]) -> dict[str, Any]:
        names = (
            "ID",
            "split",
            "knowledge concept",
            "answer",
            "key",
            "question number",
            "knowledge concept description",
        )
        return {name: row[name] for name in names} | {"question": asked(row)}

    def table(row: dict[str, Any]) -> dict[str, Any]:
        return shared(row) | row["options"] | {"index": row["index"], "image": base64_png(row["image"])}

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        made = [
            shared(row)
            | {"option": "; ".join(f"{k}. {v}" for k, v in row["options"].items())}
            | {"image_path": image_column(row["image"])}
            for row in rows
        ]
        write_parquet(folder / "data/testmini-00000-of-00001.parquet", made)

    return RealSet("we-math", rows, ours, ("WeMath", table))
