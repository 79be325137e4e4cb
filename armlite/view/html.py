"""Trajectories as one HTML page that needs nothing else: pixels as data URIs, style and script inside.

Whatever a model wrote is escaped; a content security policy allows only our own script, so that an escape that we
forgot could still run nothing. Each image is embedded once, large ones as JPEG: the page is for looking, the store for
keeping.
"""

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from PIL import Image

from armlite.errors import ArmliteError
from armlite.images import as_png
from armlite.store import Saved
from armlite.types import ImageInfo, Score, Step, Trajectory
from armlite.view import text as words
from armlite.view.page import SCRIPT, STYLE
from armlite.view.selection import RowPixels

PNG_BYTES = 256 * 1024
"""A PNG larger than this is embedded as JPEG of quality 88."""
ROOM = (420, 300)
"""Pixels (width, height) that a picture may fill on the page; a click shows it whole."""
MARKS = {"right": "✓", "wrong": "✗", "unknown": "·"}


def to_html(rows: Sequence[Saved], pixels: RowPixels, title: str = "trajectories") -> str:
    """The page.

    Args:
        rows: what to show, in order.
        pixels: opens an image of a row; where it raises ArmliteError, the page says so in the picture's place.
        title: shown at the top, such as the path.
    """
    found, lost = _embed(rows, pixels)
    articles = [_article(number, row, lost) for number, row in enumerate(rows, 1)]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    data = json.dumps(found).replace("<", "\\u003c")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)} · armlite</title>",
            f"<style>{STYLE}</style></head><body>",
            _bar(rows, title),
            f'<nav aria-label="Trajectories">{"".join(_link(n, row) for n, row in enumerate(rows, 1))}</nav>',
            f'<main><p class="nothing" hidden>No trajectory fits these filters.</p>{"".join(articles)}</main>',
            "<dialog></dialog><noscript><p>Images and paging need JavaScript; the text does not.</p></noscript>",
            f'<script type="application/json" id="pixels">{data}</script>',
            f"<script>{SCRIPT}</script></body></html>\n",
        ]
    )


def _text(text: str) -> str:
    return escape(words.literal(text))


def _embed(rows: Sequence[Saved], pixels: RowPixels) -> tuple[dict[str, str], dict[str, str]]:
    """(file name -> data URI, file name -> why it is missing), each file opened once."""
    found: dict[str, str] = {}
    lost: dict[str, str] = {}
    for row in rows:
        for info in row.trajectory.images:
            if info.file not in found and info.file not in lost:
                try:
                    found[info.file] = _data_uri(pixels(row, info))
                except ArmliteError as e:
                    lost[info.file] = str(e)
    return found, lost


def _data_uri(image: Image.Image) -> str:
    kind, data = "png", as_png(image)
    if len(data) > PNG_BYTES:
        jpeg = io.BytesIO()
        image.convert("RGB").save(jpeg, "JPEG", quality=88)
        kind, data = "jpeg", jpeg.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _bar(rows: Sequence[Saved], title: str) -> str:
    outcomes = Counter(words.outcome(row.trajectory) for row in rows)
    families = sorted({words.group(row.trajectory.task) for row in rows})
    chips = "".join(
        f'<button data-filter="{name}" aria-pressed="{str(not name).lower()}">{label} <b>{count}</b></button>'
        for name, label, count in [
            ("", "all", len(rows)),
            *((o, f"{MARKS[o]} {o}", outcomes[o]) for o in MARKS if outcomes[o]),
        ]
    )
    options = "".join(f"<option>{escape(name)}</option>" for name in families)
    choice = f'<select aria-label="Family"><option value="">every family</option>{options}</select>'
    return (
        f'<header class="bar"><strong>armlite</strong><span class="title">{_text(title)}</span>'
        f'<span class="chips">{chips}</span>{choice if len(families) > 1 else ""}'
        '<span class="place" aria-live="polite"></span><button data-go="-1" title="previous (←, k or p)">←</button>'
        '<button data-go="1" title="next (→, j or n)">→</button>'
        '<button data-theme-switch title="light or dark (t)">◐</button></header>'
    )


def _data(row: Saved) -> str:
    outcome, family = words.outcome(row.trajectory), words.group(row.trajectory.task)
    return f'data-outcome="{outcome}" data-family="{escape(family)}"'


def _link(number: int, row: Saved) -> str:
    task, outcome = row.trajectory.task, words.outcome(row.trajectory)
    rollout = f" <small>#{row.trajectory.rollout}</small>" if row.trajectory.rollout else ""
    return (
        f'<a href="#{number}" {_data(row)}><i class="{outcome}">{MARKS[outcome]}</i>'
        f"<span>{_text(task.id)}{rollout}<small>{_text(words.shorten(task.question, 80))}</small></span></a>"
    )


def _article(number: int, row: Saved, lost: Mapping[str, str]) -> str:
    trajectory, task = row.trajectory, row.trajectory.task
    images = {info.id: info for info in trajectory.images}
    badges = [task.kind.replace("_", " "), words.group(task), trajectory.model, task.document or ""]
    badges += [f"rollout {trajectory.rollout}"] if trajectory.rollout else []
    conditions = [f"<li>{_text(c.text)}</li>" for c in task.constraints]
    told = "\n\n".join(part for part in (trajectory.system, trajectory.prompt) if part)
    return "".join(
        [
            f'<article id="t{number}" {_data(row)}><header><h1>{_text(task.id)}</h1>',
            *(f'<span class="badge">{_text(badge)}</span>' for badge in dict.fromkeys(badges) if badge),
            f'</header><p class="question">{_text(task.question)}</p>',
            f'<ul class="must">{"".join(conditions)}</ul>' if conditions else "",
            _gallery(trajectory.prompt_images, images, lost),
            _responses(trajectory),
            f"<details><summary>what the judge was told</summary><pre>{_text(told)}</pre></details>" if told else "",
            f'<ol class="steps">{"".join(_step(step, images, lost) for step in trajectory.steps)}</ol>',
            _end(trajectory, row.score),
            "</article>",
        ]
    )


def _responses(trajectory: Trajectory) -> str:
    task = trajectory.task
    cards = []
    for number, text, shown in words.responses(trajectory):
        compared = task.kind in ("pairwise", "listwise")
        chosen = compared and type(trajectory.decision) is int and trajectory.decision == number
        notes = [f"Response {number}" if compared else "Response"]
        notes += [f"<small>shown as {shown}</small>"] if shown else []
        notes += ['<span class="gold">★ right</span>'] if words.is_gold(task, number) else []
        notes += ['<span class="chosen">chosen</span>'] if chosen else []
        cards.append(
            f"<section{' class=picked' if chosen else ''}><h2>{' '.join(notes)}</h2><p>{escape(text)}</p></section>"
        )
    cards += [
        f"<section{' class=picked' if letter == trajectory.decision else ''}><h2>{_text(letter)}"
        f"{' <span class=gold>★ right</span>' if letter == task.gold else ''}</h2><p>{_text(option)}</p></section>"
        for letter, option in task.options.items()
    ]
    return f'<div class="responses">{"".join(cards)}</div>' if cards else ""


def _step(step: Step, images: Mapping[str, ImageInfo], lost: Mapping[str, str]) -> str:
    turn, out = step.turn, []
    for label, body in words.turn_parts(turn):
        if label == "call":
            name, _, arguments = body.partition("(")
            out.append(_part(label, f"<code><b>{escape(name)}</b>({escape(arguments)}</code>"))
        else:
            out.append(_part(label, escape(body)))
    if step.observation is not None:
        shots = _gallery(step.observation.images, images, lost)
        out.append(_part(words.result_label(step), _text(step.observation.text)) + shots)
    if turn.well_formed:
        out.append(f"<details><summary>as written</summary><pre>{_text(turn.text)}</pre></details>")
    tokens = f' title="{words.count(turn.tokens, "token")}"' if turn.tokens else ""
    return f"<li{tokens}>{''.join(out)}</li>"


def _part(label: str, body: str) -> str:
    return f'<div class="part {label}"><b>{label}</b><div>{body}</div></div>'


def _gallery(ids: tuple[str, ...], images: Mapping[str, ImageInfo], lost: Mapping[str, str]) -> str:
    shots = [_shot(info, crop, lost) for info, crop in words.pictured(ids, images)]
    return f'<div class="gallery">{"".join(shots)}</div>' if shots else ""


def _shot(info: ImageInfo, crop: ImageInfo | None, lost: Mapping[str, str]) -> str:
    caption = f"<figcaption>{escape(words.caption(info))}</figcaption>"
    if info.file in lost:
        return f'<figure class="lost"><p>{_text(lost[info.file])}</p>{caption}</figure>'
    scale = min(ROOM[0] / info.width, ROOM[1] / info.height, 4)
    size = f'width="{max(1, round(info.width * scale))}" height="{max(1, round(info.height * scale))}"'
    box = ""
    if crop is not None and crop.box is not None:
        left, top, right, bottom = crop.box
        across, down = 100 / info.width, 100 / info.height
        place = f"left:{left * across:.3f}%;top:{top * down:.3f}%;"
        place += f"width:{(right - left) * across:.3f}%;height:{(bottom - top) * down:.3f}%"
        box = f'<i class="box" style="{place}"></i>'
    kind = "source" if box else "shot"
    alt = escape(words.caption(info))
    return (
        f'<figure class="{kind}"><button class="frame" title="show large">'
        f'<img data-file="{escape(info.file)}" alt="{alt}" {size}>{box}</button>{caption}</figure>'
    )


def _end(trajectory: Trajectory, score: Score | None) -> str:
    outcome, gold = words.outcome(trajectory), words.gold_words(trajectory.task)
    should = f" Gold: {escape(gold)}." if outcome == "wrong" else ""
    rows = fault = ""
    if trajectory.fault is not None:
        fault = f"<p>{_text(trajectory.fault.reason)}</p>"
    if score is not None:
        rows = "".join(
            f'<tr><th>{_text(name)}</th><td>{value:g}</td><td><i class="bar{" minus" if value < 0 else ""}" '
            f'style="width:{100 * score.shares[name]:.1f}%"></i></td></tr>'
            for name, value in score.parts.items()
        )
        rows = f"<table>{rows}<tr><th>total</th><td><b>{score.total:g}</b></td><td></td></tr></table>"
    return (
        f'<footer class="{outcome}"><p><strong>{MARKS[outcome]} '
        f"{escape(words.decision_words(trajectory.task, trajectory.decision))}.</strong>{should}</p>"
        f"<p><small>{words.STOPS[trajectory.stop]} · {words.tally(trajectory)}</small></p>{fault}{rows}</footer>"
    )
