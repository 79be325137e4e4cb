"""Both ends of the ranges of versions: `python tests/real/versions.py [--folder FOLDER] [--only NAME ...]`; 15 minutes
each, most of it the installation.

Each end is an environment of its own with armlite of this checkout, in which the tests of engine, update, loading and
trainer run. What came of it is kept in `armlite/tried.yaml`, from which `armlite doctor` tells; nothing of this is CI.
TRL 1.15 trains on a GPU only, so that the trainer's tests are left out beside it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "armlite" / "tried.yaml"
HEAD = "# Versions that engine, update, loading and trainer were tested with; tests/real/versions.py writes it.\n"
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes")
ENGINE = ("engine", "prefix", "vision", "layers_of_engine", "loading", "adapters_of_others", "graphs", "devices")
TRAINER = ("trainer_steps", "trainer_batch", "microbatch", "survival")


@dataclass(frozen=True)
class End:
    """One end of the ranges."""

    python: str
    pins: tuple[str, ...]
    tests: tuple[str, ...]


ENDS = {
    "oldest": End("3.11", ("transformers==5.17.0", "trl==1.15.0"), ENGINE),
    "oldest with TRL 1.16": End("3.11", ("transformers==5.17.0", "trl==1.16.0"), ENGINE + TRAINER),
    "newest": End("3.13", ("transformers==5.24.0", "trl==1.16.0"), ENGINE + TRAINER),
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--folder", type=Path, default=ROOT / ".real/versions", help="of the environments")
    words.add_argument("--only", choices=ENDS, nargs="*", default=list(ENDS), help="which ends; else all")
    asked = words.parse_args()
    for name in asked.only:
        found = try_end(ENDS[name], asked.folder / name.replace(" ", "-"))
        keep(name, found)
        print(f"{name}: {json.dumps(found)}", file=sys.stderr)


def try_end(end: End, folder: Path) -> dict[str, Any]:
    """Install an end and run its tests; returns what was there and what came of it."""
    python = folder / "bin" / "python"
    if not (folder / "installed").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if subprocess.run([f"python{end.python}", "-m", "venv", folder], check=False).returncode:
            raise SystemExit(f"there is no python{end.python} on PATH that makes environments")
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "torch==2.13.0"], check=True)
        subprocess.run([*pip, "-e", f"{ROOT}[test]", *end.pins], check=True)
        (folder / "installed").touch()
    names = json.dumps(PACKAGES)
    code = f"import json; from importlib.metadata import version as v; print(json.dumps({{n: v(n) for n in {names}}}))"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    exact = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    files = [f"tests/test_{name}.py" for name in end.tests]
    report = folder / "tests.xml"
    command = [python, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
    with (folder / "tests.log").open("w") as log:
        subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log, check=False
        )
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = [f"{c.get('classname')}::{c.get('name')}" for c in cases if {"failure", "error"} & {e.tag for e in c}]
    skipped = sum(any(e.tag == "skipped" for e in c) for c in cases)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"python": exact, **json.loads(told)},
        "tests": " ".join(end.tests),
        "passed": len(cases) - len(failed) - skipped,
        "failed": failed,
    }


def keep(name: str, found: dict[str, Any]) -> None:
    """Put an end among those that were tried."""
    kept = yaml.safe_load(KEPT.read_text("utf-8")) if KEPT.is_file() else {}
    kept[name] = found
    KEPT.write_text(HEAD + yaml.safe_dump(kept, sort_keys=False, width=120), "utf-8")


if __name__ == "__main__":
    main()
