"""Our figures and exports beside what the kits themselves gave, as the commands in `tests/real` kept it."""

import json
from functools import cache
from pathlib import Path

import pytest
from published.answers import answered
from real.letter_forms import OPTIONS
from real.rows import sets, spoken
from real.there import in_lmms_eval, in_vlmevalkit

from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.benchmarks.letters import lmms_hr_bench_letter, lmms_vstar_letter, vlmevalkit_letter
from armlite.evals.benchmarks.mme_realworld import kits_letter
from armlite.evals.exports import lmms_rows, vlmevalkit_rows
from armlite.evals.figures import Item
from armlite.evals.orders import presented

REAL = Path(__file__).parent / "real"
RULES = {
    "vlmevalkit": vlmevalkit_letter,
    "mme_realworld": kits_letter,
    "lmms_hr_bench": lmms_hr_bench_letter,
    "lmms_vstar": lmms_vstar_letter,
    "lmms_mme_realworld": kits_letter,
}


@cache
def committed(name):
    return json.loads((REAL / "committed" / name).read_text("utf-8"))


AGAIN = "the commands in tests/real with --write have it scored again"
SETS = {one.name: one for one in sets()}


def judged(one, folder):
    """The set's items with its turns, as an evaluation of it plays them."""
    benchmark, published = get_benchmark(one.name), folder / "published"
    published.mkdir()
    one.ours(published, one.rows)
    convert(get_set(one.name), published, folder / "tasks.jsonl")
    items = []
    for task, row in zip(read_tasks(folder / "tasks.jsonl"), one.rows, strict=True):
        [order] = presented(task, benchmark.order)
        text = row["turn"].replace("{n}", str(order.index(row["prefers"]) + 1)) if "prefers" in row else row["turn"]
        items.append(Item(task, (answered(task, text, order=order),)))
    return benchmark, items


def values(benchmark, items):
    return {name: figure.value for name, figure in benchmark.score(items).items()}


@pytest.mark.parametrize("name", [one.name for one in SETS.values() if one.vlmevalkit])
def test_vlmevalkit_scores_our_exports_and_our_model_as_we_do(name, tmp_path):
    benchmark, items = judged(SETS[name], tmp_path)
    kept = committed("vlmevalkit.json")["sets"][name]
    exported = [[row["index"], row["prediction"]] for row in vlmevalkit_rows(benchmark, items)]
    assert exported == kept["predictions"], f"the kit has scored another export: {AGAIN}"
    wanted = in_vlmevalkit(name, values(benchmark, items), items)
    for way in ("asked", "export"):
        if way in kept:
            assert kept[way] == pytest.approx(wanted, abs=1e-4), way
    assert "export" in kept


@pytest.mark.parametrize("name", sorted(committed("lmms_eval.json")["sets"]))
def test_lmms_eval_scores_our_exports_and_our_model_as_we_do(name, tmp_path):
    benchmark, items = judged(spoken(SETS[name]), tmp_path)
    kept = committed("lmms_eval.json")["sets"][name]
    exported = [[row["doc_id"], row["filtered_resps"]] for row in lmms_rows(benchmark, items)]
    assert exported == kept["predictions"], f"the kit has scored another export: {AGAIN}"
    wanted = in_lmms_eval(name, values(benchmark, items), items)
    for way in ("asked", "export"):
        assert kept[way] == pytest.approx(wanted, abs=1e-4), way


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
