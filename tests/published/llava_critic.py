"""LLaVA-Critic-113k as published: pairs and scores in four templates over two configurations, ties, a foreign row."""

from pathlib import Path
from typing import Any

from published.built import Built
from published.pieces import image_column, write_parquet

FORMS = ("parquet",)
NAMES = ("llava-critic",)

TASK = "<image>\nYou are given an image, a question and two answers. Judge them."
BRACKETS = (
    f"{TASK}\nQuestion: [What is left of the cup [blue]?]\nThe first response: [A pen.\nIt is [short].]\n"
    "The second response: [A key.]\nASSISTANT:\n"
)
NUMBERED = f"{TASK}\nQuestion: [Who waves?]\nResponse 1: [The girl.]\nResponse 2: [Nobody.]\n"
LETTERED = f"{TASK}\nQuestion: [Is it raining?]\nResponse A: [Yes.]\nResponse B: [It is.]\n"
ARENA = (
    "<image>\nAct as a judge.\n<|User Prompt|>\nName the animals.\n\n<|The Start of Assistant A's Answer|>\nA hen.\n"
    "<|The End of Assistant A's Answer|>\n\n<|The Start of Assistant B's Answer|>\nTwo hens and a dog.\n"
    "<|The End of Assistant B's Answer|>"
)
BENCH = (
    "<image>\n[Context]\nA street.\n\n[Question]\nWhat is sold here?\n\n"
    "[Assistant 1]\nFruit.\n\n[End of Assistant 1]\n\n[Assistant 2]\nShoes.\n\n[End of Assistant 2]\n\n"
    "[System]\nRate both on a scale of 1 to 10."
)
CAPTION = (
    "<image>\nText Caption: A boat lies on the beach.\nFrom 0 to 100, how much do you rate this Text Caption for its "
    "correct and comprehensive description?\nDo not dominant the rating by a single attribute."
)


def _rows() -> dict[str, list[dict[str, Any]]]:
    """By configuration; `pointwise` holds comparisons too."""
    return {
        "pairwise": [
            _row("vlfeedback_1", BRACKETS, "The better response: [second]? No.\nThe better response: [first]."),
            _row("vlfeedback_2", NUMBERED, "A girl waves.\nThe better response: [2]."),
            _row("llava-rlhf_9304", LETTERED, "Both say yes.\nTwo responses are equally good."),
        ],
        "pointwise": [
            _row("1__svit__wildvision", ARENA, "At first I thought [[A=B]].\nMy final verdict is B: [[B>>A]]"),
            _row("2__svit__wildvision", ARENA, "They are alike: [[A=B]]"),
            _row("bench_3", BENCH, "8.5 7\nAssistant 1 is closer."),
            _row("bench_3", BENCH, "6 6\nBoth guess."),
            _row("caption_4", CAPTION, "The boat is there.\nFinal Score: 85"),
        ],
    }


def _row(identity: str, human: str, gpt: str) -> dict[str, Any]:
    return {
        "id": identity,
        "source": identity.partition("_")[0],
        "conversations": [{"from": "human", "value": human}, {"from": "gpt", "value": gpt}],
        "image": image_column(identity[:4]),
    }


def _write(folder: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    for config, some in rows.items():
        write_parquet(folder / config / "train-00000-of-00001.parquet", some)


def build(folder: Path, form: str, name: str = NAMES[0]) -> Built:
    """With a row of none of the templates."""
    rows = _rows()
    rows["pointwise"].append(_row("strange_5", "<image>\nDescribe the image.", "A cat."))
    _write(folder, rows)
    return Built(rows=9, tasks=8, bad=1)


def spoil(folder: Path, form: str, name: str = NAMES[0]) -> tuple[int, str, str]:
    """The second pair loses its verdict."""
    rows = _rows()
    rows["pointwise"].append(_row("strange_5", "<image>\nDescribe the image.", "A cat."))
    rows["pairwise"][1]["conversations"][1]["value"] = "I cannot say."
    _write(folder, rows)
    return 2, "conversations", "template 'brackets' without a better response"
