"""A minimal PDF writer: pages of Helvetica lines, enough for the pocket world's documents. Not a general one."""

from collections.abc import Sequence

WIDTH, HEIGHT, SIZE = 160, 112, 14
"""Page and font size in points."""


def write_pdf(
    pages: Sequence[Sequence[str]],
    paper: tuple[int, int] = (WIDTH, HEIGHT),
    size: int = SIZE,
    gap: int = 6,
    figures: Sequence[str] = (),
    top: int = 16,
) -> bytes:
    """A PDF 1.4 file with one page for each list of ASCII lines.

    Args:
        paper: width and height of a page in points.
        size: of the font, in points.
        gap: points between two lines.
        figures: what is drawn on each page under its lines, in PDF's operators; none where there are fewer.
        top: points above the first line.
    """
    width, height = paper
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for number, lines in enumerate(pages):
        drawn = " ".join(f"({_escape(line)}) Tj 0 -{size + gap} Td" for line in lines)
        figure = f"{figures[number]} 0 g " if number < len(figures) else ""
        stream = f"{figure}BT /F1 {size} Tf 12 {height - top - size} Td {drawn} ET".encode("ascii")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        content = len(objects)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (width, height, content)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def _escape(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
