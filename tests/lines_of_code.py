"""Lines of code of the package by room: without comments, docstrings and blank lines, in `.py` and `.jinja` files.

Run: python tests/lines_of_code.py [FOLDER] [--against COMMIT]
"""

import argparse
import ast
import io
import re
import subprocess
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUFFIXES = (".py", ".jinja")
_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def lines_of_code(name: str, text: str) -> int:
    """How many lines of a file hold code; a text that stands alone as a statement is a docstring."""
    if name.endswith(".jinja"):
        return sum(bool(line.strip()) for line in re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL).splitlines())
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(code)


def by_room(files: dict[str, str]) -> Counter[str]:
    """Room (a folder of the package, or `*` for the files beside them) -> its lines; `files`: path below -> text."""
    rooms: Counter[str] = Counter()
    for name, text in files.items():
        rooms[name.split("/")[0] + "/" if "/" in name else "*"] += lines_of_code(name, text)
    return rooms


def files_here(folder: Path) -> dict[str, str]:
    """The files below a folder as they are now."""
    found = (p for p in sorted(folder.rglob("*")) if p.suffix in SUFFIXES)
    return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in found}


def files_at(commit: str, folder: Path) -> dict[str, str]:
    """The files below a folder as they were at a commit."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout

    names = git("ls-tree", "-r", "--name-only", commit, ".").splitlines()
    return {name: git("show", f"{commit}:./{name}") for name in names if name.endswith(SUFFIXES)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "armlite")
    parser.add_argument("--against", metavar="COMMIT", help="lines at a commit, and the difference, beside those now")
    args = parser.parse_args()
    now = by_room(files_here(args.folder))
    then = by_room(files_at(args.against, args.folder)) if args.against else None
    rows = [(room, (then or {}).get(room, 0), now[room]) for room in sorted({*now, *(then or {})})]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    for room, before, after in rows:
        print(f"{room:<12}{after:>7}" if then is None else f"{room:<12}{before:>7}{after:>7}{after - before:>+7}")


if __name__ == "__main__":
    main()
