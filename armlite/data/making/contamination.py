"""Is a task in a benchmark? The rule: the same question (with its constraints, normalised as in `similarity`), and the
same thing to look at.

Same picture: equal pixels (`exact`), or difference hashes of 8 x 8 bits that differ in at most 2 (`near`), which finds
scaled and recompressed copies. One shared picture is enough. Same document: equal file content. Where there is nothing
to look at, here and there, an answer in common decides (`question`), for a question may be as general as "Which is
better?". In doubt a task counts as contaminated: plain pictures have like hashes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from PIL import Image

from armlite.data.making.similarity import normalised
from armlite.data.tasks import read_tasks
from armlite.errors import ArmliteError
from armlite.images import image_source, open_image
from armlite.memory import image_file
from armlite.store import file_digest
from armlite.types import Task

NEAR = 2
"""Bits of 64 that the difference hashes of one picture's copies may differ in."""
Rule = Literal["exact", "near", "document", "question"]
Looks = tuple[frozenset[str], tuple[int, ...], str | None]
"""Content hashes and difference hashes of the images, content hash of the document."""


@dataclass(frozen=True)
class _Held:
    """A benchmark's task; its pictures, some of which are large, are opened when its question is first met."""

    task: Task
    root: Path

    @cached_property
    def looks(self) -> Looks:
        return looks(self.task, self.root)


class Benchmarks:
    """What training tasks must not hold.

    Args:
        files: JSONL files of tasks.

    Raises:
        ArmliteError: a file cannot be read.
    """

    def __init__(self, files: Iterable[Path]):
        self._known: dict[str, list[_Held]] = {}
        for file in files:
            for task in read_tasks(file):
                self._known.setdefault(_asked(task), []).append(_Held(task, file.parent))

    def rule(self, task: Task, root: Path) -> Rule | None:
        """The rule by which a task stands in a benchmark, or None. Pictures are opened only if the question is known.

        Raises:
            ArmliteError: a picture, the task's or the benchmark's, cannot be read.
        """
        same_question = self._known.get(_asked(task))
        if not same_question:
            return None
        files, hashes, document = looks(task, root)
        for held in same_question:
            other_files, other_hashes, other_document = held.looks
            if files & other_files:
                return "exact"
            if any((a ^ b).bit_count() <= NEAR for a in hashes for b in other_hashes):
                return "near"
            if document is not None and document == other_document:
                return "document"
            nothing = not (files or other_files or document or other_document)
            if nothing and _answers(held.task) & _answers(task):
                return "question"
        return None


def _asked(task: Task) -> str:
    return normalised(" ".join([task.question, *(c.text for c in task.constraints)]))


def _answers(task: Task) -> frozenset[str]:
    """Everything that stands as an answer in a task."""
    gold = task.gold if isinstance(task.gold, tuple) else (task.gold,)
    texts = [*task.responses, *task.options.values(), *gold, task.meta.get("positive")]
    return frozenset(normalised(text) for text in texts if isinstance(text, str))


def looks(task: Task, root: Path) -> Looks:
    """What a task shows, as hashes."""
    images = [open_image(image_source(root, path)) for path in task.images]
    return (
        frozenset(map(image_file, images)),
        tuple(map(difference_hash, images)),
        document_digest(root / task.document) if task.document else None,
    )


def difference_hash(image: Image.Image) -> int:
    """64 bits: in a grey copy of 9 x 8 pixels, is each pixel darker than its right neighbour?"""
    pixels = image.convert("L").resize((9, 8), Image.Resampling.LANCZOS).tobytes()
    darker = (pixels[i] < pixels[i + 1] for row in range(8) for i in range(9 * row, 9 * row + 8))
    return int("".join("1" if is_darker else "0" for is_darker in darker), 2)


def document_digest(path: Path) -> str:
    """Content hash of a PDF, or of a folder's page images together.

    Raises:
        ArmliteError: there is no such document.
    """
    if not path.is_dir():
        return file_digest(path)
    pages = sorted(page for page in path.iterdir() if page.is_file())
    if not pages:
        raise ArmliteError(f"document {path} is an empty folder")
    return " ".join(file_digest(page) for page in pages)
