"""MP-DocVQA's scorer against hand-computed answers, and the pages that its tasks point to."""

import json

import pytest
from PIL import Image
from published import mp_docvqa as fixture
from published.answers import answered

from armlite.data.convert import convert
from armlite.data.tasks import read_tasks
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.benchmarks.mp_docvqa import anls, exact
from armlite.evals.figures import Answer, Item
from armlite.tools.documents.pages import Document
from armlite.types import Observation, Step, Task, Turn

BENCHMARK = get_benchmark("mp-docvqa")


@pytest.mark.parametrize(
    ("accepted", "answer", "alike", "equal"),
    [
        (["$1,200"], " $1,200 ", 1, True),
        (["Dr. No"], "dr. no", 1, True),
        (["tower", "hall"], "towel", 0.8, False),  # 1 of 5 letters off
        (["abcd"], "abxy", 0.5, False),  # half alike still counts
        (["abcd"], "axyz", 0, False),  # a quarter does not
        (["3 May"], "", 0, False),
        (["none"], "None", 0, False),  # never right, even where it is accepted
    ],
)
def test_anls_and_accuracy_follow_the_published_rules(accepted, answer, alike, equal):
    assert anls(accepted, answer) == pytest.approx(alike)
    assert exact(accepted, answer) is equal


def item(number: str, gold: tuple[str, ...] | None, answer: str | None, evidence: list[int], pages=()) -> Item:
    """An item whose tool call returned `pages`."""
    meta = {"pages": 3, "evidence_pages": evidence, "group": {"split": "val"}}
    task = Task(id=number, kind="open_qa", question="?", document="d", gold=gold, source="mp-docvqa/val", meta=meta)
    last = answered(task, f"<think>x</think><answer>{answer}</answer>" if answer else "<think>x</think>").trajectory
    call = Step(
        turn=Turn(text="call"),
        observation=Observation(
            ok=bool(pages), text="found", tool="doc_page_retrieval_by_query", data={"pages": list(pages)}
        ),
    )
    return Item(task, (Answer(last.model_copy(update={"steps": (call, *last.steps)})),))


ITEMS = (
    item("1", ("tower", "spire"), "towel", [2], pages=[3, 2]),  # 0.8, page shown
    item("2", ("3 May",), "3 may", [1], pages=[3]),  # 1, page not shown
    item("3", ("blue",), None, [3]),  # 0, nothing shown
    item("4", ("red",), "red", [4], pages=[1]),  # 1, its page was cut off
    item("abc", None, "12", []),  # hidden
)


def test_figures_are_those_worked_out_by_hand():
    figures = BENCHMARK.score(ITEMS)
    assert {name: figure.value for name, figure in figures.items()} == pytest.approx(
        {
            "anls": (0.8 + 1 + 0 + 1) / 4,
            "accuracy": 2 / 4,
            "page_recall": 1 / 3,
            "parse_failures": 1 / 5,
            "hidden": 1 / 5,
        }
    )
    assert (figures["anls"].n, figures["page_recall"].n) == (4, 3)
    assert "hidden" not in BENCHMARK.score(ITEMS[:4])


def test_the_result_file_lists_all_questions():
    rows = json.loads(BENCHMARK.official(ITEMS)["mp_docvqa_results.json"])
    assert rows[0] == {"questionId": 1, "answer": "towel"}
    assert [row["questionId"] for row in rows] == [1, 2, 3, 4, "abc"]
    assert rows[2]["answer"] == ""


@pytest.mark.parametrize("form", ["parquet", "rrc"])
def test_a_task_gets_a_folder_of_its_pages_in_their_order(form, tmp_path):
    fixture.build(tmp_path / "published", form)
    convert(get_set("mp-docvqa"), tmp_path / "published", tmp_path / "out" / "tasks.jsonl")
    first, second, third = read_tasks(tmp_path / "out" / "tasks.jsonl")
    pages = 2 if form == "parquet" else 3
    assert len(Document(tmp_path / "out" / first.document)) == first.meta["pages"] == pages
    assert third.meta["evidence_pages"] == [3]  # cut off in the hub's copy, there in the challenge's
    # The first document's page p3 is page 2 of the first question and page 1 of the second: one file, linked.
    shown = [tmp_path / "out" / first.document / f"p_{n:03d}" for n in (1, 2)]
    shown = [next(path.parent.glob(f"{path.name}.*")) for path in shown]
    other = next((tmp_path / "out" / second.document).glob("p_001.*"))
    assert shown[1].stat().st_ino == other.stat().st_ino != shown[0].stat().st_ino
    with Image.open(other) as page:
        assert page.size == (120, 160)


def test_hidden_answers_become_tasks_without_gold(tmp_path):
    fixture.build(tmp_path, "parquet-test")
    convert(get_set("mp-docvqa"), tmp_path, tmp_path / "tasks.jsonl")
    tasks = read_tasks(tmp_path / "tasks.jsonl")
    assert [task.gold for task in tasks] == [None] * 3
    assert {task.source for task in tasks} == {"mp-docvqa/test"}


def test_a_page_that_is_missing_in_the_middle_is_no_shorter_document(tmp_path):
    from published.pieces import write_parquet

    row = fixture._published(fixture._rows()[0], hidden=False)
    row["image_3"], row["image_2"] = row["image_2"], None
    write_parquet(tmp_path / "val-0.parquet", [row | {"image_2": None}, fixture._published(fixture._rows()[1], False)])
    convert(get_set("mp-docvqa"), tmp_path, tmp_path / "out" / "tasks.jsonl")
    [reject] = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").open()]
    assert (reject["field"], reject["why"]) == ("image_2", "is missing, though image_3 is there")
