"""What every judge can be asked, in a caller's words: one model's `Judge`, a `Panel` of them, a `Cascade` of two.

The words become Task records, which `judge_many` judges; how is each judge's own business.
"""

import asyncio
import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from PIL import Image
from pydantic import ValidationError

from armlite.errors import ArmliteError, first_fault
from armlite.images import is_data_url, open_image, to_rgb
from armlite.loop import OnStep, OnText
from armlite.memory import image_file
from armlite.remote import fetch_image, is_url
from armlite.rubric import Grade, Rubric, read_rubric
from armlite.types import Constraint, Kind, Method, Task, Verdict

Picture = str | Path | Image.Image


class Asked(TypedDict, total=False):
    """What every way of judging takes, as keywords."""

    votes: int
    """Rollouts of each presented order; 1 unless given."""
    tools: Sequence[str] | None
    """Names of the tools to show. None: as the settings say, which is by what there is to look at; empty: none."""
    on_step: OnStep | None
    """Called with each step as it happens."""
    on_text: OnText | None
    """Called with each piece of a turn while it is written, perhaps in another thread."""
    rollout: int
    """Number of the first rollout; another number is a fresh try. From 1 on a greedy model is warmed up."""


class Asking(ABC):
    """The ways to ask a judge.

    What the methods share: `images` are paths or PIL images; `document` is the path of a PDF or of a folder of page
    images; the rest is in `Asked`. They raise ArmliteError for an image or document that is named and cannot be read,
    too few responses, an unknown tool or model. Not being able to judge is no error but a `status` of the verdict.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()

    @abstractmethod
    def judge_many(
        self,
        tasks: Sequence[Task],
        *,
        root: str | Path = ".",
        images: Sequence[Sequence[Image.Image] | None] | None = None,
        swap: bool = False,
        **asked: Unpack[Asked],
    ) -> list[Verdict]:
        """Judge many tasks of any kinds at once, which is faster than one after the other; verdicts in their order.

        A file that cannot be read costs its own task: the status `bad_input`.

        Args:
            root: folder that the tasks' paths are relative to.
            images: those of each task where they are already open.
            swap: judge in both orders; nothing to swap with fewer than two responses.
        """

    @abstractmethod
    def rank(
        self,
        question: str,
        responses: Sequence[str],
        images: Sequence[Picture] | Picture = (),
        document: str | Path | None = None,
        constraints: Sequence[Constraint | str] = (),
        *,
        method: Method | None = None,
        **asked: Unpack[Asked],
    ) -> Verdict:
        """Put responses in order; see `Judge.rank`."""

    @abstractmethod
    def best(
        self,
        question: str,
        responses: Sequence[str],
        images: Sequence[Picture] | Picture = (),
        document: str | Path | None = None,
        constraints: Sequence[Constraint | str] = (),
        *,
        method: Method | None = None,
        **asked: Unpack[Asked],
    ) -> Verdict:
        """Find the best of many responses; see `Judge.best`."""

    def compare(
        self,
        question: str,
        responses: Sequence[str],
        images: Sequence[Picture] | Picture = (),
        document: str | Path | None = None,
        constraints: Sequence[Constraint | str] = (),
        *,
        swap: bool = False,
        **asked: Unpack[Asked],
    ) -> Verdict:
        """Which of two or more responses is best? `choice` counts from 1 in the order given; 0 is a tie.

        Args:
            swap: judge in the order given and in its reverse; each vote counts. A judge that always prefers the first
                place comes out as `split`.
        """
        kind: Kind = "pairwise" if len(responses) == 2 else "listwise"
        task, opened = make_task(kind, question, responses, images, document, constraints)
        return self.judge(task, images=opened, swap=swap, **asked)

    def check(
        self,
        question: str,
        response: str,
        images: Sequence[Picture] | Picture = (),
        document: str | Path | None = None,
        constraints: Sequence[Constraint | str] = (),
        **asked: Unpack[Asked],
    ) -> Verdict:
        """Is a response correct, or does it satisfy its constraints? The answer is `correct`."""
        task, opened = make_task("pointwise", question, [response], images, document, constraints)
        return self.judge(task, images=opened, **asked)

    def rate(
        self,
        question: str,
        response: str,
        images: Sequence[Picture] | Picture = (),
        document: str | Path | None = None,
        constraints: Sequence[Constraint | str] = (),
        **asked: Unpack[Asked],
    ) -> Verdict:
        """How good is a response? `rating` is the median vote, 1 to 10; votes within one point of it agree."""
        task, opened = make_task("rating", question, [response], images, document, constraints)
        return self.judge(task, images=opened, **asked)

    def grade(
        self,
        question: str,
        response: str,
        rubric: Rubric | str | Path,
        images: Sequence[Picture] | Picture = (),
        document: str | Path | None = None,
        **asked: Unpack[Asked],
    ) -> Grade:
        """Grade a response by a rubric: a verdict on each criterion, with its own evidence, and their weighted total.

        Args:
            rubric: its file, or as `armlite.rubric.read_rubric` read it.
        """
        own = rubric if isinstance(rubric, Rubric) else read_rubric(rubric)
        task, opened = make_task("pointwise", question, [response], images, document)
        parts = own.tasks(task)
        return own.grade(self.judge_many(parts, images=[opened] * len(parts), **asked))

    def judge(
        self,
        task: Task,
        *,
        root: str | Path = ".",
        images: Sequence[Image.Image] | None = None,
        swap: bool = False,
        **asked: Unpack[Asked],
    ) -> Verdict:
        """Judge a Task record of any kind. A file of it that cannot be read is the status `bad_input`.

        Args:
            root: folder that the task's paths are relative to.
            images: the task's images where they are already open.
            swap: judge in both orders; nothing to swap with fewer than two responses.
        """
        [verdict] = self.judge_many([task], root=root, images=[images], swap=swap, **asked)
        return verdict

    async def judge_many_async(self, tasks: Sequence[Task], **how: Any) -> list[Verdict]:
        """`judge_many` in a thread of its own, so that an event loop goes on; one call of a judge after the other."""

        def work() -> list[Verdict]:
            with self._turn:
                return self.judge_many(tasks, **how)

        return await asyncio.to_thread(work)


def make_task(
    kind: Kind,
    question: str,
    responses: Sequence[str],
    images: Sequence[Picture] | Picture = (),
    document: str | Path | None = None,
    constraints: Sequence[Constraint | str] = (),
) -> tuple[Task, list[Image.Image]]:
    """A Task of a caller's words, named after its content, and its opened images.

    An image that is not a file gets the path that `save` will give it.

    Raises:
        ArmliteError: nothing to judge, or an image or document that cannot be read.
    """
    from armlite.tools.documents.pages import open_document

    if not question.strip():
        raise ArmliteError("the question is empty")
    if isinstance(responses, str):
        raise ArmliteError("responses must be a list of texts, not one text")
    if kind in ("pairwise", "listwise") and len(responses) < 2:
        raise ArmliteError(f"there is nothing to compare: give two or more responses, not {len(responses)}")
    pictures = [images] if isinstance(images, str | Path | Image.Image) else list(images)
    opened = [_open(p, f"image {n}") for n, p in enumerate(pictures, 1)]
    name = None if document is None else open_document(Path(document)).name
    files = [image_file(image) for image in opened]
    kept = [isinstance(p, Image.Image) or is_url(p) or is_data_url(p) for p in pictures]
    paths = [f"images/{f}" if k else str(p) for p, f, k in zip(pictures, files, kept, strict=True)]
    rules = [constraints] if isinstance(constraints, str) else list(constraints)
    named = [kind, question, *responses, files, name, [str(rule) for rule in rules]]
    digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()
    _check_text(question, *responses, *paths, str(document), *map(str, rules))
    try:
        task = Task(
            id=f"{kind}-{digest[:8]}",
            kind=kind,
            question=question,
            images=tuple(paths),
            document=None if document is None else str(document),
            responses=tuple(responses),
            constraints=tuple(rules),  # type: ignore[arg-type]  # a bare string is accepted
        )
    except ValidationError as error:
        raise ArmliteError(": ".join(first_fault(error))) from error
    return task, opened


def _open(picture: Picture, name: str) -> Image.Image:
    if isinstance(picture, Image.Image):
        return to_rgb(picture, name)
    return fetch_image(picture) if isinstance(picture, str) and is_url(picture) else open_image(picture)


def _check_text(*texts: str) -> None:
    """Bytes that are no UTF-8 come from a command line as half surrogate pairs, which no record or tokenizer takes."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ArmliteError(f"{text[:60].encode(errors='replace').decode()!r} is not valid UTF-8 text") from error
