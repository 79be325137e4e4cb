"""The paper family: a document of four pages, each with a topic of two words, a code and a striped figure.

Which colours there are can be seen on the sheet; a page's code and fine stripes on the page; the stripes in the bright
corner of its figure in a crop of that page. Each topic shares each of its words with another page, so that a query of
one word, or a wrong one, finds another page. Where a colour is asked for, codes are names of colours, of the right
one or the other: who fetches a page there, and believes its code, guesses.
"""

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from armlite.pocket import words
from armlite.pocket.lab.mosaic import CORNERS, zoom
from armlite.pocket.lab.parts import Ask, kept_topic
from armlite.pocket.lab.stripes import PAPER, WAYS, Corners, Way, page_corners, page_figure
from armlite.pocket.pdf import write_pdf

PAGES = 4
COLOURS = ("red", "green", "blue", "yellow")
"""Of figures; those that are told apart on the sheet."""
CODES = words.CODES[:2]
"""As many as stripes have ways."""
NAMED = 0.5
"""How often the code of a page names the colour that there is, where colours are asked for; else it names the other."""


@dataclass(frozen=True)
class Page:
    """What stands on a page."""

    topic: tuple[str, str]
    code: str
    colour: str
    ways: Corners
    bright: int | None
    """The bright corner of its figure; None: its stripes all run as the first of `ways`."""

    @property
    def way(self) -> Way:
        """Which way the stripes run that a question is about."""
        return self.ways[self.bright or 0]


def draw_pages(rng: random.Random, corners: bool, transfer: bool) -> list[Page]:
    """Four pages of two colours; on the first is what the task asks for.

    Args:
        corners: figures may have a bright corner.
        transfer: the first page's topic is one that is kept for the transfer split.
    """
    while True:
        firsts, seconds = rng.sample(words.FILLER, 2), rng.sample(words.TOPICS, 2)
        if kept_topic(firsts[0], seconds[0]) == transfer:
            break
    colours = rng.sample(COLOURS, 2)
    topics = [(a, b) for a in firsts for b in seconds]
    pages = []
    for topic in topics:
        bright = rng.choice((None, rng.randrange(4))) if corners else None
        ways = tuple(rng.choices(WAYS, k=4))
        pages.append(Page(topic, rng.choice(CODES), rng.choice(colours), ways, bright))  # type: ignore[arg-type]
    return pages


def write_pages(pages: list[Page], path: Path) -> None:
    """The document as a PDF."""
    lines = [(f'topic "{" ".join(p.topic)}"', f'code "{p.code}"') for p in pages]
    figures = [page_figure(p.colour, p.way) if p.bright is None else page_corners(p.ways, p.bright) for p in pages]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(write_pdf(lines, (PAPER, PAPER), size=5, gap=1, figures=figures, top=2))


def paper_ask(rng: random.Random, name: str, out: Path, needs: int, transfer: bool) -> Ask:
    """A document and a question about one of its pages that needs so many calls.

    The transfer split alone asks to choose between some pairs of colours, for topics that are kept for it, and for
    a bright corner on a page by its number, which elsewhere is asked for by its topic.
    """
    what = {0: "colour", 1: rng.choice(("code", "stripes")), 2: "corner"}[needs]
    while True:
        pages = draw_pages(rng, what != "colour", transfer)
        meant = pages[0]
        rng.shuffle(pages)
        number, title = pages.index(meant) + 1, rng.choice(words.TITLES)
        right, wrong = _truth(rng, what, meant, pages)
        if what == "colour":
            pages = [replace(page, code=right if rng.random() < NAMED else wrong) for page in pages]
        if what == "code" or _fits(what, meant, (right, wrong), transfer):
            break
    write_pages(pages, out / "documents" / name / f"{title}.pdf")
    by_topic = {"colour": False, "corner": not transfer}.get(what, transfer or rng.random() < 0.5)
    call, plan, where = look_up(title, meant, number, by_topic)
    calls, plans = [call], [plan]
    if meant.bright is not None:
        calls.append(zoom("observation_1", CORNERS[meant.bright]))
        plans.append(f"I look at the corner {CORNERS[meant.bright][0]} {CORNERS[meant.bright][1]}.")
    return Ask(
        question=_question(what, where),
        right=right,
        wrong=wrong,
        calls=tuple(calls[:needs]),
        plans=tuple(plans[:needs]),
        finding=right,
        document=f"documents/{name}/{title}.pdf",
        scene=tuple(c for c in COLOURS if any(p.colour == c for p in pages)) if what == "colour" else (),
    )


def _fits(what: str, page: Page, pair: tuple[str, str], transfer: bool) -> bool:
    """Whether a page, or a pair of colours, is one that a question may be asked of."""
    if what == "colour":
        return (sum(map(COLOURS.index, pair)) % 4 == 0) == transfer
    return (page.bright is not None) == (what == "corner")


def look_up(title: str, page: Page, number: int, by_topic: bool) -> tuple[dict[str, Any], str, str]:
    """The call that fetches a page, the thought before it, and how a question names the page."""
    if by_topic:
        topic = " ".join(page.topic)
        call = {"name": "doc_page_retrieval_by_query", "arguments": {"filename": title, "query": topic}}
        return call, f'I look up "{topic}".', f'the page about "{topic}"'
    call = {"name": "doc_page_retrieval_by_index", "arguments": {"filename": title, "image_idx": number}}
    return call, f"I look at page {number}.", f"page {number}"


def _question(what: str, where: str) -> str:
    return {
        "colour": "Which colour is there on a page?",
        "code": f"Which code stands on {where}?",
        "stripes": f"Which way do the stripes on {where} run?",
        "corner": f"Which way do the stripes in the bright corner on {where} run?",
    }[what]


def _truth(rng: random.Random, what: str, page: Page, pages: list[Page]) -> tuple[str, str]:
    """The right response and a wrong one."""
    if what == "colour":
        return page.colour, rng.choice([other for other in COLOURS if other not in {p.colour for p in pages}])
    if what == "code":
        return page.code, CODES[1 - CODES.index(page.code)]
    return page.way, WAYS[1 - WAYS.index(page.way)]
