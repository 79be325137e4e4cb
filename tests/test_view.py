"""The viewer: what happened is all there, text is only text, pictures arrive in every protocol, keys lead somewhere."""

import base64
import hashlib
import io
import itertools
import json
import os
import pty
import re
import termios
from html.parser import HTMLParser

import pytest
import typer
from PIL import Image, ImageDraw
from rich.console import Console
from typer.testing import CliRunner

from armlite import store
from armlite.cli.view import view
from armlite.errors import ArmliteError
from armlite.store import Saved
from armlite.types import Call, ImageInfo, Observation, Score, Step, StopReason, Task, Trajectory, Turn
from armlite.view import images as pictures
from armlite.view.demo import demo
from armlite.view.html import to_html
from armlite.view.pager import page
from armlite.view.terminal import draw_step, draw_trajectory
from armlite.view.text import literal

HOSTILE = (
    "\x1b[2J\" onclick=1 <script>alert(1)</script></script><img src=x onerror=alert(2)> ' & [red]mark[/red] "
    "[link=file:///]up[/] :smile: \x1b]0;title\x07 \x9b2J \x7f \u202etxt.exe \ud800 two\r\nlines"
)

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


def _console():
    file = io.StringIO()
    return Console(file=file, width=100, height=60, force_terminal=True, color_system="truecolor", highlight=False)


def _output(console):
    return console.file.getvalue()


def _words(ansi):
    """Terminal output without colours and trailing blanks; fails on any other escape sequence."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", ansi)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", plain)
    return "\n".join(line.rstrip() for line in plain.split("\n"))


def _hostile_row():
    """A task whose every text is an attack, answered wrongly after three bad turns."""
    turns = [
        Turn(text=HOSTILE, call=Call(name=HOSTILE, arguments={HOSTILE: [HOSTILE, 1]}), tokens=1),
        Turn(text="", fault="empty"),
        Turn(text=f"<think>x</think><answer>{HOSTILE}</answer>", think="x", answer=HOSTILE, well_formed=True),
    ]
    seen = [Observation(ok=False, text=HOSTILE, tool=HOSTILE), Observation(ok=False, text="Your turn was empty."), None]
    task = Task(
        id=HOSTILE,
        kind="listwise",
        question=HOSTILE,
        responses=(HOSTILE, "b", "c"),
        constraints=(HOSTILE,),
        document=HOSTILE,
        gold=(1, 3),
        meta={"family": HOSTILE},
    )
    trajectory = Trajectory(
        task=task,
        prompt=HOSTILE,
        steps=tuple(Step(turn=t, observation=o) for t, o in zip(turns, seen, strict=True)),
        stop=StopReason.ANSWERED,
        decision=2,
        model=HOSTILE,
        rollout=3,
    )
    return Saved(trajectory=trajectory, score=Score(parts={HOSTILE: -0.5, "format": 0.25}))


def _no_pixels(info):
    raise ArmliteError(f"image {info.id} is missing")


def test_the_demo_looks_as_it_always_did():
    row, images = demo()
    steps = [
        s.model_copy(update={"observation": s.observation.model_copy(update={"text": "(what the tool said)"})})
        if s.observation
        else s
        for s in row.trajectory.steps
    ]
    trajectory = row.trajectory.model_copy(update={"steps": tuple(steps)})
    console = _console()
    draw_trajectory(console, trajectory, row.score, lambda i: images[i.file], protocol="none", place="1 of 1")
    assert _words(_output(console)) == DEMO
    assert row.trajectory.steps[0].observation.text.startswith("Here is `observation_1`")


def test_whatever_a_model_wrote_is_shown_literally_in_the_terminal():
    row = _hostile_row()
    console = _console()
    draw_trajectory(console, row.trajectory, row.score, _no_pixels, protocol="none")
    text = _words(_output(console))
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
    console = _console()
    draw_step(console, Step(turn=turn), {}, _no_pixels, number=4)
    lines = [re.sub(r"\s+", " ", line).strip() for line in _words(_output(console)).splitlines()]
    assert [line for line in lines if line][1:] == shown
    assert lines[1].startswith("step 4")
    assert not any(line.startswith(hidden) for line in lines)


def test_a_missing_image_is_said_in_its_place_and_the_rest_is_drawn():
    row, images = demo()
    gone = row.trajectory.images[1].file
    console = _console()

    def pixels(info):
        return _no_pixels(info) if info.file == gone else images[info.file]

    draw_trajectory(console, row.trajectory, row.score, pixels, protocol="blocks")
    text = _words(_output(console))
    assert "[image img_1 138x88] from img_0 (image img_1 is missing)" in text
    assert "img_2 · 138x88 · from img_0" in text
    assert "verdict" in text
    page_text = to_html([row], lambda _, info: pixels(info))
    assert "image img_1 is missing" in page_text
    assert f'data-file="{gone}"' not in page_text


def test_half_blocks_hold_each_pixel_and_the_crop_box_is_drawn_where_the_crop_was():
    image = Image.new("RGB", (40, 40), (0, 0, 255))
    console = _console()
    console.print(
        pictures.Gallery([pictures.Picture("a", image, box=(10, 20, 30, 40))], "blocks", 0, columns=40, rows=20)
    )
    cells = _cells(_output(console))
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
    console = _console()
    shots = [pictures.Picture(name, image) for name in ("left", "right", "third one below")]
    console.print(pictures.Gallery(shots, protocol, indent=4, columns=30, rows=10))
    text = _output(console)
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
    reader = _Reader(to_html([row, _hostile_row()], lambda _, info: images[info.file], title=HOSTILE))
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


def _rows(count):
    row, images = demo()
    rows = []
    for i in range(1, count + 1):
        task = row.trajectory.task.model_copy(update={"id": f"task-{i}"})
        rows.append(Saved(trajectory=row.trajectory.model_copy(update={"task": task}), score=row.score))
    return rows, images


@pytest.mark.parametrize(
    ("keys", "visited"),
    [
        (b"q", [1]),
        (b"nnnnq", [1, 2, 3]),
        (b"npq", [1, 2, 1]),
        (b"\x1b[C\x1b[Dq", [1, 2, 1]),
        (b"3\rpq", [1, 3, 2]),
        (b"93\x7f\x7f2\nq", [1, 2]),
        (b"9\rxq", [1]),
        (b"G q", [1, 2]),
        (b"\x04", [1]),
        (b"n\x1b", [1, 2]),
    ],
)
def test_keys_lead_from_trajectory_to_trajectory_and_the_terminal_is_given_back(keys, visited):
    rows, images = _rows(3)
    main, end = pty.openpty()
    with open(end, closefd=False) as keyboard, open(main, "wb", buffering=0):
        # The keys are typed ahead; without line mode, so that Ctrl-D and Enter wait as bytes.
        before = termios.tcgetattr(end)
        before[0] &= ~termios.ICRNL
        before[3] &= ~termios.ICANON
        termios.tcsetattr(end, termios.TCSANOW, before)
        os.write(main, keys)
        console = _console()
        page(console, rows, lambda _, info: images[info.file], protocol="none", keyboard=keyboard)
        assert termios.tcgetattr(end)[3] == before[3]
        assert before[3] & termios.ECHO
    os.close(end)
    assert [int(n) for n in re.findall(r"task-(\d)\x1b", _output(console))] == visited
    assert _output(console).count("\x1b[?1049h") == _output(console).count("\x1b[?1049l") == 1


def test_without_a_keyboard_everything_is_printed():
    rows, images = _rows(3)
    console = Console(file=io.StringIO(), width=100, highlight=False)
    page(console, rows, lambda _, info: images[info.file], keyboard=io.StringIO("n"))
    text = _words(_output(console))
    assert re.findall(r"task-(\d) .*?(\d) of 3", text) == [("1", "1"), ("2", "2"), ("3", "3")]
    assert text.count("verdict") == 3


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(view)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0
        return result

    return run


@pytest.fixture
def saved(tmp_path):
    rows, images = _rows(3)
    store.save(tmp_path / "run" / "eval" / "rows.jsonl", rows, images)
    return tmp_path / "run", rows


def test_json_prints_the_selected_rows_as_they_were_saved(command, saved):
    run, rows = saved
    lines = command(run, "--json").stdout.splitlines()
    assert [Saved.from_json(line) for line in lines] == rows
    assert command(run, "--json", "--index", 2).stdout.splitlines() == lines[1:2]
    assert command(run, "--json", "--id", "task-3").stdout.splitlines() == lines[2:]
    assert Saved.from_json(command("--demo", "--json").stdout) == demo()[0]


def test_html_goes_to_its_file_and_text_to_the_pipe(command, saved, tmp_path):
    run, _ = saved
    target = tmp_path / "page.html"
    result = command(run, "--html", target)
    assert result.stdout == ""
    assert f"wrote {target} (3 of 3 trajectories)" in result.stderr
    assert target.read_text("utf-8").count("<article") == 3
    assert "[image img_0 960x640]" in command(run, "--index", 1).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a trajectory file or a run directory, or use --demo"),
        (["--demo", "x.jsonl"], "leave out x.jsonl"),
        (["RUN/evil"], r"no file or folder .*evil\. Did you mean 'eval'\?"),
        (["RUN/eval/images"], "holds no trajectories"),
        (["RUN", "--index", "0"], "--index 0 is out of range; there are trajectories 1 to 3"),
        (["RUN", "--index", "4"], "trajectories 1 to 3"),
        (["RUN", "--id", "task-33"], r"no trajectory has the id 'task-33'\. Did you mean 'task-3'\?"),
        (["RUN", "--id", "task-3", "--index", "3"], "either --index or --id"),
        (["--demo", "--html", "RUN"], "cannot write .*: it is not a regular file"),
    ],
)
def test_a_mistake_on_the_command_line_is_said_in_one_line(command, saved, arguments, message):
    run, _ = saved
    with pytest.raises(ArmliteError, match=message) as error:
        command(*[a.replace("RUN", str(run)) for a in arguments])
    assert "\n" not in str(error.value)


def test_a_live_step_is_drawn_from_what_the_episode_holds():
    infos = {
        "img_0": ImageInfo(id="img_0", file="a.png", width=80, height=40),
        "img_1": ImageInfo(id="img_1", file="b.png", width=20, height=20, parent="img_0", box=(0, 0, 20, 20)),
        "img_2": ImageInfo(id="img_2", file="c.png", width=30, height=40, page=7),
    }
    seen = Observation(ok=True, text="look", images=("img_1", "img_2", "img_9"), tool="f")
    step = Step(turn=Turn(text="x"), observation=seen)
    console = _console()
    draw_step(console, step, infos, lambda i: Image.new("RGB", (i.width, i.height), "navy"), protocol="blocks")
    text = re.sub(r" {3,}", " | ", _words(_output(console)))
    assert "img_0 · 80x40 | img_1 · 20x20 · from img_0" in text
    assert "img_2 · 30x40 · page 7" in text
