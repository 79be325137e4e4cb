"""A judgment to look at without a model: a drawn market stall, two claims about it, a judge that reads the price tags.

Only the judge's words are scripted. They are played through a real Episode with the real tool, so the demo cannot show
anything that a model's judgment would not.
"""

from PIL import Image, ImageDraw, ImageFont

from armlite.episode import Episode, EpisodeSettings
from armlite.memory import Memory
from armlite.rewards import hierarchical
from armlite.store import Saved
from armlite.types import Task

FRUITS = (
    ("Apples", "2.10", "#c8402f"),
    ("Pears", "2.40", "#b7c24a"),
    ("Lemons", "3.80", "#f2cf3b"),
    ("Plums", "3.20", "#6d4287"),
)
SIZE = (960, 640)
_LEFT, _STEP, _CRATE = 96, 196, 168
_TAG = (56, 34)
_TAG_TOP = 486

_ZOOM = (
    '<tool_call>\n{{"name": "image_zoom_in_tool", '
    '"arguments": {{"image": "original_image", "bbox_2d": {box}}}}}\n</tool_call>'
)
SCRIPT = (
    "<think>The answers differ only in the price of lemons. The price tags are too small to be sure of from here. "
    "The one under the second crate may be it; I will look at it closely.</think>\n" + _ZOOM,
    "<think>This tag says pears, 2.40. So 2.40 is not the price of the lemons. They are the yellow fruit one crate "
    "further to the right.</think>\n" + _ZOOM,
    "<think>The tag reads lemons, 3.80. The first answer says 3.80 and agrees with it. The second says 2.40, which is "
    "the price of the pears.</think>\n<answer>Overall Judgment: Answer 1 is better.</answer>",
)
"""The judge's turns; `{box}` is the tag of crate 1 (counted from 0), then of crate 2."""


def demo() -> tuple[Saved, dict[str, Image.Image]]:
    """One scored trajectory, and its images by file name."""
    task = Task(
        id="demo-market-stall",
        kind="pairwise",
        question="What does a kilo of lemons cost at this stall?",
        responses=("A kilo of lemons costs 2.40.", "Lemons are 3.80 a kilo."),
        gold=2,
        source="demo/zoom",
    )
    order = (2, 1)
    memory = Memory([stall()], [task.responses[n - 1] for n in order])
    episode = Episode(task, memory, EpisodeSettings(), order)
    episode.model = "script"
    for crate, text in enumerate(SCRIPT, 1):
        episode.advance(text.format(box=_box(crate)), tokens=len(text.split()))
    trajectory = episode.trajectory()
    return Saved(trajectory=trajectory, score=hierarchical(trajectory)), episode.pixels()


def stall() -> Image.Image:
    """The picture: a stall with four crates, whose tags hold text of a few pixels."""
    image = Image.new("RGB", SIZE, "#bfe0ee")
    draw = ImageDraw.Draw(image)
    for y in range(330):
        draw.line((0, y, SIZE[0], y), fill=(160 + y // 6, 206 + y // 12, 232))
    draw.ellipse((770, 30, 850, 110), fill="#ffe9a3")
    for left, top, wall in ((0, 190, "#d9a38a"), (170, 140, "#e3c39a"), (700, 160, "#cfb2a6"), (850, 110, "#dcb588")):
        draw.rectangle((left, top, left + 190, 470), fill=wall)
        for x in range(left + 22, left + 170, 52):
            draw.rectangle((x, top + 26, x + 26, top + 62), fill="#6f8796", outline="#f4ead9", width=3)
    draw.rectangle((0, 470, SIZE[0], SIZE[1]), fill="#a99f93")
    for y in (520, 566, 606):
        draw.line((0, y, SIZE[0], y), fill="#978d82", width=3)
    _awning(draw)
    for number, (name, price, colour) in enumerate(FRUITS):
        _crate(draw, number, colour)
        _tag(draw, number, name, price)
    return image


def _awning(draw: ImageDraw.ImageDraw) -> None:
    for x in (70, 878):
        draw.rectangle((x, 200, x + 12, 600), fill="#6b4a33")
    draw.rectangle((70, 270, 890, 330), fill="#4f3727")
    for i in range(14):
        left, colour = 48 + i * 62, "#c0392b" if i % 2 == 0 else "#f7efe2"
        draw.polygon([(left, 235), (left + 62, 235), (110 + i * 54 + 54, 150), (110 + i * 54, 150)], fill=colour)
        draw.pieslice((left, 206, left + 62, 262), 0, 180, fill=colour)


def _crate(draw: ImageDraw.ImageDraw, number: int, colour: str) -> None:
    left = _LEFT + number * _STEP
    draw.rectangle((left - 4, 330, left + _CRATE + 4, 480), fill="#3b2a1f")
    for row in range(4):
        for column in range(6):
            x, y = left + 2 + column * 27 + row % 2 * 8, 338 + row * 20
            draw.ellipse((x, y, x + 30, y + 30), fill=colour, outline="#3b2a1f")
            draw.ellipse((x + 8, y + 6, x + 13, y + 11), fill="#fff6e0")
    for y in (412, 438, 464):
        draw.rectangle((left - 8, y, left + _CRATE + 8, y + 20), fill="#b98a57", outline="#7a5632", width=2)
    draw.rectangle((left - 8, 484, left + _CRATE + 8, 600), fill="#8a6540")
    for x in range(left + 20, left + _CRATE, 44):
        draw.line((x, 486, x, 600), fill="#775535", width=2)


def _tag(draw: ImageDraw.ImageDraw, number: int, name: str, price: str) -> None:
    left = _LEFT + number * _STEP + (_CRATE - _TAG[0]) // 2
    draw.rectangle((left, _TAG_TOP, left + _TAG[0], _TAG_TOP + _TAG[1]), fill="#fffdf4", outline="#3b2a1f")
    middle = left + _TAG[0] // 2
    draw.text((middle, _TAG_TOP + 9), name, fill="#222222", font=ImageFont.load_default(11), anchor="mm")
    draw.text((middle, _TAG_TOP + 23), price, fill="#b02418", font=ImageFont.load_default(18), anchor="mm")


def _box(number: int) -> list[int]:
    """A crate's tag with a margin, in relative coordinates."""
    left = _LEFT + number * _STEP + (_CRATE - _TAG[0]) // 2
    box = (left - 6, _TAG_TOP - 4, left + _TAG[0] + 6, _TAG_TOP + _TAG[1] + 4)
    return [round(v * 1000 / SIZE[i % 2]) for i, v in enumerate(box)]
