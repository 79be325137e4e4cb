"""Items that both the reference's evaluation and ours are asked about: `tests/real/reference.py` plays them through the
reference's own code, `tests/test_reference.py` through `armlite eval --like reference`.

Plain data and Pillow only: the reference's environment has no armlite.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

OPTIONS = {"A": "rubber (a thin one)", "B": "cotton", "C": "kevlar", "D": "leather"}
MCQ = {"question": "What is the material of the glove?", **OPTIONS}
CHOICES = [f"({k}) {v}" for k, v in ({**OPTIONS, "E": "The image does not feature the glove."}).items()]
QUESTION = "What stands at the end of the pier?"
ANSWERS = ["A lamp, {not} a flag.", "A flag & two men.", 'Nothing; "the sea".', "A dog\n\nand a kite."]
NEVER = 99
"""Turns that only call: the judgment is to run into the limit of calls."""


def call(name: str, **arguments: Any) -> str:
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<think>Let me look.</think>\n<tool_call>\n{body}\n</tool_call>"


def zoom(image: str, *box: int) -> str:
    return call("image_zoom_in_tool", image=image, bbox_2d=list(box))


def answer(text: str) -> str:
    return f"<think>I see.</think>\n<answer>{text}</answer>"


LOOK = [zoom("original_image", 250, 250, 750, 750), zoom("observation_1", 100, 0, 160, 90)]
BETTER = answer("Overall Judgment: Answer 1 is better.")
COUNT = call("check_whether_response_word_count_in_range", response="text_0", lower_bound=2, upper_bound=4)
PAGES = [
    call("doc_page_retrieval_by_query", filename="report", query="zebra"),
    call("doc_page_retrieval_by_index", filename="report", image_idx=3),
    call("doc_page_retrieval_by_query", filename="report", query="walrus"),
]
PDF = ["The first page is about horses.", "The second page shows a zebra.", "The third page has a table."]
FOUND = {"zebra": [2, 1, 3], "walrus": []}
"""What retrieval gives for a query: the same on both sides, since that is not what is compared."""

CASES: dict[str, dict[str, Any]] = {
    "vstar": {"benchmark": "vstar", "kit": "VStarBench", "row": MCQ, "turns": [*LOOK, answer("A")]},
    "vstar, calls for ever": {"benchmark": "vstar", "kit": "VStarBench", "row": MCQ, "turns": [LOOK[0]] * NEVER},
    "hr-bench-4k": {"benchmark": "hr-bench-4k", "kit": "HRBench4K", "row": MCQ, "turns": [LOOK[0], answer("A")]},
    "mme-realworld-lite": {
        "benchmark": "mme-realworld-lite", "kit": "MME-RealWorld-Lite", "turns": [LOOK[0], answer("A")],
        "row": {**MCQ, "multi-choice options": "The choices are listed below:\n" + "\n".join(CHOICES)},
    },
    "we-math": {"benchmark": "we-math", "kit": "WeMath", "row": MCQ, "turns": [LOOK[0], answer("A")]},
    "vl-rewardbench": {
        "benchmark": "vl-rewardbench", "kit": "VL-RewardBench", "turns": [LOOK[0], BETTER],
        "row": {"question": QUESTION, "response": ANSWERS[:2]},
    },
    "armbench-vl, a pair": {"benchmark": "armbench-vl", "tools": "image_zoom_in_tool", "turns": [*LOOK, BETTER],
                            "item": {"rm_tag": "pair_rm", "preds": ANSWERS[:2], "gt": 1}},
    "armbench-vl, a pair, calls for ever": {"benchmark": "armbench-vl", "tools": "image_zoom_in_tool",
                                            "turns": [LOOK[0]] * NEVER,
                                            "item": {"rm_tag": "2-way-pair_rm", "preds": ANSWERS[:2], "gt": 1}},
    "armbench-vl, four": {"benchmark": "armbench-vl", "tools": "image_zoom_in_tool", "turns": [LOOK[0], BETTER],
                          "item": {"rm_tag": "4-way-pair_rm", "preds": ANSWERS, "gt": 1}},
    "armbench-vl, one": {"benchmark": "armbench-vl", "tools": "image_zoom_in_tool", "turns": [answer("True")],
                         "item": {"rm_tag": "single_rm", "preds": ANSWERS[:1], "gt": "True"}},
    "armbench-vl, a constraint": {"benchmark": "armbench-vl", "tools": "mmif_tool", "name": "mmif",
                                  "turns": [COUNT, answer("False")],
                                  "item": {"rm_tag": "single_rm", "preds": ANSWERS[:1], "gt": "False",
                                           "constraints": [{"value": "It has 2 to 4 words."}]}},
    "armbench-vl, a document": {"benchmark": "armbench-vl", "tools": "doc_page_retrieval_tool",
                                "turns": [*PAGES, BETTER],
                                "item": {"rm_tag": "pair_rm", "preds": ANSWERS[:2], "gt": 1, "doc_id": "report.pdf"}},
    "rewardbench-2, four": {"benchmark": "rewardbench-2", "turns": [answer("[[B]]")],
                            "row": {"id": "x7", "subset": "Focus", "chosen": ANSWERS[:1], "rejected": ANSWERS[1:]}},
    "rewardbench-2, alone": {"benchmark": "rewardbench-2", "turns": [answer("7")],
                             "row": {"id": "ref:3", "subset": "Ties", "chosen": ANSWERS[:1], "rejected": ANSWERS[2:3]}},
}  # fmt: skip
"""Name -> benchmark; the kit's name of it and a row, or the item of the reference's scripts; the model's turns."""


def picture() -> Image.Image:
    """Larger than our own pixel limits, smaller than theirs."""
    image = Image.radial_gradient("L").convert("RGB").resize((1400, 1050))
    ImageDraw.Draw(image).rectangle((500, 400, 900, 650), outline="red", width=9)
    return image


def write_picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture().save(file)


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """A request in a form that can be compared: its fields, and each message as role, text and sizes of pictures.

    A tool's message is what Qwen's chat template makes of it: a user's with `<tool_response>` around.
    """
    messages = []
    for message in body["messages"]:
        content, sizes = message["content"], []
        if not isinstance(content, str):
            parts = []
            for block in content:
                if block["type"] == "text":
                    parts.append(block["text"])
                else:
                    data = base64.b64decode(block["image_url"]["url"].split(",", 1)[1])
                    sizes.append(list(Image.open(io.BytesIO(data)).size))
                    parts.append("<|vision_start|><|image_pad|><|vision_end|>")
            content = "".join(parts)
        role = message["role"]
        if role == "tool":
            role, content = "user", f"<tool_response>\n{content}\n</tool_response>"
        messages.append({"role": role, "text": content, "sizes": sizes})
    return {"fields": {k: v for k, v in body.items() if k != "messages"}, "messages": messages}


def summary(bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """The number of requests, and the last one, which holds all others; of a long one its end."""
    last = normal(bodies[-1])
    fields = {k: v for k, v in last["fields"].items() if k != "model"}
    messages = last["messages"]
    return {"requests": len(bodies), "fields": fields, "messages": messages if len(messages) < 10 else messages[-3:]}
