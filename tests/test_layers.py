"""The layers: a file of the package imports its own level or a lower one, inside functions too."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "armlite"
LEVELS = (
    "types errors",
    "hub images imports jsonl kept lock memory png protocol remote settings store tools",
    "calibration episode rewards rubric tournament votes",
    "journal loop runner",
    "data models pocket recipe rules stages view",
    "adapters asking audit batch bench chat claims curation doctor evals judge label panel plan serve telemetry train",
    "cli __init__ __main__",
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names.split()}


def test_no_file_imports_from_a_higher_level():
    upward: list[str] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        own = file.relative_to(PACKAGE).with_suffix("").parts[0]
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        typing = [n for n in nodes if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
        unseen = {inner for block in typing for inner in ast.walk(block)}
        for node in (n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) and n not in unseen):
            names = [f"{getattr(node, 'module', '')}.{alias.name}.".lstrip(".") for alias in node.names]
            wanted = {name.split(".")[1] for name in names if name.startswith("armlite.")}
            upward += [f"{file.relative_to(PACKAGE)}:{node.lineno} {w}" for w in wanted if LEVEL.get(w, 6) > LEVEL[own]]
    assert upward == []
