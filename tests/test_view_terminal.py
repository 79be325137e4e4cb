"""The viewer in a terminal: what happened is all there, text is only text, pictures arrive in every protocol."""

import base64
import io
import itertools
import re

import pytest
from PIL import Image, ImageChops, ImageDraw
from view_rows import HOSTILE, hostile_row, new_console, no_pixels, output_of, plain_words

from armlite.errors import ArmliteError
from armlite.types import Call, ImageInfo, Observation, Step, StopReason, Turn
from armlite.view import images as pictures
from armlite.view.demo import demo
from armlite.view.entries import entries
from armlite.view.html import article
from armlite.view.terminal import draw_step, draw_trajectory
from armlite.view.text import STOPS, literal

DEMO = """\
━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
   demo-market-stall  pairwise · zoom                                                      1 of 1
━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━

   question  What does a kilo of lemons cost at this stall?
             [image img_0 960x640]

 response 1  A kilo of lemons costs 2.40.  shown as resp_2
 response 2  Lemons are 3.80 a kilo.  ★ right  shown as resp_1

step 1 · 45 tokens ─────────────────────────────────────────────────────────────────────────────────
      think  The answers differ only in the price of lemons. The price tags are too small to be sure
             of from here. The one under the second crate may be it; I will look at it closely.
       call  image_zoom_in_tool(image="original_image", bbox_2d=[356, 753, 427, 819])
     result  (what the tool said)
             [image img_0 960x640] box 341,481,410,525
             [image img_1 138x88] from img_0

step 2 · 34 tokens ─────────────────────────────────────────────────────────────────────────────────
      think  This tag says pears, 2.40. So 2.40 is not the price of the lemons. They are the yellow
             fruit one crate further to the right.
       call  image_zoom_in_tool(image="original_image", bbox_2d=[560, 753, 631, 819])
     result  (what the tool said)
             [image img_0 960x640] box 537,481,606,525
             [image img_2 138x88] from img_0

step 3 · 31 tokens ─────────────────────────────────────────────────────────────────────────────────
      think  The tag reads lemons, 3.80. The first answer says 3.80 and agrees with it. The second
             says 2.40, which is the price of the pears.
     answer  Overall Judgment: Answer 1 is better.

╭─ verdict ────────────────────────────────────────────────────────────────────────────────────────╮
│  Response 2 is better, shown to the judge as resp_1   ✓ right                                    │
│  answered · 3 turns, 2 tool calls, 110 tokens · script                                           │
│                                                                                                  │
│  format   0.3  ━━━━━━━━━━                                                                        │
│  attempt  0    ·                                                                                 │
│  answer   0.7  ━━━━━━━━━━━━━━━━━━━━━━━━                                                          │
│  success  0.5  ━━━━━━━━━━━━━━━━━                                                                 │
│  total    1.5                                                                                    │
╰──────────────────────────────────────────────────────────────────────────────────────────────────╯
"""


@pytest.fixture(autouse=True)
def _no_wishes(monkeypatch):
    monkeypatch.delenv("ARMLITE_IMAGES", raising=False)


def test_the_demo_looks_as_it_always_did():
    row, images = demo()
    steps = [
        s.model_copy(update={"observation": s.observation.model_copy(update={"text": "(what the tool said)"})})
        if s.observation
        else s
        for s in row.trajectory.steps
    ]
    trajectory = row.trajectory.model_copy(update={"steps": tuple(steps)})
    console = new_console()
    draw_trajectory(console, trajectory, row.score, lambda i: images[i.file], protocol="none", place="1 of 1")
    assert plain_words(output_of(console)) == DEMO
    assert row.trajectory.steps[0].observation.text.startswith("Here is `observation_1`")


def test_whatever_a_model_wrote_is_shown_literally_in_the_terminal():
    row = hostile_row()
    console = new_console()
    draw_trajectory(console, row.trajectory, row.score, no_pixels, protocol="none")
    text = plain_words(output_of(console))
    squeezed = re.sub(r"\s+", "", text)
    one = re.sub(r"\s+", "", literal(HOSTILE))
    assert "[red]mark[/red][link=file:///]up[/]:smile:\\x1b]0;title\\x07\\x9b2J\\x7f\\u202etxt.exe" in one
    # question, constraint, document, response, the whole first turn, its observation, the answer; names apart.
    assert squeezed.count(one) >= 7
    for words in (
        "★ right",
        "empty",
        "Response 2 is better",
        "✗ wrong, gold: response 1 or 3",
    ):
        assert words in text
    assert re.search(r"notice +Your turn was empty\.", text)
    assert re.search(r"total +-0\.25", text)


@pytest.mark.parametrize(
    ("turn", "shown", "hidden"),
    [
        (Turn(text="<think>a", finish="length"), ["said <think>a", "fault the turn ran out of tokens here"], "think a"),
        (Turn(text="<tool_call>{}", fault="unclosed_call"), ["said <tool_call>{}", "fault unclosed call"], "call {}"),
        (Turn(text="T", think="t", answer="4", well_formed=True), ["think t", "answer 4"], "said"),
        (Turn(text="<answer>4</answer>", answer="4"), ["said <answer>4</answer>", "answer 4"], "think"),
        (Turn(text="T", think="t", call=Call(name="f", arguments={"x": [1], "y": "é"}), well_formed=True),
         ["think t", 'call f(x=[1], y="é")'], "said"),
    ],
)  # fmt: skip
def test_a_turn_in_bad_form_is_shown_as_written_and_one_in_good_form_by_its_parts(turn, shown, hidden):
    console = new_console()
    draw_step(console, Step(turn=turn), {}, no_pixels, number=4)
    lines = [re.sub(r"\s+", " ", line).strip() for line in plain_words(output_of(console)).splitlines()]
    assert [line for line in lines if line][1:] == shown
    assert lines[1].startswith("step 4")
    assert not any(line.startswith(hidden) for line in lines)


def test_a_missing_image_is_said_in_its_place_and_the_rest_is_drawn():
    row, images = demo()
    gone = row.trajectory.images[1].file
    console = new_console()

    def pixels(info):
        return no_pixels(info) if info.file == gone else images[info.file]

    draw_trajectory(console, row.trajectory, row.score, pixels, protocol="blocks")
    text = plain_words(output_of(console))
    assert "[image img_1 138x88] from img_0 (image img_1 is missing)" in text
    assert "img_2 · 138x88 · from img_0" in text
    assert "verdict" in text
    html = article(entries([row])[0], {gone: "image img_1 is missing"})
    assert "image img_1 is missing" in html
    assert f'data-file="{gone}"' not in html


def test_half_blocks_hold_each_pixel_and_the_crop_box_is_drawn_where_the_crop_was():
    image = Image.new("RGB", (40, 40), (0, 0, 255))
    console = new_console()
    console.print(
        pictures.Gallery([pictures.Picture("a", image, box=(10, 20, 30, 40))], "blocks", 0, columns=40, rows=20)
    )
    cells = _cells(output_of(console))
    assert [len(line) for line in cells[:20]] == [40] * 20
    pixels = [[cell[half] for cell in line] for line in cells[:20] for half in (0, 1)]
    red = {(x, y) for y, line in enumerate(pixels) for x, colour in enumerate(line) if colour == pictures.BOX_COLOUR}
    edge = {(x, y) for x in range(10, 30) for y in range(20, 40) if x in (10, 29) or y in (20, 39)}
    assert red == edge
    assert {colour for line in pixels for colour in line} == {(0, 0, 255), pictures.BOX_COLOUR}


def _cells(ansi):
    """Lines of half-block cells as (upper, lower) colours."""
    lines = []
    for line in ansi.split("\n"):
        found = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m(▀+)", line)
        lines.append([(tuple(map(int, f[:3])), tuple(map(int, f[3:6]))) for f in found for _ in f[6]])
    return lines


def test_a_sixel_decodes_to_the_picture():
    image = Image.new("RGB", (37, 20), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((3, 2, 30, 12), fill=(255, 0, 0), outline=(0, 51, 255))
    draw.line((0, 19, 36, 0), fill="black")
    assert _decode_sixel(pictures.sixel(image)).tobytes() == image.tobytes()


def test_a_sixel_has_room_for_many_colours():
    image = Image.linear_gradient("L").convert("RGB")
    drawn = _decode_sixel(pictures.sixel(image))
    assert max(high for _, high in ImageChops.difference(image, drawn).getextrema()) <= 8


def _decode_sixel(text):
    head = re.match(r'\x1bP[0-9;]*q"1;1;(\d+);(\d+)', text)
    image = Image.new("RGB", (int(head[1]), int(head[2])), "green")
    palette, colour, x, top = {}, 0, 0, 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([$-])|([?-~])", text[head.end() : -2]):
        if token[1]:
            palette[int(token[1])] = tuple(round(int(v) * 2.55) for v in token.group(2, 3, 4))
        elif token[5]:
            colour = int(token[5])
        elif token[8]:
            x, top = 0, top + 6 * (token[8] == "-")
        else:
            run = int(token[6] or 1)
            for at, bit in itertools.product(range(x, x + run), range(6)):
                if ord(token[7] or token[9]) - 63 >> bit & 1:
                    image.putpixel((at, top + bit), palette[colour])
            x += run
    return image


def test_kitty_gets_the_whole_png_in_small_chunks():
    image = Image.effect_noise((90, 90), 60).convert("RGB")
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", pictures.kitty(image, 12, 6))
    assert len(chunks) > 1
    assert all(len(data) <= 4096 and len(data) % 4 == 0 for _, data in chunks)
    assert [keys[-3:] for keys, _ in chunks] == ["m=1"] * (len(chunks) - 1) + ["m=0"]
    assert {"a=T", "f=100", "c=12", "r=6", "C=1"} <= set(chunks[0][0].split(","))
    png = base64.b64decode("".join(data for _, data in chunks))
    assert Image.open(io.BytesIO(png)).tobytes() == image.tobytes()


@pytest.mark.parametrize("protocol", ["kitty", "sixel"])
def test_pictures_side_by_side_take_their_rows_and_leave_the_cursor_below_them(protocol):
    image = Image.new("RGB", (40, 40), "teal")
    console = new_console()
    shots = [pictures.Picture(name, image) for name in ("left", "right", "third one below")]
    console.print(pictures.Gallery(shots, protocol, indent=4, columns=30, rows=10))
    text = output_of(console)
    assert text.count("\x1bP" if protocol == "sixel" else "a=T") == 3
    assert re.findall(r"\x1b\[(\d+)A", text) == re.findall(r"\x1b\[(\d+)B", text) == ["10"]
    assert re.findall(r"\x1b\[(\d+)C", text) == ["4", "27", "50"]
    captions = re.sub(r"\x1b\[[0-9;]*m", "", text.rstrip("\n").split("\n")[-1].split("\r")[-1])
    assert captions == "    left" + " " * 19 + "right" + " " * 18 + "third one below"


@pytest.mark.parametrize(
    ("environ", "terminal", "protocol"),
    [
        ({"TERM": "xterm-256color"}, False, "none"),
        ({"TERM": "dumb"}, True, "none"),
        ({}, True, "none"),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, True, "none"),
        ({"TERM": "xterm-kitty"}, True, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, True, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, True, "kitty"),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, True, "blocks"),
        ({"TERM": "xterm-kitty", "TMUX": "x"}, True, "blocks"),
        ({"TERM": "foot"}, True, "sixel"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app", "COLORTERM": "truecolor"}, True, "sixel"),
        ({"TERM": "xterm-256color"}, True, "blocks"),
        ({"TERM": "vt100"}, True, "none"),
        ({"TERM": "vt100", "COLORTERM": "truecolor"}, True, "blocks"),
        ({"TERM": "dumb", "ARMLITE_IMAGES": "sixel"}, False, "sixel"),
        ({"TERM": "xterm-kitty", "ARMLITE_IMAGES": "none"}, True, "none"),
    ],
)
def test_the_environment_says_how_pictures_are_shown(environ, terminal, protocol):
    assert pictures.choose_protocol(environ, terminal) == protocol


def test_an_unknown_picture_protocol_is_the_users_mistake():
    with pytest.raises(ArmliteError, match="ARMLITE_IMAGES='png' is unknown; use one of kitty, sixel, blocks, none"):
        pictures.choose_protocol({"ARMLITE_IMAGES": "png"}, True)


def test_a_live_step_is_drawn_from_what_the_episode_holds():
    infos = {
        "img_0": ImageInfo(id="img_0", file="a.png", width=80, height=40),
        "img_1": ImageInfo(id="img_1", file="b.png", width=20, height=20, parent="img_0", box=(0, 0, 20, 20)),
        "img_2": ImageInfo(id="img_2", file="c.png", width=30, height=40, page=7),
    }
    seen = Observation(ok=True, text="look", images=("img_1", "img_2", "img_9"), tool="f")
    step = Step(turn=Turn(text="x"), observation=seen)
    console = new_console()
    draw_step(console, step, infos, lambda i: Image.new("RGB", (i.width, i.height), "navy"), protocol="blocks")
    text = re.sub(r" {3,}", " | ", plain_words(output_of(console)))
    assert "img_0 · 80x40 | img_1 · 20x20 · from img_0" in text
    assert "img_2 · 30x40 · page 7" in text


def test_every_way_to_stop_has_its_words():
    assert set(STOPS) == set(StopReason)
