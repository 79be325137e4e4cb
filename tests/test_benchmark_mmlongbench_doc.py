"""MMLongBench-Doc's scorer against hand-computed answers, and its reader on published rows where they are at hand."""

import json

import pytest
from published import mmlongbench_doc as fixture
from published.answers import answered

from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.benchmarks.mmlongbench_doc import answer_score, extract
from armlite.evals.figures import Item
from armlite.types import Task

BENCHMARK = get_benchmark("mmlongbench-doc")


@pytest.mark.parametrize(
    ("format_", "gold", "pred", "score"),
    [
        ("Int", "14", "14", 1),
        ("Int", "14", "14.9", 1),  # int(float("14.9")) = 14
        ("Int", "14", "15", 0),
        ("Int", "14", "fourteen", 0),
        ("Int", "0", "", 0),
        ("Float", "0.45", "0.454", 1),  # 0.004 off, 1 % of 0.454 is 0.0045
        ("Float", "0.45", "0.456", 0),  # 1.3 % off; to 2 decimals 0.46 is not 0.45
        ("Float", "21%", "0.21", 1),  # 21 / 100
        ("Float", "0.21", "21 %", 1),  # 0.21 * 100
        ("Float", "466.43", "$470", 1),  # 3.57 off, 1 % of 470 is 4.7
        ("Float", "0.3", "0.0", 1),  # 0.3 / 100 = 0.003 rounds to 0.00, at least 2 decimals: a habit of the script
        ("Float", "1,234", "1,234", 0),  # a gold that is no number scores nothing
        ("Str", "red roof", "Red Roof", 1),
        ("Str", "tower", "towel", 0.8),  # 1 of 5 letters off
        ("Str", "ab", "ac", 0),  # half alike is not more than half
        ("Str", "5 miles", "5 mile", 6 / 7),  # units stay: 1 of 7 letters off
        ("Str", '"The (old) Hall"', "the hall", 1),  # parentheses and outer quotes go
        ("Str", "page 7", "page 8", 0),  # exact: begins with page
        ("Str", "555-1234", "555-1235", 0),  # exact: telephone number
        ("Str", "9 a.m.", "9 a.m", 0),  # exact: time
        ("Str", "x@y.org", "x@y.orh", 0),  # exact: address
        ("Str", "2019-05", "2019-06", 0),  # exact: date
        ("Str", "run_all.py", "run_all.pi", 0),  # exact: file of code
        ("None", "Not answerable", "Not answerable", 1),
        ("None", "Not answerable", "31", 0),
        ("List", "['Aro', 'Bel (old)']", ["Bel", "Aro"], 1),  # sorted
        ("List", "['tower', 'hall']", ["towel", "hall"], 0.8),  # the least alike counts
        ("List", "['a', 'b']", ["a"], 0),  # another length
        ("List", "['5.3%', '5.2%']", ["5.2", "5.3"], 1),  # numbers: joined, equal
        ("List", "['5.3%', '5.2%']", ["5.2", "5.30"], 0),
        ("List", "Aro", "Aro", 1),  # a gold without brackets is its only element
        ("List", "['Aro'", ["Aro"], 0),  # a gold list that cannot be read
        ("List", "[]", [], 0),
    ],
)
def test_an_answer_is_scored_by_the_rule_of_its_format(format_, gold, pred, score):
    assert answer_score(gold, pred, format_) == pytest.approx(score)


@pytest.mark.parametrize(
    ("format_", "answer", "pred"),
    [
        ("Str", " **Berlin.** ", "Berlin"),
        ("Str", "at 9 a.m.", "at 9 a.m."),
        ("Str", "not answerable.", "Not answerable"),
        ("Int", "There are 1,204 lamps.", "1204"),
        ("Int", "3 of 14", "3 of 14"),
        ("Int", "Figure-7", "7"),
        ("Float", ".5", ".5"),
        ("Float", "$1,204.50", "1204.50"),
        ("Float", "about -0.5%", "-0.5"),
        ("Float", "the 2010-2015 mean", "the 2010-2015 mean"),
        ("List", "['a', 'b, c']", ["a", "b, c"]),
        ("List", "[a, b]", ["a", "b"]),
        ("List", "- a\n- b, c", ["a", "b, c"]),
        ("List", "a, b; c", ["a, b", "c"]),
        ("List", "a, b", ["a", "b"]),
        ("List", "Not answerable", "Not answerable"),
    ],
)
def test_a_short_answer_is_taken_out_of_the_answer_by_rule(format_, answer, pred):
    assert extract(answer, format_) == pred


def item(gold: str, format_: str, pages: list[int], sources: list[str], *texts: str) -> Item:
    task = Task(
        id=gold,
        kind="open_qa",
        question="?",
        document="d.pdf",
        gold=(gold,),
        source="mmlongbench-doc/x",
        meta={
            "doc_id": "d.pdf",
            "doc_type": "Guidebook",
            "answer": gold,
            "answer_format": format_,
            "evidence_pages": pages,
            "evidence_sources": sources,
        },
    )
    return Item(task, tuple(answered(task, text) for text in texts))


def said(answer: str) -> str:
    return f"<think>x</think><answer>{answer}</answer>"


ITEMS = (
    item("14", "Int", [2], ["Chart"], said("14")),  # 1
    item("tower", "Str", [2, 3], ["Chart", "Table"], said("towel")),  # 0.8
    item("red", "Str", [], ["Table"], said("Not answerable")),  # 0: far from "red"
    item("Not answerable", "None", [], [], said("Not answerable"), said("31")),  # 1: the first answer counts
    item("Not answerable", "None", [1], [], "<think>no answer</think>"),  # 0: a failure is no "Not answerable"
    item("blue", "Str", [5], ["Table"], said("Not answerable")),  # 0
)


def test_figures_are_those_worked_out_by_hand():
    figures = BENCHMARK.score(ITEMS)
    values = {name: figure.value for name, figure in figures.items()}
    assert values == pytest.approx(
        {
            "acc": 2.8 / 6,
            # recall 1.8 / 4 answerable = 0.45; precision 1.8 / 3 not predicted unanswerable = 0.6; 0.54 / 1.05
            "f1": 0.54 / 1.05,
            "acc/single-page": 1 / 3,  # one page of evidence: 1, 0, and the unanswerable one's 0
            "acc/cross-page": 0.4,  # answerable without exactly one page: 0.8 and 0
            "acc/unanswerable": 0.5,
            "acc/Chart": 0.9,
            "acc/Table": 0.8 / 3,
            "acc/Guidebook": 2.8 / 6,
            "parse_failures": 1 / 6,
        }
    )
    assert figures["acc/Table"].n == 3
    low, high = figures["f1"].ci95
    assert low < figures["f1"].value < high


def test_f1_is_zero_where_nothing_answerable_was_asked_or_answered():
    assert BENCHMARK.score(ITEMS[3:4])["f1"].value == 0
    assert BENCHMARK.score(ITEMS[2:3])["f1"].value == 0
    assert BENCHMARK.score([])["f1"].value is None


def test_the_official_file_holds_the_published_fields_as_strings_and_the_scores():
    rows = json.loads(BENCHMARK.official(ITEMS)["res_armlite.json"])
    assert [row["score"] for row in rows] == pytest.approx([1, 0.8, 0, 1, 0, 0])
    assert (rows[1]["evidence_pages"], rows[1]["evidence_sources"]) == ("[2, 3]", "['Chart', 'Table']")
    assert rows[4]["pred"] == "Failed to extract"


def test_tasks_keep_pages_outside_of_the_document_and_group_by_span(tmp_path):
    fixture.build(tmp_path, "repository")
    convert(get_set("mmlongbench-doc"), tmp_path, tmp_path / "tasks.jsonl")
    tasks = read_tasks(tmp_path / "tasks.jsonl")
    spans = "single-page cross-page single-page unanswerable cross-page cross-page".split()
    assert [task.meta["group"]["span"] for task in tasks] == spans
    assert tasks[4].meta["evidence_pages"] == [3, 1418]
    assert tasks[1].document == "data/documents/annual.report.pdf"


def test_the_reader_takes_every_published_row_of_the_slice(shared, tmp_path):
    folder = shared / "mmlongbench-dev"
    if not folder.is_dir():
        pytest.skip("the slice of MMLongBench-Doc is not there")
    counts = convert(get_set("mmlongbench-doc"), folder, tmp_path / "tasks.jsonl")
    assert (counts.rows, counts.tasks, counts.bad, counts.incomplete) == (124, 124, 0, 0)
    tasks = read_tasks(tmp_path / "tasks.jsonl")
    assert all((tmp_path / task.document).is_file() for task in tasks)
    # The gold answers, given as answers, are right by their own rule; a last full stop is dropped and costs its letter.
    items = [Item(task, (answered(task, said(task.meta["answer"])),)) for task in tasks]
    figures = BENCHMARK.score([item for item in items if not item.task.meta["answer"].endswith(".")])
    assert figures["acc"].value == figures["f1"].value == 1
    assert figures["acc/unanswerable"].n == 28
    assert BENCHMARK.score(items)["acc"].value == pytest.approx(1, abs=0.002)
