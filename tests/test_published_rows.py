"""Rows that the publishers' scorers take and a stricter reader would lose: each is read, and scored as they do."""

import json

import pytest
from published import armbench_vl, mathvista, mme_realworld, mp_docvqa, multimodal_rewardbench, vl_rewardbench
from published.answers import answered
from published.pieces import write_image, write_jsonl, write_parquet

from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.figures import Item


def rows_of(file, change):
    """Let `change` edit the rows of a JSON or JSONL file in place."""
    lines = file.suffix == ".jsonl"
    rows = (
        [json.loads(line) for line in file.read_text("utf-8").splitlines()] if lines else json.loads(file.read_text())
    )
    change(rows)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows), "utf-8")


def tasks_of(name, folder):
    counts = convert(get_set(name), folder, folder / "out/tasks.jsonl")
    assert counts.bad == 0
    return read_tasks(folder / "out/tasks.jsonl")


@pytest.mark.parametrize(
    ("module", "form", "file", "field"),
    [
        (vl_rewardbench, "jsonl", "**/*.jsonl", "query"),
        (multimodal_rewardbench, "json", "**/*.json", "Text"),
        (armbench_vl, "jsonl", "fine*.jsonl", "question"),
    ],
)
def test_marks_of_images_are_not_counted(module, form, file, field, tmp_path):
    assert form in module.FORMS
    module.build(tmp_path, form)
    found = next(iter(sorted(tmp_path.glob(file))))
    rows_of(found, lambda rows: rows[0].update({field: "<image>\n<image>\nWhich is it?"}))
    assert any(task.question == "Which is it?" for task in tasks_of(module.NAMES[0], tmp_path))


def test_four_options_are_options(tmp_path):
    mme_realworld.build(tmp_path, "json")
    rows_of(tmp_path / "MME_RealWorld.json", lambda rows: rows[2]["Answer choices"].pop())
    assert min(len(task.options) for task in tasks_of("mme-realworld", tmp_path)) == 4


def test_an_answer_that_is_none_of_the_choices_is_asked_and_never_right(tmp_path):
    mathvista.build(tmp_path, "json")
    rows_of(tmp_path / "testmini.json", lambda rows: rows["5"].update({"answer": "Maybe"}))
    task = next(task for task in tasks_of("mathvista", tmp_path) if task.id == "5")
    assert task.gold is None
    figures = get_benchmark("mathvista").score([Item(task, (answered(task, "<think>x</think><answer>A</answer>"),))])
    assert figures[get_benchmark("mathvista").main].value == 0


def test_a_float_answer_without_a_precision_is_a_number(tmp_path):
    mathvista.build(tmp_path, "json")
    rows_of(tmp_path / "testmini.json", lambda rows: rows["3"].update({"precision": None, "answer": "4"}))
    task = next(task for task in tasks_of("mathvista", tmp_path) if task.id == "3")
    assert task.question.endswith("Answer with a number.")
    said = answered(task, "<think>x</think><answer>4.2</answer>")  # the script rounds to a whole number
    assert get_benchmark("mathvista").score([Item(task, (said,))])[get_benchmark("mathvista").main].value == 1


def test_an_answer_page_that_the_row_does_not_have_is_an_unknown_page(tmp_path):
    rows = [mp_docvqa._published(row, hidden=False) for row in mp_docvqa._rows()]
    rows[0]["answer_page_idx"] = "7"
    write_parquet(tmp_path / "data/val-00000-of-00001.parquet", rows)
    first = tasks_of("mp-docvqa", tmp_path)[0]
    assert first.meta["evidence_pages"] == [] and first.gold == ("$1,200", "1200")


def test_a_rule_without_functions_holds_a_whole_float_is_a_number_and_an_unknown_method_is_not_scored(tmp_path):
    words = {"func": "check_whether_response_word_count_in_range", "params": [2.0, 4.0]}
    judges = [
        {"method": "rule_based", "verify_funcs": [words]},
        {"method": "rule_based", "verify_funcs": []},
        {"method": "by_hand"},
    ]
    constraints = [{"key": f"k{i}", "value": f"Mind {i}.", "judge": judge} for i, judge in enumerate(judges)]
    write_image(tmp_path / "a.png", "a")
    row = {"id": "1", "tag": "C-Level", "instruction": "Say it.", "constraints": constraints, "image": "a.png"}
    write_jsonl(tmp_path / "C-Level.jsonl", [row])
    [task] = tasks_of("mm-ifeval", tmp_path)
    for text, share in (("One two three", 1.0), ("One", 0.5)):
        said = answered(task, f"<think>x</think><answer>{text}</answer>")
        assert get_benchmark("mm-ifeval").score([Item(task, (said,))])["c_level_rule"].value == share
