"""Two runs side by side: differences, intervals and tests by hand, warnings, and the paper's numbers beside them."""

import json
from pathlib import Path

import pytest
from published.answers import answered

from armlite.cli import main
from armlite.data.tasks import write_tasks
from armlite.errors import ArmliteError
from armlite.evals.compare import compare_folders
from armlite.evals.folder import EvalSettings
from armlite.evals.paper import PAPER, differing, rows_of
from armlite.journal import Journal
from armlite.store import Saved, save
from armlite.types import Task

BENCH = "vl-rewardbench"
SAYS = "<think>Seen.</think><answer>Overall Judgment: Answer {} is better.</answer>"
GROUPS = ("general", "hallucination", "reasoning")


def pair(number, question="Which?"):
    group = GROUPS[number % 3]
    return Task(
        id=f"q{number}",
        kind="pairwise",
        question=question,
        responses=(f"yes {number}", f"no {number}"),
        gold=1,
        source=f"{BENCH}/{group}",
        meta={"group": {"category": group}, "published_id": f"q{number}"},
    )


def begin(folder: Path, settings: EvalSettings) -> None:
    Journal(folder / "trajectories.jsonl", settings.model_dump())


def run_of(folder: Path, right: str, model="openai:judge@http://x/v1", tasks=None, **settings) -> Path:
    """A finished run: per item `1` right, `0` wrong, `-` no answer."""
    tasks = tasks or [pair(i) for i in range(len(right))]
    folder /= BENCH
    write_tasks(folder / "tasks.jsonl", tasks)
    Journal(
        folder / "trajectories.jsonl", EvalSettings(benchmark=BENCH, model=model, order="hash", **settings).model_dump()
    )
    texts = {"1": SAYS.format(1), "0": SAYS.format(2), "-": "<think>Hm.</think>"}
    answers = [answered(task, texts[mark]) for task, mark in zip(tasks, right, strict=True)]
    save(folder / "trajectories.jsonl", [Saved(trajectory=a.trajectory) for a in answers])
    return folder.parent


def run(*arguments):
    with pytest.raises(SystemExit) as status:
        main(["eval", "compare", *map(str, arguments)])
    return status.value.code or 0


def test_differences_are_paired_and_tested_over_the_common_items(tmp_path):
    a = run_of(tmp_path / "a", "111000000000")
    b = run_of(tmp_path / "b", "110111111-00")
    [found] = compare_folders(a, b)
    row = found["figures"]["acc_all"]
    # a: 3 of 12, b: 8 of 12 (the item without an answer is wrong). Six items only b has right, one only a; with half an
    # item more in each of the four cells: 5 / 14 -+ 1.96 * sqrt(6 + 1 + 1 - 5^2 / 14) / 14.
    assert (row["a"]["value"], row["b"]["value"]) == (pytest.approx(3 / 12), pytest.approx(8 / 12))
    half = 1.959964 * (8 - 25 / 14) ** 0.5 / 14
    assert row["difference"]["value"] == pytest.approx(5 / 12)
    assert row["difference"]["ci95"] == pytest.approx([5 / 14 - half, 5 / 14 + half])
    # McNemar: one item only a has right, six only b: p = 2 * (C(7,0) + C(7,1)) / 2^7
    test = found["test"]
    assert (test["figure"], test["n"], test["only_a"], test["only_b"]) == ("acc_all", 12, 1, 6)
    assert test["p"] == pytest.approx(2 * 8 / 128)
    assert found["warnings"] == []


def test_a_figure_that_is_no_mean_over_items_has_a_difference_without_an_interval(tmp_path):
    a, b = run_of(tmp_path / "a", "1110"), run_of(tmp_path / "b", "0111")
    [found] = compare_folders(a, b)
    # Groups of q0..q3: general (q0, q3), hallucination (q1), reasoning (q2). a: 1/2, 1, 1; b: 1/2, 1, 1.
    macro = found["figures"]["macro_all"]
    assert macro["a"]["value"] == pytest.approx(2.5 / 3)
    assert macro["difference"]["value"] == pytest.approx(0.0)
    assert macro["difference"]["ci95"] is None
    group = found["figures"]["acc_all/general"]["difference"]
    assert (group["value"], group["n"]) == (0.0, 2)


def test_settings_items_and_contents_that_differ_are_warned_of(tmp_path):
    a = run_of(tmp_path / "a", "1111", tools=False, n=4)
    other = [pair(0), pair(1, "Another question?"), pair(2), pair(7)]
    b = run_of(tmp_path / "b", "1110", model="openai:other@http://x/v1", tasks=other)
    [found] = compare_folders(a, b)
    warnings = "\n".join(found["warnings"])
    assert "tools differs: False in a, True in b" in warnings and "n differs: 4 in a, None in b" in warnings
    assert "model" not in warnings, "that is what is compared"
    assert "1 items have an id in common and another content" in warnings
    assert "1 items are in a only" in warnings and "1 items are in b only" in warnings
    assert found["test"]["n"] == 2
    assert found["figures"]["acc_all"]["difference"]["n"] == 2


def test_the_papers_numbers_stand_beside_with_what_differs(tmp_path, capsys):
    a = run_of(tmp_path / "a", "1110", model="internlm/ARM-Thinker-7B", max_calls=15)
    b = run_of(tmp_path / "b", "0111", model="openai:judge@http://x/v1", votes=3, temperature=0.7, tools=False)
    assert run(a, b, "--paper", "--json") == 0
    [found] = json.loads(capsys.readouterr().out)
    ours = next(row for row in found["paper"] if row["model"] == "ARM-Thinker-7B")
    assert ours["value"] == 67.8
    assert ours["a"]["same_model"] and not ours["b"]["same_model"]
    assert not any(word.startswith(("model", "tools", "votes", "max_calls")) for word in ours["a"]["differs"])
    differs = "; ".join(ours["b"]["differs"])
    assert "model: openai:judge@http://x/v1, not ARM-Thinker-7B" in differs
    assert "tools: no here, yes there" in differs and "votes: 3 here, 1" in differs
    assert "order: hash here, lenparity there" in differs
    assert "extract: rule here, in part a language model in VLMEvalKit" in differs
    assert run(a, b, "--paper") == 0
    out = capsys.readouterr().out
    assert "ARM-Thinker-7B, with tools 67.8 %" in out and "p = " in out and "nan" not in out.lower()


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", True),
        ("openai:qwen2.5-vl-7b", True),
        ("runs/qwen2.5-vl-7b-24gb", False),
        ("runs/arm-thinker/checkpoints/grpo2", False),
    ],
)
def test_what_was_trained_from_the_papers_base_is_not_taken_for_it(name, same):
    row = next(row for row in rows_of("vstar") if row.model == "Qwen2.5-VL-7B")
    settings = EvalSettings(benchmark="vstar", model=name, tools=False, max_calls=0)
    assert any(said.startswith("model: ") for said in differing(settings, row)) != same


def test_each_number_of_the_paper_is_of_a_benchmark_we_have():
    from armlite.evals.benchmarks import MODULES

    assert {row.bench for row in PAPER} <= set(MODULES)
    assert {row.value for row in rows_of("vstar")} == {75.4, 88.2, 82.2, 86.4, 50.3}
    with_and_without = {(row.tools, row.value) for row in rows_of("vstar") if row.model == "ARM-Thinker-7B"}
    assert with_and_without == {(True, 86.4), (False, 82.2)}
    settings = EvalSettings(benchmark="we-math", model="arm-thinker", tools=False, max_calls=0)
    assert any("one summary" in said for said in differing(settings, rows_of("we-math")[0]))


def test_what_cannot_be_compared_is_told(tmp_path, capsys):
    a = run_of(tmp_path / "a", "11")
    assert run(a, tmp_path / "nowhere") == 2
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(a, tmp_path / "empty") == 2
    assert "holds no evaluation" in capsys.readouterr().err
    other = tmp_path / "b" / "vstar"
    write_tasks(other / "tasks.jsonl", [pair(0)])
    begin(other, EvalSettings(benchmark="vstar", model="m"))
    with pytest.raises(ArmliteError, match="no benchmark in common"):
        compare_folders(a, tmp_path / "b")


def test_folders_of_single_runs_are_compared_too_and_equal_runs_do_not_differ(tmp_path, capsys):
    a = run_of(tmp_path / "a", "10-1")
    assert run(a / BENCH, a, "--json") == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["test"]["p"] == 1.0
    assert all(row["difference"]["value"] in (0.0, None) for row in found["figures"].values())


def test_runs_that_share_items_of_one_question_are_not_called_without_common_items(tmp_path, capsys):
    same = [pair(0).model_copy(update={"id": f"q{i}", "responses": ("yes 0", "no 0")}) for i in range(3)]
    a, b = run_of(tmp_path / "a", "110", tasks=same), run_of(tmp_path / "b", "011", tasks=same)
    assert run(a, b) == 0
    out = capsys.readouterr().out
    assert "acc_all over 3 common items that all ask one question: nothing to test" in out
    assert "no common items" not in out
