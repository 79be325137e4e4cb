"""MP-DocVQA: questions about scanned documents of up to 20 pages (lmms-lab/MP-DocVQA, RRC challenge 17 task 4).

The hub's copy embeds the pages in `image_1` to `image_20`; the challenge's JSON names them in `page_ids`, with the
pictures beside it. Either way a task gets a folder of page images. Scored by ANLS and accuracy of short answers
(`metrics.py` of rubenpt91's MP-DocVQA-Framework): the text inside `<answer>` is taken as it stands. Page accuracy needs
a predicted page, which our judge is not asked for; `page_recall` says instead whether a tool showed it the page with
the answer.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from armlite.data.dataset import DataSet
from armlite.data.row import Row
from armlite.evals.benchmarks.anls import similarity
from armlite.evals.benchmarks.shares import mean, share
from armlite.evals.figures import Benchmark, Figures, Item, TaskMeta
from armlite.types import Task


class Meta(TaskMeta):
    """`group` has `split`."""

    doc_id: str = ""
    page_ids: list[str] = []
    """Names of the document's pages, some of which may be cut off."""
    pages: int
    """Number of pages that are there."""
    evidence_pages: list[int]
    """From 1: the page with the answer; empty where it is not known."""


MAX_PAGES = 20


def _tasks(row: Row) -> Iterator[Task]:
    name, page_ids = row.words("doc_id"), row.items("page_ids", of=str)
    if not page_ids:
        raise row.fail("page_ids", "is empty")
    split = row.text("data_split") if row.get("data_split") is not None else "unnamed"
    embedded = any(f"image_{i}" in row.values for i in range(1, MAX_PAGES + 1))
    pages = _embedded(row) if embedded else _beside(row, page_ids)
    if len(pages) > len(page_ids):
        raise row.fail("page_ids", f"names {len(page_ids)} pages for {len(pages)} images")
    answers = _answers(row)
    index = row.integer("answer_page_idx") if answers and row.get("answer_page_idx") is not None else None
    if index is not None and not 0 <= index < len(page_ids):
        index = None  # some rows name a page that they do not have: the answer is scored all the same
    yield Task(
        id=row.words("questionId"),
        kind="open_qa",
        question=row.words("question"),
        document=row.pictures.pages(pages, name),
        gold=answers or None,
        source=f"mp-docvqa/{split}",
        meta=Meta(
            group={"split": split},
            doc_id=name,
            page_ids=page_ids,
            pages=len(pages),
            evidence_pages=[] if index is None else [index + 1],
        ).as_dict(),
    )


def _answers(row: Row) -> tuple[str, ...]:
    """Accepted answers; none in the test split, where they are hidden."""
    if row.get("answers") in (None, "None"):
        return ()
    return tuple(a for a in row.items("answers", of=str) if a.strip())


def _embedded(row: Row) -> list[str]:
    numbers = [i for i in range(1, MAX_PAGES + 1) if row.get(f"image_{i}") is not None]
    for position, number in enumerate(numbers, 1):
        if number != position:
            raise row.fail(f"image_{position}", f"is missing, though image_{numbers[-1]} is there")
    if not numbers:
        raise row.fail("image_1", "is missing")
    return [row.picture(f"image_{i}") for i in numbers]


def _beside(row: Row, page_ids: list[str]) -> list[str]:
    """Pages as `{page_id}.jpg`, in `images` or loose, in the given folder or beside the JSON file."""
    places = [(root, folder) for root in (row.folder, row.file.parent) for folder in ("images/", "")]
    there = (p for p in places if (p[0] / f"{p[1]}{page_ids[0]}.jpg").is_file())
    root, folder = next(there, places[0])
    beside = replace(row, root=root)
    return [beside.keep(f"{folder}{page}.jpg", f"page_ids.{i}") for i, page in enumerate(page_ids)]


THRESHOLD = 0.5
"""An answer less alike than this earns nothing."""


def score(items: Sequence[Item]) -> Figures:
    """Figures `anls`, `accuracy` (equal but for case and outer blanks), `page_recall` (of the questions whose answer
    page is known and in the document) and `parse_failures`; `hidden` is the share of questions without published
    answers, which leave the first three. Of several answers the first counts.
    """
    known = [item for item in items if item.task.gold is not None]
    pages = [found for item in known if (found := page_shown(item)) is not None]
    figures = {
        "anls": mean([anls(_accepted(item), item.final) for item in known]),
        "accuracy": share([exact(_accepted(item), item.final) for item in known]),
        "page_recall": share(pages),
        "parse_failures": share([not item.final for item in items]),
    }
    return figures | ({"hidden": share([i.task.gold is None for i in items])} if len(known) < len(items) else {})


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The challenge's result file as it is recalled: a list of question ids and answers, without pages."""
    rows = [{"questionId": _number(item.task.id), "answer": item.final} for item in items]
    return {"mp_docvqa_results.json": json.dumps(rows, ensure_ascii=False, indent=1)}


def anls(accepted: Sequence[str], answer: str) -> float:
    """Likeness to the accepted answer it is most like; 0 below the threshold, and for an empty answer or "none"."""
    plain = _plain(answer)
    if plain in ("", "none"):
        return 0.0
    best = max(similarity(_plain(gold), plain) for gold in accepted)
    return best if best >= THRESHOLD else 0.0


def exact(accepted: Sequence[str], answer: str) -> bool:
    """Equal to an accepted answer; "none" never is, even where it is accepted."""
    plain = _plain(answer)
    return plain not in ("", "none") and plain in map(_plain, accepted)


def page_shown(item: Item) -> bool | None:
    """Whether a tool returned a page that holds the answer; None where that page is unknown or was cut off."""
    meta, answer = Meta.of(item.task), item.first
    wanted = {page for page in meta.evidence_pages if page <= meta.pages}
    if not wanted:
        return None
    calls = answer.trajectory.calls if answer is not None else ()
    seen = {page for step in calls if step.observation is not None for page in step.observation.data.get("pages", ())}
    return bool(wanted & seen)


def _plain(text: str) -> str:
    return text.lower().strip()


def _accepted(item: Item) -> tuple[str, ...]:
    gold = item.task.gold
    return tuple(map(str, gold)) if isinstance(gold, tuple) else (str(gold),)


def _number(identity: str) -> int | str:
    return int(identity) if identity.isdecimal() else identity


BENCHMARK = Benchmark(
    name="mp-docvqa",
    main="anls",
    score=score,
    official=official,
    dataset=DataSet(
        title="questions about scanned documents of up to 20 pages",
        licence="MIT (hub copy); the original asks for registration",
        tasks=_tasks,
        files=(
            "data/val-*.parquet",
            "data/*.parquet",
            "*.parquet",
            "val_v*.json",
            "train_v*.json",
            "test_v*.json",
            "*.json",
        ),
        hub="lmms-lab/MP-DocVQA",
        split="val",
        mirrors=("lmms-lab-encoder/MP-DocVQA",),
        notes=(
            "The hub holds val and test, about 5,200 and 5,000 questions; the answers of test are hidden. Train "
            "comes with the challenge's JSON only. To read another split, give its file as --path.",
            "A page's number is its place in page_ids; some answers lie on a page that was cut off.",
            "The challenge's IMDB files are pickled and are not read.",
        ),
    ),
    notes=(
        "The text inside <answer> is the prediction; no suffix asks for a single word or phrase.",
        "Page accuracy (APPA) is not given, since no page is asked for; page_recall is whether a page tool "
        "returned the answer's page: the contact sheet in the prompt does not count.",
        "The result file has no answer_page; its form is recalled and was not tried on the challenge's server.",
    ),
)
