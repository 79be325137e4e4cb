"""A trajectory as HTML: the `<article>` that the page shows, by a template that escapes whatever a model wrote.

Pictures are named by their file (`data-file`); who shows the article gives them their pixels (`armlite.view.page`, or
`armlite.view.live`).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from armlite.types import ImageInfo, Step, Trajectory
from armlite.view import text as words
from armlite.view.entries import Entry, probability

ROOM = (420, 300)
"""Pixels (width, height) that a picture may fill on the page; a click shows it larger."""
MARKS = {"right": "✓", "wrong": "✗", "unknown": "·"}


@cache
def template(name: str) -> Template:
    """One of ours, with every `{{ value }}` escaped."""
    found = Environment(loader=PackageLoader("armlite.view"), autoescape=True, undefined=StrictUndefined)
    found.filters["literal"] = words.literal
    return found.get_template(name)


def article(entry: Entry, lost: Mapping[str, str]) -> str:
    """The HTML of a trajectory.

    Args:
        entry: what.
        lost: image file -> why it cannot be shown, which is then said in its place.
    """
    trajectory, score = entry.row.trajectory, entry.row.score
    task = trajectory.task
    images = {info.id: info for info in trajectory.images}
    outcome = words.outcome(trajectory)
    return template("article.html.jinja").render(
        task=task,
        outcome=outcome,
        mark=MARKS[outcome],
        family=words.group(task),
        badges=_badges(entry),
        pictures=_shots(trajectory.prompt_images, images, lost),
        cards=_cards(trajectory),
        told="\n\n".join(part for part in (trajectory.system, trajectory.prompt) if part),
        steps=[_step(step, images, lost) for step in trajectory.steps],
        said=words.decision_words(task, trajectory.decision),
        gold=words.gold_words(task) if outcome == "wrong" else "",
        ended=f"{words.STOPS[trajectory.stop]} · {words.tally(trajectory)}",
        reason=trajectory.fault.reason if trajectory.fault else "",
        probabilities=[(key, f"{share:.3f}", f"{100 * share:.1f}") for key, share in trajectory.probabilities.items()],
        parts=[
            (name, f"{value:g}", f"{100 * score.shares[name]:.1f}", value < 0) for name, value in score.parts.items()
        ]
        if score
        else [],
        total=f"{score.total:g}" if score else "",
        advantage=f"{entry.first('advantage'):+.2f}" if "advantage" in entry.fields else "",
    )


def _badges(entry: Entry) -> list[tuple[str, str]]:
    """(class, words) of the badges beside a task's name."""
    trajectory = entry.row.trajectory
    task, outcome = trajectory.task, words.outcome(trajectory)
    found = [("stage", said) for said in entry.where]
    found += [(outcome, f"{MARKS[outcome]} {outcome}")] if outcome != "unknown" else []
    found += [("", said) for said in (task.kind.replace("_", " "), words.group(task), trajectory.model, task.document)]
    found += [("", f"rollout {trajectory.rollout}")] if trajectory.rollout else []
    likely = probability(trajectory)
    found += [("", f"probability {likely:.2f}")] if likely is not None else []
    kinds: dict[str, str] = {}
    for kind, said in found:
        kinds.setdefault(said or "", kind)  # the model of an evaluation has its stage's name
    return [(kind, said) for said, kind in kinds.items() if said]


def _cards(trajectory: Trajectory) -> list[dict[str, Any]]:
    """Responses and options, and what became of them."""
    task = trajectory.task
    compared = task.kind in ("pairwise", "listwise")
    cards = [
        {
            "name": f"Response {number}" if compared else "Response",
            "shown": shown,
            "text": text,
            "gold": words.is_gold(task, number),
            "chosen": compared and type(trajectory.decision) is int and trajectory.decision == number,
        }
        for number, text, shown in words.responses(trajectory)
    ]
    for key, option in task.options.items():
        chosen = {"gold": key == task.gold, "chosen": key == trajectory.decision}
        cards.append({"name": key, "shown": "", "text": option, **chosen})
    return cards


def _step(step: Step, images: Mapping[str, ImageInfo], lost: Mapping[str, str]) -> dict[str, Any]:
    turn, seen = step.turn, step.observation
    return {
        "parts": words.turn_parts(turn),
        "tokens": words.count(turn.tokens, "token") if turn.tokens else "",
        "result": words.result_label(step) if seen else "",
        "seen": seen.text if seen else "",
        "pictures": _shots(seen.images, images, lost) if seen else [],
        "written": turn.text if turn.well_formed else "",
    }


def _shots(ids: Sequence[str], images: Mapping[str, ImageInfo], lost: Mapping[str, str]) -> list[dict[str, Any]]:
    """Pictures with their size on the page, and the box of the crop that was taken from them."""
    found = []
    for info, crop in words.pictured(tuple(ids), images):
        scale = min(ROOM[0] / info.width, ROOM[1] / info.height, 4)
        box = ""
        if crop is not None and crop.box is not None:
            left, top, right, bottom = crop.box
            across, down = 100 / info.width, 100 / info.height
            box = f"left:{left * across:.3f}%;top:{top * down:.3f}%;"
            box += f"width:{(right - left) * across:.3f}%;height:{(bottom - top) * down:.3f}%"
        found.append(
            {
                "file": info.file,
                "lost": lost.get(info.file, ""),
                "caption": words.caption(info),
                "width": max(1, round(info.width * scale)),
                "height": max(1, round(info.height * scale)),
                "box": box,
            }
        )
    return found
