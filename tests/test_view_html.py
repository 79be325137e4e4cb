"""The viewer's HTML page: one file that needs no other, runs only its own script, and shows text as text."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

from PIL import Image
from view_rows import HOSTILE, hostile_row

from armlite.view.demo import demo
from armlite.view.html import to_html
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


def test_the_html_page_runs_only_its_own_script_and_shows_hostile_text_as_text():
    row, images = demo()
    reader = _Reader(to_html([row, hostile_row()], lambda _, info: images[info.file], title=HOSTILE))
    assert [attrs for tag, attrs in reader.tags if tag == "script"] == [
        {"type": "application/json", "id": "pixels"},
        {},
    ]
    assert all("data-file" in attrs and "src" not in attrs for tag, attrs in reader.tags if tag == "img")
    assert not [
        name for _, attrs in reader.tags for name in attrs if name.startswith("on") or name in ("src", "srcdoc")
    ]
    assert all(attrs["href"].startswith("#") for tag, attrs in reader.tags if "href" in attrs)
    assert reader.text.count(literal(HOSTILE)) >= 10
    policy = next(a["content"] for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(reader.scripts[-1].encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_html_page_needs_no_other_file_and_holds_every_image_once():
    row, images = demo()
    text = to_html([row, row], lambda _, info: images[info.file])
    assert not re.search(r"https?://|@import|url\(", text)
    reader = _Reader(text)
    found = json.loads(reader.scripts[0])
    assert set(found) == set(images) == {a["data-file"] for t, a in reader.tags if t == "img"}
    assert len(re.findall(r"data:image/", text)) == len(images)
    for file, uri in found.items():
        shown = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert shown.size == images[file].size
    boxes = [attrs["style"] for _, attrs in reader.tags if attrs.get("class") == "box"]
    left, top, right, bottom = row.trajectory.images[1].box
    assert boxes[0] == (
        f"left:{left / 9.6:.3f}%;top:{top / 6.4:.3f}%;"
        f"width:{(right - left) / 9.6:.3f}%;height:{(bottom - top) / 6.4:.3f}%"
    )
    assert len(boxes) == 4
    articles = [attrs for tag, attrs in reader.tags if tag == "article"]
    assert [(a["data-outcome"], a["data-family"]) for a in articles] == [("right", "zoom")] * 2
