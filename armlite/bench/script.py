"""The scripted policy: tasks on synthetic images and documents, and every token that each rollout says about them.

The tools are real and so are their results; only the model's words are given. Used for all systems alike, so that they
do the same work.
"""

import json
import math
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from armlite.bench.workloads import Workload
from armlite.episode import Episode, EpisodeSettings
from armlite.memory import Limits
from armlite.models.engine.vision import VisionCache
from armlite.models.engine.vocabulary import Vocabulary
from armlite.pocket.pdf import write_pdf
from armlite.protocol.render import Conversation, render
from armlite.tools.zoom import SCALE, UPSCALE_BELOW
from armlite.types import Task

DOCUMENT = "report"
TOPICS = ("turnout", "rainfall", "harvest", "freight", "exports", "ridership", "payroll", "tariffs")


@dataclass(frozen=True)
class Play:
    """All that is played in one step, and what it is to add up to.

    Attributes:
        tasks: one a prompt; their files are below `root`.
        turns: (task id, rollout) -> the turns' token ids, each with its end-of-turn token.
    """

    work: Workload
    settings: EpisodeSettings
    root: Path
    tasks: tuple[Task, ...]
    turns: dict[tuple[str, int], list[list[int]]]

    def script(self, conversation: Conversation) -> list[int]:
        """For `LocalModel`: a conversation's next turn."""
        return self.turns[conversation.task_id, conversation.rollout % self.work.group][conversation.turns]

    @cached_property
    def sampled(self) -> int:
        """Tokens of all turns, end-of-turn tokens aside: some systems sample one behind a call, some put it there."""
        return sum(len(turn) - 1 for turns in self.turns.values() for turn in turns)

    @property
    def images(self) -> int:
        """Images that one rollout is shown, in its prompt and by its tools."""
        work = self.work
        return bool(work.image_tokens) + bool(work.pages) + (sum(work.pages) if work.pages else len(work.crops))

    @cached_property
    def longest_turn(self) -> int:
        """Tokens."""
        return max(len(turn) for turns in self.turns.values() for turn in turns)


def write_play(work: Workload, vision: VisionCache, vocabulary: Vocabulary, root: Path, cell: int, seed: int) -> Play:
    """Draw a workload's images and documents, and write its script.

    Args:
        vision: knows how many tokens an image takes.
        root: folder for the files.
        cell: side of the square that makes one visual token, in pixels.
    """
    root.mkdir(parents=True, exist_ok=True)
    shown = _sides(work.image_tokens or 1, cell)
    limits = Limits(
        image_max_pixels=shown[0] * shown[1],
        crop_max_pixels=max([*work.crops, 1]) * cell * cell * 5 // 4,
        page_max_pixels=max(work.page_tokens, 1) * cell * cell,
        sheet_max_pixels=max(work.page_tokens, 16) * cell * cell,
        pages_per_query=max(work.pages, default=1),
        page_max_characters=200,
    )
    settings = EpisodeSettings(max_calls=work.turns, limits=limits)
    tasks, turns = [], {}
    for number in range(work.prompts * (work.steps if work.varying else 1)):
        rng = random.Random(f"bench/{work.id}/{seed}/{number}")
        task = _padded(_task(work, root, number, cell, rng), work.prompt_tokens, settings, root, vision, vocabulary)
        tasks.append(task)
        for rollout in range(work.group):
            own = _turns(work, vocabulary, rollout, shown, cell, rng)
            turns[task.id, rollout] = [*turns[task.id, 0][: work.alike], *own[work.alike :]] if rollout else own
    return Play(work, settings, root, tuple(tasks), turns)


def _sides(tokens: int, cell: int) -> tuple[int, int]:
    """Height and width in pixels of the squarest image of so many tokens."""
    rows = next(n for n in range(math.isqrt(tokens), 0, -1) if tokens % n == 0)
    return rows * cell, tokens // rows * cell


def _task(work: Workload, root: Path, number: int, cell: int, rng: random.Random) -> Task:
    """A comparison of two short answers about a picture or a document."""
    name = f"{work.id}-{number}"
    content: dict[str, Any] = {}
    if work.image_tokens:
        tokens = work.image_tokens
        if work.varying:
            side = math.isqrt(tokens)
            tokens = rng.randint(round(side * 0.7), side) * rng.randint(round(side * 0.7), side)
        height, width = _sides(tokens, cell)
        pixels = np.random.default_rng(number).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
        picture.save(root / f"{name}.png", compress_level=1)
        content["images"] = (f"{name}.png",)
    if work.pages:
        pages = [[f"Page {n}", f"The {t} of the year {1990 + n} is told here."] for n, t in enumerate(TOPICS, 1)]
        folder = root / name
        folder.mkdir(exist_ok=True)
        (folder / f"{DOCUMENT}.pdf").write_bytes(write_pdf(pages))
        content["document"] = f"{name}/{DOCUMENT}.pdf"
    responses = ("The first of the two.", "The second of the two.")
    return Task(id=name, kind="pairwise", question="Which is right?", responses=responses, gold=1, **content)


def _padded(
    task: Task, wanted: int, settings: EpisodeSettings, root: Path, vision: VisionCache, vocabulary: Vocabulary
) -> Task:
    """The task with a question long enough for a prompt of `wanted` tokens, or as near below as words allow."""

    def length(question: str) -> int:
        conversation = Episode.open(task.model_copy(update={"question": question}), settings, root).conversation
        pictures = [vision.look(image) for message in conversation.messages for image in message.images]
        text = render(conversation.messages, conversation.tools)
        return len(vocabulary.ids(text)) + sum(p.tokens - 1 for p in pictures)

    question, low, high = task.question, 0, 1
    while length(question + " and" * high) <= wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if length(question + " and" * middle) <= wanted else (low, middle)
    return task.model_copy(update={"question": question + " and" * low})


def _turns(
    work: Workload, vocabulary: Vocabulary, rollout: int, shown: tuple[int, int], cell: int, rng: random.Random
) -> list[list[int]]:
    """The turns of one rollout: calls, then an answer that is right by a seeded draw."""
    calls = _pages(work) if work.pages else _crops(work, rollout, shown, cell, rng)
    right = rollout % 2 == 0 or rng.random() < 0.25
    # The last is wrong: a group whose rollouts all earn the same learns nothing, and its update is none.
    better = 1 if right and rollout < max(1, work.group - 1) else 2
    ends = [f"\n<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls]
    ends.append(f"\n<answer>Overall Judgment: Answer {better} is better.</answer>")
    made = []
    for end in ends:
        size = round(work.turn_tokens * rng.uniform(1 - work.spread, 1 + work.spread))
        # Stage 1 pays for form and calls alone: there the last rollout answers without a thought.
        thinks = work.reward != "encourage_tools" or rollout < work.group - 1 or end != ends[-1]
        head = vocabulary.ids("<think>I look" if thinks else "I look")
        tail = [*vocabulary.ids(f"</think>{end}" if thinks else end), vocabulary.end]
        filler = vocabulary.ids(" and")
        room = max(0, size - len(head) - len(tail) + (end != ends[-1]))
        made.append([*head, *(filler * room)[:room], *tail])
    return made


def _crops(work: Workload, rollout: int, shown: tuple[int, int], cell: int, rng: random.Random) -> list[dict[str, Any]]:
    """Calls for crops of the wanted sizes, no two of a task alike; the file has twice the pixels shown."""
    calls = []
    for turn, tokens in enumerate(work.crops):
        sides = _sides(tokens, cell)
        if min(sides) < UPSCALE_BELOW:  # the tool will double it
            sides = sides[0] // 2, sides[1] // 2
        high, wide = (min(SCALE, math.ceil(s * SCALE / (2 * full))) for s, full in zip(sides, shown, strict=True))
        left = (rollout * len(work.crops) + turn) * 7 % (SCALE - wide + 1)
        top = rng.randint(0, SCALE - high)
        arguments = {"image": "original_image", "bbox_2d": [left, top, left + wide, top + high]}
        calls.append({"name": "image_zoom_in_tool", "arguments": arguments})
    return calls


def _pages(work: Workload) -> list[dict[str, Any]]:
    """One search by words, then pages by their numbers."""
    query = " ".join(TOPICS[: work.pages[0]])
    search = {"name": "doc_page_retrieval_by_query", "arguments": {"filename": DOCUMENT, "query": query}}
    return [search] + [
        {"name": "doc_page_retrieval_by_index", "arguments": {"filename": DOCUMENT, "image_idx": len(TOPICS) - n}}
        for n in range(len(work.pages) - 1)
    ]
