"""Pictures in a terminal: kitty's graphics protocol, sixel, half blocks (two pixels a character), or a line of text.

`choose_protocol` decides by the environment alone: asking the terminal would block where nobody answers. A `Gallery` is
a rich renderable and puts pictures side by side; pixels come as PIL images, boxes are drawn here.
"""

import os
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from PIL import Image, ImageDraw
from rich.cells import cell_len
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import ControlType, Segment
from rich.style import Style
from rich.text import Text

from armlite.errors import ArmliteError
from armlite.images import as_png

Protocol = Literal["kitty", "sixel", "blocks", "none"]
CELL = (8, 16)
"""Pixels (width, height) of a character where the terminal does not say. Small: too small a picture is no harm, one
that is too large runs over the text below it."""
BOX_COLOUR = (255, 64, 48)
GAP = 3
"""Columns between two pictures."""


def choose_protocol(environ: Mapping[str, str], is_terminal: bool) -> Protocol:
    """How to show pictures here; `ARMLITE_IMAGES` overrides everything, a pipe included.

    Raises:
        ArmliteError: `ARMLITE_IMAGES` holds something else than a protocol.
    """
    wish = environ.get("ARMLITE_IMAGES", "")
    if wish:
        if wish not in get_args(Protocol):
            raise ArmliteError(f"ARMLITE_IMAGES={wish!r} is unknown; use one of {', '.join(get_args(Protocol))}")
        return cast(Protocol, wish)
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if not is_terminal or term in ("", "dumb", "unknown") or environ.get("NO_COLOR"):
        return "none"
    if environ.get("TMUX") or term.startswith(("tmux", "screen")):
        return "blocks"  # a multiplexer passes no graphics on unless it is told to
    if environ.get("KITTY_WINDOW_ID") or term in ("xterm-kitty", "xterm-ghostty") or program in ("ghostty", "WezTerm"):
        return "kitty"
    if term.startswith(("foot", "mlterm", "contour")) or "sixel" in term or program in ("iTerm.app", "mintty"):
        return "sixel"
    if environ.get("COLORTERM") or "color" in term or term in ("linux", "xterm"):
        return "blocks"
    return "none"


@dataclass(frozen=True)
class Picture:
    """One picture of a gallery."""

    caption: str
    image: Image.Image | None
    """None: it could not be opened; then `note` is shown."""
    box: tuple[int, int, int, int] | None = None
    """Left, top, right, bottom in pixels of the image, drawn on it."""
    note: str = ""


class Gallery:
    """Pictures side by side, each with its caption below, as many in a line as fit.

    Args:
        pictures: what to show.
        protocol: how.
        indent: columns left free on the left.
        columns, rows: room for each picture, in characters.
    """

    def __init__(
        self, pictures: Sequence[Picture], protocol: Protocol, indent: int = 0, columns: int = 44, rows: int = 14
    ):
        self.pictures, self.protocol, self.indent = pictures, protocol, indent
        self.columns, self.rows = columns, rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        protocol = "none" if self.protocol == "blocks" and console.color_system is None else self.protocol
        if protocol == "none":
            for picture in self.pictures:
                yield from self._as_text(picture, console, options)
            return
        room = max(8, options.max_width - self.indent)
        columns, rows = min(self.columns, room), max(2, min(self.rows, console.height - 3))
        line: list[tuple[Picture, int, int, int]] = []
        used = 0
        for picture in self.pictures:
            if picture.image is None:
                yield from self._as_text(picture, console, options)
                continue
            wide, high = fit(picture.image.size, columns, rows)
            slot = min(room, max(wide, cell_len(picture.caption)))
            if line and used + slot > room:
                yield from self._line(line, protocol, console, options)
                line, used = [], 0
            line.append((picture, wide, high, slot))
            used += slot + GAP
        if line:
            yield from self._line(line, protocol, console, options)

    def _as_text(self, picture: Picture, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        name, *rest = picture.caption.split(" · ")
        text = Text(" " * self.indent + f"[image {name} {rest[0] if rest else ''}]", style="dim")
        for words in (*rest[1:], *(["box " + ",".join(map(str, picture.box))] if picture.box else [])):
            text.append(f" {words}")
        text.append(f" {picture.note}" if picture.note else "", style="red")
        yield from console.render(text, options)

    def _line(
        self, line: list[tuple[Picture, int, int, int]], protocol: str, console: Console, options: ConsoleOptions
    ) -> Iterator[Segment]:
        height = max(high for _, _, high, _ in line)
        pad, gap = Segment(" " * self.indent), Segment(" " * GAP)
        if protocol == "blocks":
            drawn = [(list(half_blocks(_pixels(p, wide, high * 2))), wide, slot) for p, wide, high, slot in line]
            for row in range(height):
                yield pad
                for cells, wide, slot in drawn:
                    here = row < len(cells)
                    yield from cells[row] if here else ()
                    yield Segment(" " * (slot - wide if here else slot) + gap.text)
                yield Segment.line()
        else:
            # The rows are written first, so that a picture at the bottom of the screen scrolls before it is placed.
            yield Segment("\n" * height)
            yield _control(f"\x1b[{height}A\r")
            across = self.indent
            for picture, wide, high, slot in line:
                cell = cell_size(console)
                image = _pixels(picture, wide * cell[0], high * cell[1], thickness=3)
                data = kitty(image, wide, high) if protocol == "kitty" else f"\x1b7{sixel(image)}\x1b8"
                yield _control((f"\x1b[{across}C" if across else "") + data + "\r")
                across += slot + GAP
            yield _control(f"\x1b[{height}B\r")
        captions = Text(" " * self.indent, style="dim", no_wrap=True, overflow="crop")
        for picture, _, _, slot in line:
            words = Text(picture.caption)
            words.truncate(slot, pad=True)
            captions.append_text(words).append(gap.text)
        captions.rstrip()
        yield from console.render(captions, options)


def fit(size: tuple[int, int], columns: int, rows: int) -> tuple[int, int]:
    """Characters (columns, rows) that a picture of `size` pixels fills in its room; they are twice as high as wide."""
    width, height = size
    scale = min(columns / width, rows * 2 / height)
    return max(1, min(columns, round(width * scale))), max(1, min(rows, round(height * scale / 2)))


def half_blocks(image: Image.Image) -> Iterator[list[Segment]]:
    """Lines of `▀`: its own colour is the upper pixel, its background the lower. The height must be even."""
    pixels: Any = image.load()
    for y in range(0, image.height, 2):
        columns = ((pixels[x, y], pixels[x, y + 1]) for x in range(image.width))
        yield list(Segment.simplify(Segment("▀", _style(upper, lower)) for upper, lower in columns))


def kitty(image: Image.Image, columns: int, rows: int) -> str:
    """The escape sequences that show a picture at the cursor in so many characters, leaving the cursor where it is.

    Source: the terminal graphics protocol, https://sw.kovidgoyal.net/kitty/graphics-protocol/
    """
    data = b64encode(as_png(image)).decode()
    chunks = [data[i : i + 4096] for i in range(0, len(data), 4096)]
    first = f"a=T,f=100,q=2,C=1,c={columns},r={rows},"
    return "".join(
        f"\x1b_G{first if i == 0 else ''}m={int(i < len(chunks) - 1)};{chunk}\x1b\\" for i, chunk in enumerate(chunks)
    )


def sixel(image: Image.Image) -> str:
    """The escape sequence of a picture in at most 255 colours.

    Source: DEC VT330/VT340 Programmer Reference, chapter 14: bands of six rows, one bit a row, `!n` repeats.
    """
    import numpy as np

    small = image.quantize(255, dither=Image.Dither.FLOYDSTEINBERG)
    palette, pixels = small.getpalette() or [], np.asarray(small).astype(int)
    height, width = pixels.shape
    out = [f'\x1bP0;1q"1;1;{width};{height}']
    for colour in np.unique(pixels):
        red, green, blue = (round(v * 100 / 255) for v in palette[colour * 3 : colour * 3 + 3])
        out.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, height, 6):
        band, rows = pixels[top : top + 6], []
        for colour in np.unique(band):
            codes = 63 + (1 << np.arange(len(band))) @ (band == colour)
            signs = codes.astype(np.uint8).tobytes().decode().rstrip("?")
            rows.append(f"#{colour}" + re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", signs))
        out.append("$".join(rows) + "-")
    return "".join(out) + "\x1b\\"


def cell_size(console: Console) -> tuple[int, int]:
    """Pixels (width, height) of one character, or `CELL` where the terminal does not say."""
    try:
        import fcntl
        import struct
        import termios

        answer = fcntl.ioctl(console.file.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("HHHH", answer)
    except (ImportError, OSError, ValueError):
        return CELL
    return (width // columns, height // rows) if width and height and rows and columns else CELL


def forced(environ: Mapping[str, str] = os.environ) -> bool:
    """Does the user want pictures even in a pipe?"""
    return environ.get("ARMLITE_IMAGES", "none") not in ("", "none")


def _pixels(picture: Picture, width: int, height: int, thickness: int = 1) -> Image.Image:
    """The picture in exactly so many pixels with its box drawn, at least three pixels wide and high."""
    assert picture.image is not None
    source = picture.image.convert("RGB")
    smaller = width <= source.width
    image = source.resize((width, height), Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC)
    if picture.box is not None:
        across, down = width / source.width, height / source.height
        left, top, right, bottom = (round(v * s) for v, s in zip(picture.box, (across, down) * 2, strict=True))
        left, top = max(0, min(left, width - 3)), max(0, min(top, height - 3))
        right, bottom = min(max(right - 1, left + 2), width - 1), min(max(bottom - 1, top + 2), height - 1)
        draw = ImageDraw.Draw(image)
        if thickness > 1:
            draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline="white", width=thickness + 2)
        draw.rectangle((left, top, right, bottom), outline=BOX_COLOUR, width=thickness)
    return image


def _style(upper: tuple[int, int, int], lower: tuple[int, int, int]) -> Style:
    return Style.from_color(Color.from_rgb(*upper), Color.from_rgb(*lower))


def _control(sequence: str) -> Segment:
    """Bytes for the terminal that take no room; rich leaves them out of exports and pipes.

    The control code says nothing but must be there: rich measures, and crops, a segment whose list of codes is empty.
    """
    return Segment(sequence, None, [(ControlType.CURSOR_FORWARD, 0)])
