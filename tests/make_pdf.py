"""A tiny PDF writer for tests: real files with text pages and picture pages, made in place."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

Page = str | Image.Image
"""A text page (its lines; a line that starts with `# ` is a heading) or a page that is one picture."""


def write_pdf(path: Path, pages: Sequence[Page], size: tuple[int, int] = (612, 792)) -> Path:
    """Write a PDF of pages of `size` points and return its path."""
    objects: list[bytes] = [
        b"",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    kids = []
    for page in pages:
        if isinstance(page, str):
            content, resources = _text(page, size[1]), b"/Font << /F1 3 0 R >>"
        else:
            objects.append(_image(page))
            content = f"q {size[0]} 0 0 {size[1]} 0 0 cm /Im1 Do Q".encode()
            resources = f"/XObject << /Im1 {len(objects)} 0 R >>".encode()
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
        box = f"/MediaBox [0 0 {size[0]} {size[1]}] /Contents {len(objects)} 0 R".encode()
        objects.append(b"<< /Type /Page /Parent 2 0 R %s /Resources << %s >> >>" % (box, resources))
        kids.append(f"{len(objects)} 0 R")
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>".encode()
    path.write_bytes(_file(objects))
    return path


def _text(page: str, height: int) -> bytes:
    lines, y = [], height - 60
    for line in page.split("\n"):
        big = line.startswith("# ")
        shown = line.removeprefix("# ").replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        lines.append(f"BT /F1 {20 if big else 11} Tf 60 {y} Td ({shown}) Tj ET")
        y -= 28 if big else 15
    return "\n".join(lines).encode("cp1252")


def _image(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.convert("RGB").save(data, "JPEG", quality=90)
    head = f"/Width {image.width} /Height {image.height} /ColorSpace /DeviceRGB /BitsPerComponent 8".encode()
    body = data.getvalue()
    return b"<< /Type /XObject /Subtype /Image %s /Filter /DCTDecode /Length %d >>\nstream\n%s\nendstream" % (
        head,
        len(body),
        body,
    )


def _file(objects: Sequence[bytes]) -> bytes:
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)
