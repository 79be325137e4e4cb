"""A run's answers in other kits' forms, read back with what reads them there."""

import csv
import io
import json

import pytest
from published import (
    hr_bench,
    logicvista,
    mathvista,
    mm_ifeval,
    mme_realworld,
    mmlongbench_doc,
    vl_rewardbench,
    vstar,
    we_math,
)
from published.answers import answered
from published.pieces import converted

from armlite.evals.benchmarks import get_benchmark
from armlite.evals.exports import EXCEL_CELL, FAILED, NO_ANSWER, lmms_rows, tsv, vlmevalkit_rows, xlsx
from armlite.evals.figures import Answer, Item
from armlite.types import Fault, StopReason, Task, Trajectory

CHOICE = Task(
    id="c1",
    kind="multiple_choice",
    question='What\tcolour is "it"?\nLook.',
    images=("images/a.png",),
    options={"A": "red", "B": "green; or so", "C": "blue"},
    gold="B",
    source="vstar/direct_attributes",
    meta={"published_id": "17", "group": {"category": "direct_attributes"}},
)
PAIR = Task(
    id="p1",
    kind="pairwise",
    question="Which?",
    responses=("eins", "zwei"),
    gold=2,
    source="vl-rewardbench/general",
    meta={"published_id": "p", "group": {"category": "general"}},
)
SAYS_2 = "<think>Both.</think><answer>Overall Judgment: Answer 2 is better.</answer>"


VSTAR, PAIRS = get_benchmark("vstar"), get_benchmark("vl-rewardbench")


def one(benchmark, task, text, **more):
    [row] = vlmevalkit_rows(benchmark, [Item(task, (answered(task, text, **more),))])
    return row


def test_the_table_has_the_columns_that_vlmevalkit_reads_and_survives_tabs_and_quotes():
    other = CHOICE.model_copy(update={"id": "c2", "meta": CHOICE.meta | {"published_id": "004"}})
    items = [
        Item(CHOICE, (answered(CHOICE, "<think>Green.</think><answer>B</answer>"),)),
        Item(other, (answered(other, "I think it is B"),)),
    ]
    rows = list(csv.DictReader(io.StringIO(tsv(vlmevalkit_rows(VSTAR, items))), dialect="excel-tab"))
    assert [row["index"] for row in rows] == ["17", "004"], "as published, not the place in this run"
    assert [row["armlite_id"] for row in rows] == ["c1", "c2"]
    assert rows[0]["question"] == CHOICE.question
    assert (rows[0]["A"], rows[0]["B"], rows[0]["C"]) == ("red", "green; or so", "blue")
    assert (rows[0]["answer"], rows[0]["category"], rows[0]["prediction"]) == ("B", "direct_attributes", "B")
    assert rows[1]["prediction"] == "I think it is B", "no answer was marked: what stands beside the thought"


def test_an_index_is_a_number_where_it_is_one_and_the_place_where_published_ids_repeat():
    twice = [Item(CHOICE, (answered(CHOICE, "<answer>B</answer>"),))] * 2
    assert [row["index"] for row in vlmevalkit_rows(VSTAR, twice)] == [0, 1]
    assert one(VSTAR, CHOICE, "<answer>B</answer>")["index"] == 17


@pytest.mark.parametrize(
    ("text", "finish", "prediction"),
    [
        ("<think>A, or B, or", "length", NO_ANSWER),
        ("<think>A? No, B.</think> It is B.", "stop", "It is B."),
        ("A? No, B.</think>It is B.", "stop", "It is B."),
        ('<think>B?</think><tool_call>{"name": "A", "arguments": {}}</tool_call>', "stop", NO_ANSWER),
        ("", "stop", NO_ANSWER),
        ("<think>t</think><answer>None</answer>", "stop", "None."),
    ],
)
def test_a_thought_or_a_call_is_no_prediction_and_no_cell_reads_as_missing(text, finish, prediction):
    from armlite.protocol.parse import parse_turn
    from armlite.types import Step

    turn = parse_turn(text, finish)
    stop = StopReason.ANSWERED if turn.answer else StopReason.NO_ANSWER
    played = Trajectory(task=CHOICE, steps=(Step(turn=turn),), stop=stop)
    [row] = vlmevalkit_rows(VSTAR, [Item(CHOICE, (Answer(played),))])
    assert row["prediction"] == prediction


def test_what_could_not_be_asked_is_marked_for_the_kit_to_ask_again():
    fault = Fault(whose="model", reason="A server that is down")
    gone = Trajectory(task=CHOICE, stop=StopReason.MODEL_ERROR, fault=fault)
    items = [Item(CHOICE, (Answer(gone),)), Item(PAIR, ())]
    assert [row["prediction"] for row in vlmevalkit_rows(VSTAR, items)] == [FAILED, FAILED]
    assert [row["filtered_resps"] for row in lmms_rows(VSTAR, items[:1])] == [NO_ANSWER], "there is no such mark there"


@pytest.mark.parametrize(
    ("responses", "order", "said", "prediction"),
    [
        (("eins", "zwei"), (1, 2), 2, 2),
        (("eins", "zwei"), (2, 1), 1, 2),  # the judge was shown the second one first
        (("eins", "drei2"), (1, 2), 2, 1),  # nine characters: both kits show the second one first
        (("eins", "drei2"), (2, 1), 1, 1),
    ],
)
def test_a_verdict_on_a_pair_has_the_numbers_that_the_kits_show(responses, order, said, prediction):
    task = PAIR.model_copy(update={"responses": responses})
    text = f"<think>t</think><answer>Overall Judgment: Answer {said} is better.</answer>"
    row = one(PAIRS, task, text, order=order)
    assert row["prediction"] == f"Overall Judgment: Answer {prediction} is better."
    assert (row["response"], row["answer"]) == (str(list(responses)), "[1, 0]"), "as published"
    [sample] = lmms_rows(PAIRS, [Item(task, (answered(task, text, order=order),))])
    assert sample["filtered_resps"] == row["prediction"]


def test_no_verdict_on_a_pair_is_no_number_in_somebodys_order():
    assert one(PAIRS, PAIR, "<think>t</think> Answer 1, or Answer 2?", order=(2, 1))["prediction"] == NO_ANSWER
    mmrb = get_benchmark("multimodal-rewardbench")
    [sample] = lmms_rows(mmrb, [Item(PAIR, (answered(PAIR, SAYS_2, order=(2, 1)),))])
    assert sample["filtered_resps"] == "[[A]]"


@pytest.mark.parametrize(
    ("module", "form", "name", "columns"),
    [
        (hr_bench, "tsv", "hr-bench-4k", {"cycle_category": "0", "category": "single"}),
        (vstar, "tsv", "vstar", {"category": "direct_attributes"}),
        (mme_realworld, "json", "mme-realworld",
         {"category": "Perception/Monitoring", "l2-category": "Vehicle/attribute/color"}),
        (we_math, "json", "we-math", {"ID": "2steps_1", "key": "2steps_1", "knowledge concept": "Concept 0"}),
        (logicvista, "json", "logicvista", {"skill": "['inductive']", "answer": "C"}),
        (mathvista, "json", "mathvista",
         {"question_type": "multi_choice", "answer_type": "text", "choices": "['28°', '30°', '32°']", "answer": "28°",
          "answer_option": "A", "task": "math word problem", "skills": "['arithmetic reasoning']"}),
        (mmlongbench_doc, "json", "mmlongbench-doc",
         {"doc_id": "tower-guide.pdf", "answer_format": "Str", "evidence_sources": "['Pure-text (Plain-text)']",
          "evidence_pages": "[2]"}),
        (mm_ifeval, "tsv", "mm-ifeval", {"infer_type": "main", "tag": "C-Level", "del_cons": ""}),
        (vl_rewardbench, "tsv", "vl-rewardbench", {"category": "hallucination", "answer": "[0, 1]"}),
    ],
)  # fmt: skip
def test_a_set_has_the_columns_that_its_own_script_in_vlmevalkit_reads(module, form, name, columns, tmp_path):
    task = next(iter(converted(tmp_path, module, form, name).values()))
    row = one(get_benchmark(name), task, "<think>t</think><answer>A</answer>")
    assert {column: row[column] for column in columns} == columns


def test_the_row_of_logicvista_without_an_answer_has_one_that_nothing_meets(tmp_path):
    task = converted(tmp_path, logicvista, "json")["v1_3"]
    assert one(get_benchmark("logicvista"), task, "<think>t</think><answer>A</answer>")["answer"] == "-"


def test_the_sheet_holds_the_same_and_no_formula():
    openpyxl = pytest.importorskip("openpyxl")
    task = CHOICE.model_copy(update={"question": "=1+1\x0b" + "x" * 40_000})
    rows = [one(VSTAR, task, "<think>t</think><answer>B</answer>")]
    sheet = openpyxl.load_workbook(io.BytesIO(xlsx(rows))).active
    header, values = list(sheet.iter_rows())
    cells = dict(zip([c.value for c in header], values, strict=True))
    assert cells["question"].data_type == "s" and cells["question"].value.startswith("=1+1xxx")
    assert len(cells["question"].value) == EXCEL_CELL
    assert (cells["prediction"].value, cells["index"].value) == ("B", 17)


def test_the_samples_log_has_the_keys_of_lmms_eval():
    item = Item(PAIR, (answered(PAIR, SAYS_2), answered(PAIR, "no idea", rollout=1)))
    [row] = lmms_rows(PAIRS, [item])
    keys = ["doc_id", "target", "resps", "filtered_resps", "token_counts", "doc_hash", "score", "input"]
    assert list(row) == keys
    assert row["resps"] == [SAYS_2, "no idea"]
    assert row["filtered_resps"] == "Overall Judgment: Answer 2 is better."
    assert (row["doc_id"], row["target"], row["score"]) == (0, "2", None), "no majority"
    assert json.loads(json.dumps(row)) == row
    plain = Item(CHOICE, (answered(CHOICE, "B"),))
    assert "resps" not in lmms_rows(VSTAR, [plain])[0], "as there, where both are the same"


def test_a_sample_counts_the_rows_that_were_left_out_before_it(tmp_path):
    from armlite.data.convert import convert
    from armlite.data.tasks import read_tasks
    from armlite.evals.benchmarks import get_set

    hr_bench.spoil(tmp_path, "tsv")  # the fourth of eight rows
    convert(get_set("hr-bench-4k"), tmp_path, tmp_path / "out" / "tasks.jsonl")
    items = [Item(task, (answered(task, "B"),)) for task in read_tasks(tmp_path / "out" / "tasks.jsonl")]
    assert [row["doc_id"] for row in lmms_rows(get_benchmark("hr-bench-4k"), items)] == [0, 1, 2, 4, 5, 6, 7]
