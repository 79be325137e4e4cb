"""Modes `engine` and `tool` beside what the references' own code said of the same responses, with nltk's data as pip
installs them: 131 calls of 20 responses each, sentences and all. Recorded by `tests/real/verifiers.py`.
"""

import json
from pathlib import Path

import pytest
from verifier_cases import TEXTS, calls

from armlite.tools.checks.sentences import installed_splitter
from armlite.tools.checks.verifiers import VERIFIERS, check

RECORDED = json.loads((Path(__file__).parent / "real/committed/verifiers.json").read_text("utf-8"))["answers"]


@pytest.mark.parametrize("mode", ["engine", "tool"])
def test_every_verdict_is_the_references(mode):
    pytest.importorskip("punkt")
    assert installed_splitter() == "nltk"
    asked = calls()
    assert {name for name, _ in asked} == set(VERIFIERS) and len(asked) == len(RECORDED)
    other = [
        (name, params, text)
        for (name, params), recorded in zip(asked, RECORDED, strict=True)
        for text, said in zip(TEXTS, recorded[mode], strict=True)
        if check(name, text, mode, **params).ok != said
    ]
    assert other == []
