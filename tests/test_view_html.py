"""The viewer's HTML page: one file that needs no other, runs only its own script, and shows text as text."""

import base64
import gzip
import hashlib
import io
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
from PIL import Image
from view_rows import HOSTILE, hostile_row, small_run

from armlite import store
from armlite.errors import ArmliteError
from armlite.view.demo import demo
from armlite.view.page import to_html, write
from armlite.view.selection import Selection, gather
from armlite.view.text import literal


class _Reader(HTMLParser):
    """What a browser would make of the page: its tags, attributes and text."""

    def __init__(self, page_text):
        super().__init__()
        self.tags, self.text, self.scripts, self.inside = [], "", [], False
        self.feed(page_text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "script"
        self.scripts += [""] * self.inside

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data
        self.text += data


class _Opened:
    """A page as its script reads it: the shell, the index, every article and search text, and the pictures."""

    def __init__(self, page_text):
        self.shell = _Reader(page_text)
        named = {a["id"]: i for i, (t, a) in enumerate(t for t in self.shell.tags if t[0] == "script") if "id" in a}
        blocks = {name: self.shell.scripts[at] for name, at in named.items()}
        self.index = self._unpack(blocks["index"])
        rows, texts = ([b for n, b in blocks.items() if n.startswith(kind)] for kind in ("rows-", "texts-"))
        self.articles = [_Reader(html) for block in rows for html in self._unpack(block)]
        self.texts = [text for block in texts for text in self._unpack(block)]
        self.pixels = {f: uri for n, b in blocks.items() if n.startswith("images-") for f, uri in json.loads(b).items()}
        self.tags = [*self.shell.tags, *(tag for article in self.articles for tag in article.tags)]

    @staticmethod
    def _unpack(block):
        return json.loads(gzip.decompress(base64.b64decode(block)))

    def column(self, name):
        field = self.index["fields"][name]
        return [field["values"][at] if at >= 0 else [] for at in field["at"]]


def test_the_html_page_runs_only_its_own_script_and_shows_hostile_text_as_text():
    row, images = demo()
    page = _Opened(to_html([row, hostile_row()], lambda _, info: images[info.file], title=HOSTILE))
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert scripts[-1] == {}
    assert all(attrs["type"] in ("text/plain", "application/json") for attrs in scripts[:-1])
    assert all("data-file" in attrs and "src" not in attrs for tag, attrs in page.tags if tag == "img")
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name in ("src", "srcdoc")]
    assert all(attrs["href"].startswith("#") for tag, attrs in page.tags if "href" in attrs)
    assert page.articles[1].text.count(literal(HOSTILE)) >= 9
    assert literal(HOSTILE) in page.shell.text
    assert {tag for tag, _ in page.articles[1].tags} <= {
        *("article", "header", "h1", "h2", "span", "p", "ul", "li", "div", "section", "small", "details", "summary"),
        *("pre", "ol", "b", "code", "footer", "strong", "table", "caption", "tr", "th", "td", "i"),
    }
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.shell.scripts[-1].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert policy.endswith(f"script-src 'sha256-{digest}'")


def test_the_html_page_needs_no_other_file_and_holds_every_image_once():
    row, images = demo()
    text = to_html([row, row], lambda _, info: images[info.file])
    assert not re.search(r"https?://|@import|url\(", text)
    page = _Opened(text)
    assert set(page.pixels) == set(images) == {a["data-file"] for t, a in page.tags if t == "img"}
    assert set(page.index["images"]) == set(images)
    assert len(re.findall(r"data:image/", text)) == len(images)
    for file, uri in page.pixels.items():
        shown = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        room = images[file].copy()
        room.thumbnail((840, 600))
        assert shown.size == room.size
    boxes = [attrs["style"] for _, attrs in page.tags if attrs.get("class") == "box"]
    left, top, right, bottom = row.trajectory.images[1].box
    assert boxes[0] == (
        f"left:{left / 9.6:.3f}%;top:{top / 6.4:.3f}%;"
        f"width:{(right - left) / 9.6:.3f}%;height:{(bottom - top) / 6.4:.3f}%"
    )
    assert len(boxes) == 4
    assert page.index["count"] == len(page.articles) == 2
    assert page.column("outcome") == [["right"]] * 2
    assert page.column("family") == [["zoom"]] * 2
    assert "a kilo of lemons" in page.texts[1]


def test_a_folder_holds_whole_pictures_beside_the_page(tmp_path):
    row, images = demo()
    store.save(tmp_path / "run" / "rows.jsonl", [row], images)
    assert write(tmp_path / "page", gather(tmp_path / "run", False, Selection()), "a run", split=True) == 1
    for file, image in images.items():
        assert Image.open(tmp_path / "page" / "images" / file).tobytes() == image.tobytes()
    text = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert "data:image/" not in text
    assert "img-src 'self' file:" in unescape(text)
    with pytest.raises(ArmliteError, match="--split writes a folder, and .* is a file"):
        write(tmp_path / "run" / "rows.jsonl", gather(tmp_path / "run", False, Selection()), "a run", split=True)


def test_a_run_opens_at_its_last_stages_final_evaluation_and_each_row_says_where_it_is(tmp_path):
    run = small_run(tmp_path / "run")
    write(tmp_path / "page.html", gather(run, False, Selection()), "a run")
    page = _Opened((tmp_path / "page.html").read_text("utf-8"))
    assert page.index["where"] == "stage=grpo1 and round=greedy"
    places = [
        " ".join(str(v[0]) for v in found if v)
        for found in zip(*map(page.column, ("stage", "round", "step")), strict=True)
    ]
    assert places == ["grpo1 greedy", "grpo1 rollout", "sft greedy", *["grpo1 grpo 2.0"] * 4]
    assert "grpo1GRPO step 2" in page.articles[-1].text


def test_a_page_that_compares_holds_the_other_stage_and_opens_with_it_beside(tmp_path):
    run = small_run(tmp_path / "run")
    chosen = gather(run, False, Selection(), compare=("sft", "grpo1"))
    assert (
        write(tmp_path / "page.html", replace(chosen, entries=chosen.entries[:1], beside=chosen.beside[:1]), "", "sft")
        == 2
    )
    index = _Opened((tmp_path / "page.html").read_text("utf-8")).index
    assert (index["where"], index["beside"]) == ('stage="grpo1"', "sft")
