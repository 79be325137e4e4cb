"""Invented rows of sets with free answers, in the forms that we and the kits read."""

import random
from pathlib import Path
from typing import Any

from published.pieces import base64_png, image_column, write_json, write_parquet
from real.turns import CUT, FREE, NO_TURN, RealSet, asked, free, letters


def mathvista() -> RealSet:
    draw, rows = random.Random("mathvista"), []
    kinds = (("integer", "9", "7"), ("float", "4.5", "3.5"), ("list", "[2007, 2008]", "[2006, 2007]"))
    for number in range(30):
        row: dict[str, Any] = {"mark": f"[mathvista {number + 1}]", "pid": str(number + 1), "image": f"t{number}"}
        row |= {"unit": None, "precision": None, "choices": None, "question": "How large is the angle?"}
        if number % 2:
            texts = draw.sample(["28 degrees", "30 degrees", "32 degrees", "90 degrees"], 3)
            options = dict(zip("ABC", texts, strict=True))
            gold = draw.choice("ABC")
            row |= {"question_type": "multi_choice", "answer_type": "text", "choices": texts, "answer": options[gold]}
            row |= {"answer_option": gold, "turn": letters(draw, options, gold)}
        else:
            kind, answer, wrong = kinds[number // 2 % 3]
            row |= {"question_type": "free_form", "answer_type": kind, "answer": answer, "answer_option": None}
            row |= {"turn": free(draw, answer, wrong), "precision": 1.0 if kind == "float" else None}
        task = ("math word problem", "figure question answering")[number // 3 % 2]
        skills = ["arithmetic reasoning"] if number % 4 else ["logical reasoning", "numeric commonsense"]
        row["metadata"] = {"split": "testmini", "language": "english", "source": "Own", "task": task, "skills": skills}
        row["metadata"] |= {"category": "math-targeted-vqa", "context": "diagram", "grade": "college"}
        rows.append(row)

    def table(row: dict[str, Any]) -> dict[str, Any]:
        names = ("question_type", "answer_type", "answer", "answer_option", "unit", "precision")
        made = {"index": row["pid"], "question": asked(row)} | {name: row[name] for name in names}
        return made | {"choices": str(row["choices"] or []), "task": row["metadata"]["task"]} | {
            "skills": str(row["metadata"]["skills"]), "image": base64_png(row["image"])}  # fmt: skip

    def hub(row: dict[str, Any]) -> dict[str, Any]:
        names = ("pid", "question_type", "answer_type", "answer", "unit", "precision", "choices", "metadata")
        question = asked(row)
        return {name: row[name] for name in names} | {"question": question, "query": f"Question: {question}"} | {
            "image": f"images/{row['pid']}.jpg", "decoded_image": image_column(row["image"])}  # fmt: skip

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        write_parquet(folder / "data/testmini-00000-of-00001.parquet", [hub(row) for row in rows])

    return RealSet(
        "mathvista", rows, ours, ("MathVista_MINI", table),
        ("mathvista_testmini_format/testmini", hub, ("decoded_image",)),
    )  # fmt: skip


def logicvista() -> RealSet:
    draw, rows = random.Random("logicvista"), []
    skills = ("inductive", "deductive", "numerical", "spatial", "mechanical")
    turns = ("{}", "Option {} is right", "The answer is {}.", "({})", "**{}**", "Both {} are correct")
    for number in range(30):
        several = number % 7 == 0
        gold = ", ".join(sorted(draw.sample("ABCD", 2))) if several else draw.choice("ABCD")
        wrong = draw.choice([letter for letter in "ABCD" if letter != gold])
        said = gold if draw.random() < 0.65 else wrong
        form = "Both {} are correct" if len(said) > 1 else draw.choice(turns[:-1])
        turn = f"<think>Turned.</think><answer>{form.format(said.replace(', ', ' and '))}</answer>"
        rows.append(
            {"mark": f"[logicvista {number}]", "key": f"v1_{number}", "answer": gold, "skill": [skills[number % 5]]}
            | {"question": "Which of A, B, C or D goes on?", "image": f"l{number}"}
            | {"turn": draw.choice((turn, turn, turn, NO_TURN, CUT))}
        )
    rows[29] |= {"answer": "", "turn": "<think>Turned.</think><answer>A</answer>"}

    def table(row: dict[str, Any]) -> dict[str, Any]:
        return {"index": row["key"], "question": asked(row), "answer": row["answer"] or "-"} | {
            "skill": str(row["skill"]), "image": base64_png(row["image"])}  # fmt: skip

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        names = ("answer", "skill")
        made = [
            {"id": row["key"], "question": asked(row), "image": image_column(row["image"])}
            | {name: row[name] for name in names}
            for row in rows
        ]
        write_parquet(folder / "data/test-00000-of-00001.parquet", made)

    return RealSet("logicvista", rows, ours, ("LogicVista", table))


def mmlongbench_doc() -> RealSet:
    draw, rows = random.Random("mmlongbench"), []
    kinds = (
        ("Str", "the old tower", "a new bridge", "['Pure-text (Plain-text)']", "[2]"),
        ("Int", "14", "15", "['Chart', 'Figure']", "[1, 3]"),
        ("Float", "21%", "35%", "['Table']", "[1]"),
        ("List", "['Aro', 'Bel']", "['Aro', 'Cal']", "['Generalized-text (Layout)']", "[3]"),
        ("None", "Not answerable", "the mayor", "[]", "[]"),
    )
    for number in range(30):
        kind, gold, wrong, sources, pages = kinds[number % 5]
        rows.append(
            {"mark": f"[mmlongbench-doc {number}]", "index": number, "doc_id": "guide.pdf", "doc_type": "Guidebook"}
            | {"question": "What does the guide say?", "answer": gold, "answer_format": kind}
            | {"evidence_sources": sources, "evidence_pages": pages}
            | {"turn": draw.choice((*FREE[:1] * 4, NO_TURN, CUT)).format(answer=gold if draw.random() < 0.6 else wrong)}
        )
    names = ("doc_id", "doc_type", "answer", "answer_format", "evidence_sources", "evidence_pages")

    def shared(row: dict[str, Any]) -> dict[str, Any]:
        return {name: row[name] for name in names} | {"question": asked(row)}

    def table(row: dict[str, Any]) -> dict[str, Any]:
        return shared(row) | {"index": row["index"], "image": base64_png("guide")}

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        from make_pdf import write_pdf

        (folder / "documents").mkdir()
        write_pdf(folder / "documents/guide.pdf", ["# The guide", "The old tower.", "Aro and Bel"])
        write_json(folder / "samples.json", [shared(row) for row in rows])

    return RealSet("mmlongbench-doc", rows, ours, ("MMLongBench_DOC", table), ("mmlongbench_doc/train", shared, ()))


def mp_docvqa() -> RealSet:
    draw, rows = random.Random("mpdocvqa"), []
    for number in range(24):
        answers = draw.choice((["$1,200", "1200"], ["Dr. Nott"], ["3 May 1912"], ["the town hall", "town hall"]))
        near = draw.choice(answers)[:-1] + "x"
        said = draw.choice((*answers, near, near, "somebody else", "none"))
        rows.append(
            {"mark": f"[mp-docvqa {number}]", "questionId": str(500 + number), "question": "What does it say?"}
            | {"answers": answers, "image": f"d{number}", "turn": draw.choice((*FREE[:1] * 5, CUT)).format(answer=said)}
        )

    def hub(row: dict[str, Any]) -> dict[str, Any]:
        made = {"questionId": row["questionId"], "question": asked(row), "doc_id": f"doc{row['questionId']}"}
        made |= {"page_ids": str([f"doc_p{page}" for page in (1, 2)]), "answers": str(row["answers"])}
        pages = {f"image_{n}": image_column(f"{row['image']}{n}") if n < 3 else None for n in range(1, 21)}
        return made | {"answer_page_idx": "0", "data_split": "val"} | pages

    def ours(folder: Path, rows: list[dict[str, Any]]) -> None:
        write_parquet(folder / "data/val-00000-of-00001.parquet", [hub(row) for row in rows])

    pictures = tuple(f"image_{n}" for n in range(1, 21))
    return RealSet("mp-docvqa", rows, ours, None, ("multidocvqa_val/val", hub, pictures))
