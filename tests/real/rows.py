"""Invented rows of published sets, in the forms that we and the kits read, and the turns that a judge says about them.

Each question holds its own mark, `[hr-bench-4k 7]`, by which the scripted server finds the turn to say. All is drawn
from fixed seeds: the same rows and turns each time.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from published.pieces import base64_png, image_column, write_json, write_parquet, write_tsv

NO_TURN = "I do not know."
"""A finished turn without an answer."""
CUT = "<think>It could be A, or B, since the"
"""The server says that this one ran out of tokens."""


@dataclass
class RealSet:
    """A set with its rows, and how each form of it is written."""

    name: str
    """Of our benchmark."""
    rows: list[dict[str, Any]]
    """What all forms are made of; `mark` is the row's, `prefers` what the judge means, `turn` what it says."""
    ours: Callable[[Path, list[dict[str, Any]]], None]
    vlmevalkit: tuple[str, Callable[[dict[str, Any]], dict[str, Any]]] | None = None
    """The kit's name of the set, and a row of its table."""
    lmms: tuple[str, Callable[[dict[str, Any]], dict[str, Any]], tuple[str, ...]] | None = None
    """The kit's task and its split, a row of its data, and the columns that are pictures."""
    needs: tuple[str, ...] = field(default=())


def asked(row: dict[str, Any]) -> str:
    """The question with its mark."""
    return f"{row['question']} {row['mark']}"


SINGLE = (
    "<think>It shows {wrong} first.</think>\n<answer>{letter}</answer>",
    "<think>Clear.</think><answer>({letter}) {text}</answer>",
    "<think>Clear.</think><answer>The answer is {letter}.</answer>",
    "<think>Clear.</think><answer>{text}</answer>",
    "<think>Clear.</think><answer>The answer is **{letter}**, which the left edge of it shows best of all</answer>",
    "<think>Clear.</think><answer>{letter}: a second look at it does not leave me any other choice here</answer>",
    "<think>{wrong}? No.</think> It must be {letter}",
    "{letter}",
    "<think>Clear.</think><answer>None of them, as far as the picture goes</answer>",
    NO_TURN,
    CUT,
)
"""Turns about multiple choice questions."""


def letters(draw: random.Random, options: dict[str, str], gold: str) -> str:
    """A turn about a question with options, right in about two of three."""
    wrong = draw.choice([key for key in options if key != gold])
    letter = gold if draw.random() < 0.65 else wrong
    other = draw.choice([key for key in options if key != letter])
    return draw.choice(SINGLE).format(letter=letter, text=options[letter], wrong=other)


def easy(draw: random.Random, options: dict[str, str], gold: str) -> str:
    """A turn that is easily read, right in about four of five: a problem of several rows is seldom right otherwise."""
    letter = gold if draw.random() < 0.8 else draw.choice(list(options))
    return draw.choice((*SINGLE[:1] * 4, "{letter}", CUT)).format(letter=letter, wrong=letter)


COLOURS = ("red", "green", "blue", "grey", "tan", "pink")


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


def pair_turn(draw: random.Random, gold: int) -> dict[str, Any]:
    """What a judge of pairs means, by published number; None: it says nothing that can be read."""
    prefers = gold if draw.random() < 0.65 else 3 - gold
    silent = draw.random() < 0.15
    verdict = "<think>They differ.</think>\n<answer>Overall Judgment: Answer {n} is better.</answer>"
    said = draw.choice((NO_TURN, CUT)) if silent else verdict
    return {"prefers": prefers, "turn": said}


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


FREE = (
    "<think>Counted.</think><answer>{answer}</answer>",
    "<think>Counted.</think><answer>The answer is {answer}</answer>",
    "<think>Counted.</think> It is {answer}.",
    NO_TURN,
    CUT,
)
"""Turns about questions without options."""


def free(draw: random.Random, gold: str, wrong: str) -> str:
    """A turn about a question without options, right in about two of three."""
    return draw.choice(FREE).format(answer=gold if draw.random() < 0.65 else wrong)


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


def sets() -> Iterator[RealSet]:
    """All of them."""
    yield hr_bench("4k")
    yield hr_bench("8k")
    yield vstar()
    yield mme_realworld()
    yield vl_rewardbench()
    yield multimodal_rewardbench()
    yield we_math()
    yield mathvista()
    yield logicvista()
    yield mmlongbench_doc()


SILENT = {"vl-rewardbench": (NO_TURN, CUT), "multimodal-rewardbench": (NO_TURN, CUT), "mathvista": (CUT,)}
"""Turns without an answer, left out of sets where the kit then draws one at random, or takes the nearest choice."""


def spoken(one: RealSet) -> RealSet:
    """The set without the turns that lmms-eval would answer by chance."""
    silent = SILENT.get(one.name, ())
    return replace(one, rows=[row for row in one.rows if row["turn"] not in silent])
