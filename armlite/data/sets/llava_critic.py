"""LLaVA-Critic-113k: judgments of GPT-4o on one answer or a pair of answers about an image (lmms-lab).

What is judged and the judgment both stand in the text, in one of four templates; the template alone says whether a row
is a pair or a score, since the configuration `pointwise` holds both. The GPT text is kept as a rationale.
"""

import re
from collections.abc import Iterator
from typing import Any

from armlite.data.conversations import MARK, turns
from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.types import TIE, Task

DESCRIBE = "Describe the image correctly and comprehensively."
"""Question of a caption row, in our words: the published text asks for a score from 0 to 100 instead of a caption."""

_LABELS = (("The first response", "The second response"), ("Response 1", "Response 2"), ("Response A", "Response B"))
_BRACKETS = tuple(
    re.compile(rf"Question: \[(.*?)\]\s*\n\s*{first}: \[(.*?)\]\s*\n\s*{second}: \[(.*)\]", re.DOTALL)
    for first, second in _LABELS
)
"""A part may hold brackets: it ends where the next label follows, the second response at the last bracket of all."""
_BETTER = re.compile(r"The better response: \[(\w+)\]")
_FIRST, _SECOND = ("first", "1", "a"), ("second", "2", "b")

_ARENA = re.compile(
    r"<\|User Prompt\|>(.*?)"
    r"<\|The Start of Assistant A's Answer\|>(.*?)<\|The End of Assistant A's Answer\|>.*?"
    r"<\|The Start of Assistant B's Answer\|>(.*?)<\|The End of Assistant B's Answer\|>",
    re.DOTALL,
)
_VERDICT = re.compile(r"\[\[(A>>B|A>B|A=B|B>A|B>>A)\]\]")

_BENCH = re.compile(
    r"\[Question\](.*?)\[Assistant 1\](.*?)\[End of Assistant 1\]\s*\[Assistant 2\](.*?)\[End of Assistant 2\]",
    re.DOTALL,
)
_TWO_NUMBERS = re.compile(r"(\d+(?:\.\d+)?)[,\s]+(\d+(?:\.\d+)?)")

_CAPTION = re.compile(r"Text Caption:(.*?)\n\s*(From 0 to 100\b[^\n]*)", re.DOTALL)
_FINAL = re.compile(r"Final Score:\s*\**\s*(-?\d+(?:\.\d+)?)")


def _tasks(row: Row) -> Iterator[Task]:
    said = turns(row)
    if [speaker for speaker, _ in said] != ["human", "gpt"]:
        raise row.fail("conversations", "must be one human and one gpt turn")
    human, judgment = said[0][1].strip().removeprefix(MARK).removesuffix(MARK), said[1][1]
    if found := next((m for template in _BRACKETS if (m := template.search(human))), None):
        task = _pair(row, "brackets", found, *_better(row, judgment))
    elif found := _ARENA.search(human):
        task = _pair(row, "arena", found, *_verdict(row, judgment))
    elif found := _BENCH.search(human):
        task = _pair(row, "two scores", found, *_two_scores(row, judgment))
    elif found := _CAPTION.search(human):
        task = _score(row, found, judgment)
    else:
        raise row.fail("conversations", "matches none of the four templates")
    identity, source = row.words("id"), row.get("source")
    meta = task.pop("meta") | {"published_id": identity, "rationale": judgment}
    if source is not None:
        meta["published_source"] = row.text("source")
    yield Task(
        id=identity,
        images=(row.picture("image"),),
        source=f"llava-critic/{meta['template']}",
        meta=meta | {"group": {"template": meta["template"]}},
        **task,
    )


def _pair(row: Row, template: str, found: re.Match[str], gold: int, meta: dict[str, Any]) -> dict[str, Any]:
    question, *responses = (part.strip() for part in found.groups())
    if not all((question, *responses)):
        raise row.fail("conversations", f"template {template!r} with an empty question or response")
    return {
        "kind": "pairwise",
        "question": question,
        "responses": tuple(responses),
        "gold": gold,
        "meta": {"template": template} | meta,
    }


def _better(row: Row, judgment: str) -> tuple[int, dict[str, Any]]:
    """`The better response: [first]`; a tie is said in words, in the first or the last line."""
    if found := _BETTER.findall(judgment):
        word = found[-1].lower()
        if word not in _FIRST + _SECOND:
            raise row.fail("conversations", f"template 'brackets' with the better response {found[-1]!r}")
        return (1 if word in _FIRST else 2), {"verdict": found[-1]}
    lines = judgment.strip().splitlines()
    if "equally good" in f"{lines[0]}\n{lines[-1]}".lower():
        return TIE, {"verdict": "equally good"}
    raise row.fail("conversations", "template 'brackets' without a better response")


def _verdict(row: Row, judgment: str) -> tuple[int, dict[str, Any]]:
    """The last `[[A>B]]`; how much better is kept, not judged."""
    found = _VERDICT.findall(judgment)
    if not found:
        raise row.fail("conversations", "template 'arena' without a verdict such as [[A>B]]")
    return {"A": 1, "B": 2}[found[-1][0]] if "=" not in found[-1] else TIE, {"verdict": found[-1]}


def _two_scores(row: Row, judgment: str) -> tuple[int, dict[str, Any]]:
    """Two numbers from 1 to 10 in the first line."""
    found = _TWO_NUMBERS.fullmatch(judgment.strip().splitlines()[0].strip())
    if not found:
        raise row.fail("conversations", "template 'two scores' without two numbers in the judgment's first line")
    one, two = (float(score) for score in found.groups())
    return 1 if one > two else 2 if two > one else TIE, {"scores": [one, two], "scale": [1, 10]}


def _score(row: Row, found: re.Match[str], judgment: str) -> dict[str, Any]:
    """A score from 0 to 100; a rating task has 1 to 10, so 0 becomes 1 and 100 becomes 10."""
    scores = [float(score) for score in _FINAL.findall(judgment)]
    if not scores or not 0 <= scores[-1] <= 100:
        raise row.fail("conversations", "template 'caption' without a final score from 0 to 100")
    caption, rubric = (part.strip() for part in found.groups())
    if not caption:
        raise row.fail("conversations", "template 'caption' with an empty caption")
    return {
        "kind": "rating",
        "question": DESCRIBE,
        "responses": (caption,),
        "gold": round(1 + 9 * scores[-1] / 100, 2),
        "meta": {"template": "caption", "score": scores[-1], "scale": [0, 100], "rubric": rubric},
    }


DATASET = DataSet(
    name="llava-critic",
    title="113k judgments of GPT-4o on answers about an image: pairs with ties, and scores of captions",
    licence="Apache-2.0",
    tasks=_tasks,
    files=("pairwise/*.parquet|pointwise/*.parquet", "*.parquet"),
    hub="lmms-lab/LLaVA-Critic-113k",
    revision="7aa893ac47197c8300d7399d921836e12ceb5499",
    split="train",
    snapshot=True,
    counts={"all": 112936, "pairwise": 40154, "pointwise": 72782},
    seen="templates as read by others on published rows; not read on published rows here",
    notes=(
        "The judgments are GPT-4o's; ties are kept.",
        "A caption's score from 0 to 100 is kept in meta, and mapped to a rating as 1 + 9 * score / 100.",
        "Ids begin with the names of sources of VL-RewardBench: compare images before claiming that it is unseen.",
    ),
)
