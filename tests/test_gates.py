"""What is checked of every change: the same static checks in CI and at a commit, and exceptions that only shrink."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUFF = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
MANY_PARAMETERS = 16
"""Files that may have a function of more than seven parameters. Never raise this number; lower it when you can."""


def offenders(rule, *options):
    """The files that break a rule, exceptions and comments set aside."""
    words = ["check", "--isolated", "--ignore-noqa", "--select", rule, *options, "--output-format", "json"]
    done = subprocess.run([sys.executable, "-m", "ruff", *words, "."], cwd=ROOT, capture_output=True, text=True)
    return sorted({Path(found["filename"]).relative_to(ROOT).as_posix() for found in json.loads(done.stdout)})


def test_the_files_with_functions_of_many_parameters_are_those_listed_and_get_no_more():
    listed = sorted(file for file, rules in RUFF["per-file-ignores"].items() if "PLR0913" in rules)
    assert listed == offenders("PLR0913", "--config", f"lint.pylint.max-args={RUFF['pylint']['max-args']}")
    assert len(listed) <= MANY_PARAMETERS, f"{len(listed)} files; the list may only shrink"


def test_ci_and_a_commit_run_the_same_static_checks():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace('"', "")
    hooks = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert hooks == re.findall(r"\$environment/bin/((?:ruff|mypy).*)", ci)
