"""Evaluation: the figures and their intervals on hand-made trajectories, and the command on a real endpoint process."""

import json

import pytest

from armlite.cli import main
from armlite.data.tasks import read_tasks, write_tasks
from armlite.episode import EpisodeSettings, presented_order
from armlite.errors import ArmliteError, DataError
from armlite.evals.intervals import mean_interval, wilson
from armlite.evals.run import evaluate_tasks
from armlite.evals.tasks import evaluate, summarise
from armlite.models.scripted import ScriptedModel
from armlite.store import read
from armlite.types import Task

ANSWER = "<think>I know.</think>\n<answer>Overall Judgment: Answer {} is better.</answer>"


def run(*arguments):
    """The command's exit status."""
    with pytest.raises(SystemExit) as status:
        main(list(arguments))
    return status.value.code or 0


def pair(number, gold, source="made/up"):
    return Task(id=f"t{number}", kind="pairwise", question="Which?", responses=("yes", "no"), gold=gold, source=source)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Wilson: (p + z2/2n -+ z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n) with z = 1.96
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (270, 300, 0.8609, 0.9291),
        (300, 300, 0.9874, 1.0),
    ],
)
def test_wilson_intervals_match_published_values(successes, n, low, high):
    assert wilson(successes, n) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_what_is_undefined_is_null():
    assert wilson(0, 0) is None
    assert mean_interval([1.0]) is None
    summary = summarise([])
    assert all(summary[k] is None for k in ("accuracy", "tool_calls_per_task", "tool_success_rate", "format_rate"))
    assert summary["n"] == 0
    assert summary["ci95"] == {}


def test_a_position_biased_judge_is_right_half_of_the_time_and_never_consistent(tmp_path):
    tasks = [pair(i, 1 + i % 2, "made/odd" if i % 2 else "made/even") for i in range(40)]
    first = ScriptedModel([ANSWER.format(1)])
    summary = summarise(evaluate(tasks, first, EpisodeSettings(), tmp_path, seed=1, swap=True))
    orders = {t.id: presented_order(t, 1) for t in tasks}
    assert summary["accuracy"] == sum(orders[t.id][0] == t.gold for t in tasks) / 40
    assert summary["swap_consistency"] == 0.0
    assert summary["n"] == 40, "swapped orders are no tasks of their own"
    assert {name: values["n"] for name, values in summary["by_family"].items()} == {"odd": 20, "even": 20}
    assert summary["format_rate"] == 1.0
    assert summary["tool_calls_per_task"] == 0.0
    assert summary["tool_success_rate"] is None


def test_a_judge_that_reads_is_right_and_consistent(tmp_path):
    def reads(conversation):
        shown = conversation.messages[0].text
        return ANSWER.format(1 if shown.index("\nyes\n") < shown.index("\nno\n") else 2)

    tasks = [pair(i, 1) for i in range(10)]
    summary = summarise(evaluate(tasks, ScriptedModel(reads), EpisodeSettings(), tmp_path, swap=True))
    assert (summary["accuracy"], summary["swap_consistency"]) == (1.0, 1.0)
    assert summary["ci95"]["accuracy"] == pytest.approx([0.7225, 1.0], abs=1e-4)


def test_presented_orders_depend_on_task_and_seed_only_and_swap_reverses_them():
    tasks = [pair(i, 1) for i in range(50)]
    orders = [presented_order(t, 0) for t in tasks]
    assert orders == [presented_order(t, 0) for t in tasks]
    assert {(1, 2), (2, 1)} == set(orders)
    assert all(presented_order(t, 0, swapped=True) == tuple(reversed(o)) for t, o in zip(tasks, orders, strict=True))


BROKEN = {
    "not json": ("{", "(row)"),
    "a field that is not known": ('{"id": "b", "kind": "pairwise", "question": "q", "respones": []}', "respones"),
    "too few responses": ('{"id": "b", "kind": "pairwise", "question": "q", "responses": ["a"]}', "(row)"),
    "gold out of range": ('{"id": "b", "kind": "pairwise", "question": "q", "responses": ["a", "b"], "gold": 3}', ""),
    "an id twice": (pair(0, 1).to_json(), "id"),
}


@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_a_row_that_breaks_its_schema_is_named_with_file_and_line(row, tmp_path, capsys):
    file = tmp_path / "tasks.jsonl"
    file.write_text(pair(0, 1).to_json() + "\n\n" + row[0] + "\n")
    with pytest.raises(DataError, match=rf"{file}, row 3, field .*{row[1].strip('()')}"):
        read_tasks(file)
    assert run("eval", "--model", "openai:x@http://127.0.0.1:9/v1", "--tasks", str(file)) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) <= 3


def test_tasks_without_gold_cannot_be_scored(tmp_path):
    write_tasks(tmp_path / "t.jsonl", [pair(0, None)])
    with pytest.raises(ArmliteError, match="no task has a gold answer"):
        evaluate_tasks("openai:x@http://127.0.0.1:9/v1", str(tmp_path / "t.jsonl"))


def test_the_command_prints_the_summary_and_keeps_the_trajectories(server, tmp_path, capsys):
    model = f"openai:judge-7b@{server}/v1"
    write_tasks(tmp_path / "t.jsonl", [pair(i, 1) for i in range(6)])
    out = tmp_path / "out"
    arguments = ["eval", "--model", model, "--tasks", str(tmp_path / "t.jsonl"), "--out", str(out), "--no-tools"]
    assert run(*arguments, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["n"] == 6
    assert set(summary) >= {"accuracy", "by_family", "tool_calls_per_task", "swap_consistency", "ci95"}
    assert json.loads((out / "summary.json").read_text()) == summary
    assert len(list(read(out))) == 12, "each pair in both orders"
    assert run(*arguments) == 2, "a second evaluation does not mix with the first"


def test_pocket_tasks_are_made_by_the_command_and_read_back(tmp_path, capsys):
    out = tmp_path / "pocket"
    assert run("data", "pocket", "--split", "validation", "--n", "6", "--seed", "2", "--out", str(out), "--json") == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == 6
    tasks = read_tasks(out / "tasks.jsonl")
    assert [t.source for t in tasks[:3]] == ["pocket/zoom", "pocket/document", "pocket/instruction"]
    assert all((out / path).is_file() for t in tasks for path in (*t.images, *filter(None, [t.document])))
    assert run("data", "pocket", "--split", "trian", "--out", str(tmp_path / "x")) == 2
    assert "train" in capsys.readouterr().err
