"""A tiny PDF writer for tests: real files with text pages and picture pages, made in place."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

Page = str | Image.Image
"""A text page (its lines; a line that starts with `# ` is a heading) or a page that is one picture. With letters that
Windows-1252 lacks a text can be read and searched, but its glyphs are blank, as no font is embedded."""


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
            if not _is_western(page):
                objects += _letters(page, len(objects))
                resources = f"/Font << /F1 {len(objects)} 0 R >>".encode()
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


def _is_western(page: str) -> bool:
    return page.encode("cp1252", "ignore").decode("cp1252") == page


def _letters(page: str, count: int) -> list[bytes]:
    """A font whose codes are those of UTF-16; `count` objects come before its own."""
    pairs = "\n".join(f"<{ord(c):04x}> <{ord(c):04x}>" for c in sorted(set(page)))
    table = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /U def\n"
        f"1 begincodespacerange <0000> <ffff> endcodespacerange\n{len(set(page))} beginbfchar\n{pairs}\nendbfchar\n"
        "endcmap end end"
    ).encode()
    return [
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(table), table),
        b"<< /Type /FontDescriptor /FontName /U /Flags 4 /FontBBox [0 -200 1000 900] /ItalicAngle 0 /Ascent 900 "
        b"/Descent -200 /CapHeight 700 /StemV 80 >>",
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /U /DW 1000 /FontDescriptor %d 0 R /CIDSystemInfo "
        b"<< /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>" % (count + 2),
        b"<< /Type /Font /Subtype /Type0 /BaseFont /U /Encoding /Identity-H /DescendantFonts [%d 0 R] "
        b"/ToUnicode %d 0 R >>" % (count + 3, count + 1),
    ]


def _text(page: str, height: int) -> bytes:
    lines, y = [], height - 60
    for line in page.split("\n"):
        big = line.startswith("# ")
        shown = line.removeprefix("# ")
        if _is_western(page):
            shown = "(" + shown.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") + ")"
        else:
            shown = f"<{shown.encode('utf-16-be').hex()}>"
        lines.append(f"BT /F1 {20 if big else 11} Tf 60 {y} Td {shown} Tj ET")
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
