"""Command lines run in this process, files to name in them, and what a mistake looks like."""

import struct
import sys
import zlib
from pathlib import Path

import pytest
from make_pdf import write_pdf
from PIL import Image
from pypdf import PdfWriter

from armlite.cli import main

ARMLITE = [sys.executable, "-m", "armlite"]


def work_in(folder, monkeypatch):
    """Makes a folder the one to work in, with a good photo and a good PDF, and what can be wrong with either."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    Image.radial_gradient("L").convert("RGB").save("photo.jpg")
    write_pdf(Path("paper.pdf"), ["# Intro\nThe pier.", "# Results\nTable 1: a lighthouse stands there.", "The end."])
    Path("text.png").write_text("I am no picture")
    Path("cut.jpg").write_bytes(Path("photo.jpg").read_bytes()[:900])
    Path("huge.png").write_bytes(_png_header(20_000, 10_000))
    Path("empty.pdf").write_bytes(b"")
    Path("cut.pdf").write_bytes(Path("paper.pdf").read_bytes()[:600])
    Path("letter.pdf").write_text("Dear Sir,")
    Path("folder").mkdir()
    writer = PdfWriter(clone_from="paper.pdf")
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write("locked.pdf")
    return folder


def _png_header(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def runner(capsys):
    """What runs a command line in this process: (exit status, stdout, stderr)."""

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


def is_one_line(err, *words):
    """A mistake is told in one line that names it, after at most a line of progress, and without a traceback."""
    lines = [line for line in err.splitlines() if not line.startswith(("judging with", "loading"))]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return all(word in lines[0] for word in words)
