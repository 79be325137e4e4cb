"""Our figures beside those of the kits themselves, as `tests/real` kept them."""

import json
from pathlib import Path

import pytest
from real.letter_forms import OPTIONS

from armlite.evals.benchmarks.letters import lmms_hr_bench_letter, lmms_vstar_letter, vlmevalkit_letter
from armlite.evals.benchmarks.mme_realworld import kits_letter

REAL = Path(__file__).parent / "real"
RULES = {
    "vlmevalkit": vlmevalkit_letter,
    "mme_realworld": kits_letter,
    "lmms_hr_bench": lmms_hr_bench_letter,
    "lmms_vstar": lmms_vstar_letter,
    "lmms_mme_realworld": kits_letter,
}


def committed(name):
    return json.loads((REAL / "committed" / name).read_text("utf-8"))


@pytest.mark.parametrize("kit", ["vlmevalkit", "lmms_eval"])
def test_our_rules_read_what_the_kits_own_functions_read(kit):
    table = committed(f"letters_{kit}.json")
    assert len(table["rows"]) == 400 and table["forms"] > 2000 and table["differences"] == 0
    for place, name in enumerate(table["rules"]):
        wrong = [
            (text, answers[place], found)
            for text, which, *answers in table["rows"]
            if (found := RULES[name](text, OPTIONS[which]) or None) != answers[place]
        ]
        assert wrong == [], name
