"""A run's answers in other kits' forms, read back with what reads them there."""

import csv
import hashlib
import io
import json

import pytest
from published.answers import answered

from armlite.evals.benchmarks import get_benchmark
from armlite.evals.exports import EXCEL_CELL, lmms_rows, tsv, vlmevalkit_rows, xlsx
from armlite.evals.figures import Item
from armlite.types import Task

CHOICE = Task(
    id="c1",
    kind="multiple_choice",
    question='What\tcolour is "it"?\nLook.',
    images=("images/a.png",),
    options={"A": "red", "B": "green; or so", "C": "blue"},
    gold="B",
    source="vstar/direct_attributes",
)
PAIR = Task(
    id="p1",
    kind="pairwise",
    question="Which?",
    responses=("eins", "zwei"),
    gold=2,
    source="vl-rewardbench/general",
    meta={"group": {"category": "general"}},
)
SAYS_2 = "<think>Both.</think><answer>Overall Judgment: Answer 2 is better.</answer>"


def test_the_table_has_the_columns_that_vlmevalkit_reads_and_survives_tabs_and_quotes():
    items = [
        Item(CHOICE, (answered(CHOICE, "<think>Green.</think><answer>B</answer>"),)),
        Item(PAIR, (answered(PAIR, SAYS_2, order=(2, 1)), answered(PAIR, "no idea", rollout=1))),
        Item(CHOICE, (answered(CHOICE, "I think it is B"),)),
    ]
    rows = list(csv.DictReader(io.StringIO(tsv(vlmevalkit_rows(items))), dialect="excel-tab"))
    assert [row["index"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["question"] == CHOICE.question
    assert (rows[0]["A"], rows[0]["B"], rows[0]["C"]) == ("red", "green; or so", "blue")
    assert (rows[0]["answer"], rows[0]["category"], rows[0]["prediction"]) == ("B", "direct_attributes", "B")
    assert json.loads(rows[1]["response"]) == ["eins", "zwei"]
    assert (rows[1]["answer"], rows[1]["order"]) == ("2", "[2, 1]")
    assert rows[1]["prediction"] == "Overall Judgment: Answer 2 is better.", "the first vote, as the model wrote it"
    assert rows[2]["prediction"] == "I think it is B", "no answer was marked: the whole turn"


def test_the_sheet_holds_the_same_and_no_formula():
    openpyxl = pytest.importorskip("openpyxl")
    task = CHOICE.model_copy(update={"question": "=1+1\x0b" + "x" * 40_000})
    rows = vlmevalkit_rows([Item(task, (answered(task, "<think>t</think><answer>B</answer>"),))])
    sheet = openpyxl.load_workbook(io.BytesIO(xlsx(rows))).active
    header, values = list(sheet.iter_rows())
    cells = dict(zip([c.value for c in header], values, strict=True))
    assert cells["question"].data_type == "s" and cells["question"].value.startswith("=1+1xxx")
    assert len(cells["question"].value) == EXCEL_CELL
    assert cells["prediction"].value == "B"


def test_the_samples_log_has_the_keys_of_lmms_eval():
    item = Item(PAIR, (answered(PAIR, SAYS_2), answered(PAIR, "no idea", rollout=1)))
    [row] = lmms_rows(get_benchmark("vl-rewardbench"), [item])
    keys = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "doc_hash", "prompt_hash", "target_hash"}
    assert set(row) == keys | {"acc_parsed"}
    assert row["resps"] == [[SAYS_2, "no idea"]] and row["filtered_resps"] == ["2", ""]
    assert (row["target"], row["target_hash"]) == ("2", hashlib.sha256(b"2").hexdigest())
    assert row["doc"]["responses"] == ["eins", "zwei"]
    assert json.loads(json.dumps(row)) == row
