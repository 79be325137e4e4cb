"""V* and HR-Bench: what is read from the published rows, and the figures of answers counted by hand."""

import pytest
from published import hr_bench, vstar
from published.answers import answered
from published.pieces import converted

from armlite.data.check import check
from armlite.evals.benchmarks import get_benchmark, get_set
from armlite.evals.benchmarks.letters import lmms_hr_bench_letter, lmms_vstar_letter, vlmevalkit_letter
from armlite.evals.figures import Answer, Item
from armlite.evals.intervals import Z, wilson
from armlite.types import ImageInfo, Step, StopReason, Task, Trajectory, Turn

FOUR = {"A": "silk", "B": "paper", "C": "green", "D": "wool"}


def said(text: str) -> str:
    return f"<think>x</think><answer>{text}</answer>"


def values(figures, *names):
    return [figures[name].value for name in names]


def close(*numbers):
    return pytest.approx(list(numbers))


@pytest.mark.parametrize(
    ("text", "lmms", "vlmevalkit"),
    [
        ("B", "B", "B"),
        ("(C)", "C", "C"),
        ("Answer: B", "A", "B"),  # lmms-eval's first pattern takes the A that the word begins with
        ("The answer is D", "D", "D"),
        ("It is green.", None, "C"),  # only VLMEvalKit looks for the options' texts
        ("A or B", "A", None),  # two letters are none for VLMEvalKit
        ("silk or paper", "A", None),  # the only one of A to D in SILK OR PAPER is an A
        ("Cannot determine the answer", "C", "Z"),
        ("nothing of it", None, None),
    ],
)
def test_the_public_rules_read_what_their_sources_read(text, lmms, vlmevalkit):
    assert lmms_vstar_letter(text, FOUR) == lmms
    assert vlmevalkit_letter(text, FOUR) == vlmevalkit


@pytest.mark.parametrize(
    ("text", "now", "before"),
    [
        ("B, which the left edge of the picture shows", None, "B"),  # not among the last four words
        ("It is made of B", "B", "B"),
        ("The correct answer is **C**. It is also what one would expect there.", "C", "C"),
        ("The correct answer is **C**, not B, whatever one would expect there", "C", None),
        ("The answer is a thing of silk", "A", "A"),  # the next letter, whatever it begins; before, silk
        ("It is silk, and nothing else, since no other thing shines as this does", None, "A"),  # too long for its text
    ],
)
def test_vlmevalkit_reads_otherwise_since_august_2025(text, now, before):
    assert (vlmevalkit_letter(text, FOUR), lmms_hr_bench_letter(text, FOUR)) == (now, before)


@pytest.mark.parametrize("form", vstar.FORMS)
def test_vstar_rows_keep_parentheses_in_options_and_lose_the_request(form, tmp_path):
    first, second, _ = converted(tmp_path, vstar, form).values()
    assert first.question == "What is the kite made of?"
    assert first.options == {"A": "silk (a thin one)", "B": "paper", "C": "nylon", "D": "wool"}
    assert second.question == "Is the (red) cup left of the bell?"
    assert (second.options, second.gold) == ({"A": "right", "B": "left"}, "B")


def test_vstar_boxes_become_corners_and_come_from_the_repository_only(tmp_path):
    task = list(converted(tmp_path, vstar, "jsonl").values())[1]
    assert task.meta["bboxes"] == [[1, 2, 7, 8], [20, 10, 28, 19]]  # published: [1, 2, 6, 6], [20, 10, 8, 9]
    assert all("bboxes" not in task.meta for task in converted(tmp_path, vstar, "tsv").values())


def test_vstar_counts_each_reading_by_itself(tmp_path):
    a, b, c = converted(tmp_path, vstar, "jsonl").values()  # gold A, B, C; direct, relative, direct
    answers = [(a, said("A")), (b, said("Answer: B")), (c, said("Green"))]
    figures = get_benchmark("vstar").score([Item(task, (answered(task, text),)) for task, text in answers])
    assert values(figures, "acc", "parse_failures") == close(2 / 3, 1 / 3)  # only `Green` names no option
    assert values(figures, "acc/direct_attributes", "acc/relative_position") == close(1 / 2, 1)
    assert values(figures, "acc_lmms") == close(1 / 3)  # A, A (of ANSWER), none
    assert values(figures, "acc_vlmevalkit", "acc_vlmevalkit/relative_position") == close(1, 1)  # A, B, C by its text
    assert values(figures, "acc_last_turn") == close(1 / 3)  # B of `ANSWER: B`; else the tags' letters
    assert figures["acc"].n == 3 and figures["acc"].ci95 is not None
    assert "acc_majority" not in figures


def test_several_votes_change_nothing_but_the_majority(tmp_path):
    task = next(iter(converted(tmp_path, vstar, "tsv").values()))  # gold A
    item = Item(task, tuple(answered(task, said(letter), rollout=i) for i, letter in enumerate("BAA")))
    figures = get_benchmark("vstar").score([item])
    assert values(figures, "acc", "acc_lmms", "acc_majority") == [0, 0, 1]


def test_what_a_failed_model_left_behind_is_no_answer(tmp_path):
    task = next(iter(converted(tmp_path, vstar, "tsv").values()))  # gold A
    failed = Trajectory(
        task=task, steps=(Step(turn=Turn(text="A timeout", finish="error")),), stop=StopReason.MODEL_ERROR
    )
    figures = get_benchmark("vstar").score([Item(task, (Answer(failed),)), Item(task, ())])
    assert values(figures, "acc", "acc_lmms", "acc_vlmevalkit", "acc_last_turn", "parse_failures") == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("text", "read"),
    [("<think>It is A, or B", 0), ("<think>B? No.</think>It is A", 1), ("B? No.</think>It is A", 1)],
)
def test_public_rules_are_not_handed_thoughts(text, read, tmp_path):
    task = next(iter(converted(tmp_path, vstar, "tsv").values()))  # gold A
    figures = get_benchmark("vstar").score([Item(task, (answered(task, text),))])
    assert values(figures, "acc_lmms", "acc_vlmevalkit") == [read, read]


def test_crops_of_crops_are_followed_back_to_the_image_before_they_meet_the_boxes(tmp_path):
    boxes = [[25, 25, 50, 50], [0, 0, 50, 50], [60, 60, 70, 70]]
    task = Task(id="1", kind="multiple_choice", question="?", options={"A": "x", "B": "y"}, gold="A",
                meta={"bboxes": boxes, "group": {"category": "direct_attributes"}})  # fmt: skip
    images = (
        ImageInfo(id="img_0", file="0.png", width=100, height=100),
        # The upper left quarter, shown twice as large; then the lower right quarter of that: 25, 25, 50, 50.
        ImageInfo(id="img_1", file="1.png", width=100, height=100, parent="img_0", box=(0, 0, 50, 50)),
        ImageInfo(id="img_2", file="2.png", width=50, height=50, parent="img_1", box=(50, 50, 100, 100)),
    )
    told = answered(task, said("A")).trajectory
    with_crops = Item(task, (Answer(told.model_copy(update={"images": images})),))
    figures = get_benchmark("vstar").score([with_crops, Item(task, (Answer(told),))])
    assert figures["crop_iou"].value == pytest.approx((1 + 1 + 0) / 3)
    assert figures["crop_iou"].n == 1  # the other answer cropped nothing


def judged(tasks, right):
    """Items that are right (1) or not (0), in order."""
    items = []
    for task, hit in zip(tasks, right, strict=True):
        wrong = next(letter for letter in task.options if letter != task.gold)
        items.append(Item(task, (answered(task, said(task.gold if hit else wrong)),)))
    return items


@pytest.mark.parametrize("form", hr_bench.FORMS)
def test_hr_bench_rows_know_their_question_and_leave_out_missing_options(form, tmp_path):
    tasks = list(converted(tmp_path, hr_bench, form, "hr-bench-8k").values())
    assert len({task.meta["question_key"] for task in tasks}) == 2
    assert len({task.meta["question_key"] for task in tasks[:4]}) == 1
    assert tasks[5].options == {"A": "a tree", "B": "a dog", "D": "a van"}  # C is missing in this cycle
    assert [task.gold for task in tasks] == ["C", "B", "A", "D", "C", "B", "A", "D"]
    assert tasks[5].source == "hr-bench-8k/cross"


def test_hr_bench_takes_the_mean_over_cycles_and_the_interval_over_questions(tmp_path):
    tasks = list(converted(tmp_path, hr_bench, "tsv").values())
    figures = get_benchmark("hr-bench-4k").score(judged(tasks, [1, 1, 0, 1, 0, 0, 0, 1]))
    # Cycles: (1 + 0) / 2, (1 + 0) / 2, (0 + 0) / 2, (1 + 1) / 2; their mean is 1/2. No question is right four times.
    assert values(figures, "acc", "acc_official", "acc_official/cycle 2", "acc_official/cycle 3") == close(
        0.5, 0.5, 0, 1
    )
    assert values(figures, "acc/single", "acc/cross") == close(3 / 4, 1 / 4)
    # Sums of residuals: 3 - 4/2 = 1 and 1 - 4/2 = -1; half = Z * sqrt(2/1 * (1 + 1)) / 8 = Z / 4.
    assert figures["acc"].ci95 == close(max(0, 0.5 - Z / 4), min(1, 0.5 + Z / 4))
    assert figures["acc/single"].ci95 == wilson(0.75, 1)  # one question only


def test_hr_bench_weighs_cycles_alike_when_some_rows_are_missing(tmp_path):
    tasks = list(converted(tmp_path, hr_bench, "tsv").values())
    kept = [*tasks[:4], tasks[7]]
    figures = get_benchmark("hr-bench-4k").score(judged(kept, [1, 1, 0, 1, 0]))
    assert values(figures, "acc") == close((1 + 1 + 0 + (1 + 0) / 2) / 4)  # and not 3 / 5


@pytest.mark.parametrize(
    "noted", ["{", "[]", '{"target_object": ["x"]}', '{"target_object": ["x"], "bbox": [[1, 2, 3]]}']
)
def test_boxes_that_cannot_be_read_name_the_file(noted, tmp_path):
    vstar.build(tmp_path, "jsonl")
    (tmp_path / "direct_attributes/sa_2.json").write_text(noted)
    (problem,) = check(get_set("vstar"), tmp_path).problems
    assert (problem["row"], problem["field"]) == (3, "image")
    assert "sa_2.json beside it must hold" in problem["why"]
