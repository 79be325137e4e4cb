"""MP-DocVQA's scorer: ANLS and accuracy of short answers (`metrics.py` of rubenpt91's MP-DocVQA-Framework).

The text inside `<answer>` is taken as it stands. Page accuracy needs a predicted page, which our judge is not asked
for; `page_recall` says instead whether a tool showed it the page with the answer.
"""

import json
from collections.abc import Mapping, Sequence

from armlite.evals.benchmarks.anls import similarity
from armlite.evals.benchmarks.shares import first, mean, share
from armlite.evals.figures import Benchmark, Figures, Item

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
        "anls": mean([anls(_accepted(item), _answer(item)) for item in known]),
        "accuracy": share([exact(_accepted(item), _answer(item)) for item in known]),
        "page_recall": share(pages),
        "parse_failures": share([not _answer(item) for item in items]),
    }
    return figures | ({"hidden": share([i.task.gold is None for i in items])} if len(known) < len(items) else {})


def official(items: Sequence[Item]) -> Mapping[str, str]:
    """The challenge's result file as it is recalled: a list of question ids and answers, without pages."""
    rows = [{"questionId": _number(item.task.id), "answer": _answer(item)} for item in items]
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
    meta, answer = item.task.meta, first(item)
    wanted = {page for page in meta["evidence_pages"] if page <= meta["pages"]}
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


def _answer(item: Item) -> str:
    answer = first(item)
    return (answer.final or "") if answer is not None else ""


def _number(identity: str) -> int | str:
    return int(identity) if identity.isdecimal() else identity


BENCHMARKS = {
    "mp-docvqa": Benchmark(
        name="mp-docvqa",
        main="anls",
        score=score,
        official=official,
        notes=(
            "The text inside <answer> is the prediction; no suffix asks for a single word or phrase.",
            "Page accuracy (APPA) is not given, since no page is asked for; page_recall is whether a page tool "
            "returned the answer's page: the contact sheet in the prompt does not count.",
            "The result file has no answer_page; its form is recalled and was not tried on the challenge's server.",
        ),
    )
}
