"""A kit in an environment of its own, and what the commands for both kits share: run, compare, keep."""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE.parent)]  # for armlite of this checkout, and `published`
COMMITTED = HERE / "committed"
RANGES = ("torch>=2.8,<2.14", "torchvision<0.29")
"""Named with every installation of a kit: their own requirements take the newest torch there is."""
PLAIN = re.compile(r"""\[\n *(?:[^\[\]{}"\n]|"(?:[^"\\\n]|\\.)*"|\n)*\]""")
"""A list in JSON without lists or objects in it."""
NO_OPERATORS = """\
import torch  # put here by tests/real: this torchvision was built for another torch and has no operators
for _name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


@dataclass
class Kit:
    """An environment with armlite and the kit."""

    name: str
    folder: Path
    """Environment, data and runs."""
    variables: dict[str, str]
    """Of its processes, over our own."""
    about: dict[str, str]
    """Version, commit and date, for what is committed."""

    @property
    def python(self) -> Path:
        return self.folder / "env/bin/python"

    def install(self, *requirements: str) -> None:
        """Make the environment if it is not there: torch, armlite of this checkout, the kit."""
        done = self.folder / "env/installed"
        wanted = "\n".join([*RANGES, *requirements])
        pip = [self.python, "-m", "pip", "install", "--quiet"]
        if done.is_file() and done.read_text() == wanted:
            subprocess.run([*pip, "--no-deps", "-e", ROOT], check=True)  # its entry points are read at installation
            return
        say(f"installing {self.name} into {self.folder / 'env'}")
        subprocess.run([sys.executable, "-m", "venv", self.folder / "env"], check=True)
        subprocess.run([*pip, "torch==2.13.0"], check=True)
        subprocess.run([*pip, *RANGES, "-e", f"{ROOT}[xlsx]", *requirements], check=True)
        self._mend_torchvision()
        done.write_text(wanted)

    def _mend_torchvision(self) -> None:
        """PyPI's torchvision goes with its CUDA torch only; the kits import it for transforms and need no operator."""
        tried = subprocess.run([self.python, "-c", "import torchvision"], capture_output=True, text=True, check=False)
        if tried.returncode and "torchvision::nms does not exist" in tried.stderr:
            [init] = (self.folder / "env").glob("lib/python*/site-packages/torchvision/__init__.py")
            init.write_text(NO_OPERATORS + init.read_text())

    def run(self, *words: str | Path, cwd: Path, stdin: str | None = None, quiet: bool = True) -> str:
        """Run its Python; returns what it printed.

        Raises:
            SystemExit: it failed; says how.
        """
        command = [self.python, *words]
        env = os.environ | self.variables | {"PYTHONUNBUFFERED": "1"}
        done = subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}")
        if not quiet:
            print(done.stdout[-2000:], file=sys.stderr)
        return done.stdout + ("" if stdin is not None else done.stderr)


def arguments(kit: str, source: str) -> argparse.Namespace:
    """Of both commands."""
    parser = argparse.ArgumentParser(
        description=f"Run {kit} itself on our fixtures and compare; see armlite docs kits."
    )
    parser.add_argument("--folder", type=Path, default=ROOT / ".real" / kit, help="environment, data and runs go here")
    parser.add_argument("--kit", type=Path, help=f"a checkout of the kit; without it: {source}")
    parser.add_argument("sets", nargs="*", help="benchmarks to compare; all unless given")
    parser.add_argument("--write", action="store_true", help="keep the kit's figures in tests/real/committed")
    return parser.parse_args()


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


Rule = Callable[[str, Mapping[str, str]], str | None]


def compare_letters(kit: Kit, side: str, ours: Mapping[str, Rule]) -> dict[str, Any]:
    """Ask the kit's own rules about all forms; what is to be kept of it.

    Raises:
        SystemExit: one of our rules differs somewhere.
    """
    from real.letter_forms import OPTIONS, forms, sample

    pairs = forms()
    answers = json.loads(kit.run(HERE / "inside/letters.py", side, cwd=kit.folder, stdin=json.dumps(pairs)))
    for name, rule in ours.items():
        asked = zip(pairs, answers[name], strict=True)
        wrong = [(text, theirs) for (text, options), theirs in asked if (rule(text, options) or None) != theirs]
        say(f"{name}: {len(pairs)} forms, {len(wrong)} read otherwise")
        if wrong:
            raise SystemExit("\n".join(map(repr, wrong[:20])))
    at = {(text, OPTIONS.index(options)): place for place, (text, options) in enumerate(pairs)}
    kept = [(text, OPTIONS.index(options)) for text, options in sample(400)]
    rows = [[text, which, *(answers[name][at[text, which]] for name in ours)] for text, which in kept]
    return {**kit.about, "forms": len(pairs), "differences": 0, "rules": list(ours), "rows": rows}


def demand(what: str, ours: float, theirs: float) -> None:
    """See that two figures are one.

    Raises:
        SystemExit: they are not.
    """
    say(f"{what}: {ours:.4f} here, {theirs:.4f} there")
    if abs(ours - theirs) > 1e-4:
        raise SystemExit(f"{what} differs")


def keep(name: str, value: Mapping[str, Any]) -> None:
    """Write a JSON file of the committed ones: lists of plain values on one line."""
    COMMITTED.mkdir(exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, indent=1)
    (COMMITTED / name).write_text(PLAIN.sub(lambda found: re.sub(r"\n *", " ", found[0]), text) + "\n", "utf-8")
    say(f"wrote {COMMITTED / name}")
