"""The picture of the demo page on the front page: `python tests/real/picture.py`. Needs a Chromium on PATH.

The PNG holds the hash of the page that it shows, so that a test without a browser can tell whether it is of today.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, PngImagePlugin

sys.path.insert(0, str(Path(__file__).parents[2]))

from armlite.cli import main as armlite

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "armlite" / "docs" / "pictures" / "page.png"
SIZE = (1200, 760)
COLOURS = 128
PAGE = "page-sha256"
"""Name of the PNG's text that holds the hash."""


def demo_page(folder: Path) -> Path:
    """The page of `armlite view --demo`."""
    file = folder / "demo.html"
    try:
        armlite(["view", "--demo", "--html", str(file)])
    except SystemExit as end:
        if end.code:
            raise
    return file


def digest(page: Path) -> str:
    """Of the page; the same wherever it was written."""
    return hashlib.sha256(page.read_bytes()).hexdigest()


def main() -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("there is no Chromium on PATH")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page, shot = demo_page(folder), folder / "shot.png"
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=4000"]
        size = f"--window-size={SIZE[0]},{SIZE[1]}"
        subprocess.run([browser, *words, size, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True)
        about = PngImagePlugin.PngInfo()
        about.add_text(PAGE, digest(page))
        with Image.open(shot) as image:
            few = image.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
            few.save(PICTURE, optimize=True, pnginfo=about)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
