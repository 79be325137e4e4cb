"""Evaluation: the figures and their intervals on hand-made trajectories, and the command on a real endpoint process."""

import dataclasses
import json

import pytest

from armlite.cli import main
from armlite.data.tasks import read_tasks, write_tasks
from armlite.episode import EpisodeSettings, presented_order
from armlite.errors import ArmliteError, DataError
from armlite.evals.figures import Answer, Benchmark, Item
from armlite.evals.folder import EvalRun, EvalSettings, gather
from armlite.evals.intervals import mean_interval, wilson
from armlite.evals.report import summarise
from armlite.evals.run import jobs_of, judge_jobs, run_benchmark
from armlite.evals.tasks import ACCURACY
from armlite.journal import Journal
from armlite.loop import Reply
from armlite.models.scripted import ScriptedModel
from armlite.store import read
from armlite.types import StopReason, Task, Trajectory

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


def evaluated(tasks, model, folder, **settings):
    """The figures of judging tasks, in a seeded order and its reverse."""
    asked = EvalSettings(benchmark="tasks", model="m", order="seeded_both", **settings)
    journal = Journal(folder / "trajectories.jsonl")
    judge_jobs(jobs_of(tasks, EpisodeSettings(), folder, asked), model, journal)
    run = EvalRun(folder, asked, gather(tasks, journal.trajectories()))
    return summarise(ACCURACY, run)["figures"]


def values(figures):
    return {name: figure["value"] for name, figure in figures.items()}


def test_what_is_undefined_is_null(tmp_path):
    assert wilson(0, 0) is None
    assert mean_interval([1.0]) is None
    figures = evaluated([], ScriptedModel([""]), tmp_path)
    for name in ("accuracy", "accuracy_judged", "tool_calls_per_task", "tool_success_rate", "format_rate"):
        assert figures[name] == {"value": None, "n": 0, "ci95": None}


def test_a_position_biased_judge_is_right_half_of_the_time_and_never_consistent(tmp_path):
    tasks = [pair(i, 1 + i % 2, "made/odd" if i % 2 else "made/even") for i in range(40)]
    figures = evaluated(tasks, ScriptedModel([ANSWER.format(1)]), tmp_path, seed=1)
    orders = {t.id: presented_order(t, 1) for t in tasks}
    found = values(figures)
    assert found["accuracy"] == sum(orders[t.id][0] == t.gold for t in tasks) / 40
    assert found["swap_consistency"] == 0.0
    assert figures["accuracy"]["n"] == 40, "swapped orders are no tasks of their own"
    assert figures["accuracy/odd"]["n"] == figures["accuracy/even"]["n"] == 20
    assert found["format_rate"] == 1.0
    assert found["tool_calls_per_task"] == 0.0
    assert found["tool_success_rate"] is None


def test_a_judge_that_reads_is_right_and_consistent(tmp_path):
    def reads(conversation):
        shown = conversation.messages[0].text
        return ANSWER.format(1 if shown.index("\nyes\n") < shown.index("\nno\n") else 2)

    figures = evaluated([pair(i, 1) for i in range(10)], ScriptedModel(reads), tmp_path)
    assert (values(figures)["accuracy"], values(figures)["swap_consistency"]) == (1.0, 1.0)
    assert figures["accuracy"]["ci95"] == pytest.approx([0.7225, 1.0], abs=1e-4)


def test_what_could_not_be_judged_is_told_apart_from_what_was_judged_wrong(tmp_path):
    def some(conversation):
        number = int(conversation.task_id[1:])
        return [ANSWER.format(1), "Hm.", Reply("no route", "error"), Reply("", "length")][number % 4]

    tasks = [pair(i, 1) for i in range(8)]
    found = values(evaluated(tasks, ScriptedModel(some), tmp_path))
    right = sum(presented_order(t, 0)[0] == 1 for t in tasks[::4])
    assert found["accuracy"] == right / 8, "over all"
    assert found["accuracy_judged"] == right / 2
    assert found["not_judged"] == 6 / 8
    stops = {name: value for name, value in found.items() if name.startswith("not_judged/")}
    assert stops == {"not_judged/no_answer": 0.25, "not_judged/model_error": 0.25, "not_judged/turn_budget": 0.25}


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
    assert run("eval", "--model", "openai:x@http://127.0.0.1:9/v1", "--benchmark", str(file)) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) <= 3


def test_tasks_without_gold_cannot_be_scored(tmp_path):
    write_tasks(tmp_path / "t.jsonl", [pair(0, None)])
    with pytest.raises(ArmliteError, match="no task has a gold answer"):
        run_benchmark(str(tmp_path / "t.jsonl"), "openai:x@http://127.0.0.1:9/v1", out=tmp_path)


def test_the_command_prints_the_summary_and_keeps_the_trajectories(server, tmp_path, capsys):
    model = f"openai:judge-7b@{server}/v1"
    write_tasks(tmp_path / "t.jsonl", [pair(i, 1) for i in range(6)])
    out = tmp_path / "out"
    arguments = ["eval", "--model", model, "--benchmark", str(tmp_path / "t.jsonl"), "--out", str(out), "--no-tools"]
    assert run(*arguments, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["items"] == 6
    assert set(summary["figures"]) >= {"accuracy", "accuracy/up", "tool_calls_per_task", "swap_consistency"}
    assert json.loads((out / "t" / "summary.json").read_text()) == summary
    assert len(list(read(out))) == 12, "each pair in both orders"
    assert "accuracy" in (out / "t" / "report.md").read_text()
    assert run(*arguments) == 0, "goes on, with nothing left to do"
    assert "accuracy *" in capsys.readouterr().out
    assert len(list(read(out))) == 12
    assert run(*arguments, "--no-swap") == 2, "another evaluation does not mix with the first"
    assert "order 'seeded_both', not 'seeded'" in capsys.readouterr().err
    write_tasks(tmp_path / "t.jsonl", [pair(i, 1) for i in range(7)])
    assert run(*arguments) == 2, "nor do other tasks"
    assert "digest" in capsys.readouterr().err


def test_pocket_tasks_are_made_by_the_command_and_read_back(tmp_path, capsys):
    out = tmp_path / "pocket"
    assert run("data", "pocket", "--split", "validation", "--n", "6", "--seed", "2", "--out", str(out), "--json") == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == 6
    tasks = read_tasks(out / "tasks.jsonl")
    assert [t.source for t in tasks[:3]] == ["pocket/zoom", "pocket/document", "pocket/instruction"]
    assert all((out / path).is_file() for t in tasks for path in (*t.images, *filter(None, [t.document])))
    assert run("data", "pocket", "--split", "trian", "--out", str(tmp_path / "x")) == 2
    assert "train" in capsys.readouterr().err


def test_of_several_votes_on_the_first_order_most_count():
    said = {"t0": (1, 1, 2), "t1": (1, 2, None), "t2": (None, None, 2), "t3": (None, None, None)}
    items = []
    for number, decisions in enumerate(said.values()):
        votes = [(decision, (1, 2)) for decision in decisions] + [(2, (2, 1))] * 3
        task = pair(number, gold=1)
        made = [
            Trajectory(task=task, order=order, decision=d, stop=StopReason.ANSWERED if d else StopReason.NO_ANSWER)
            for d, order in votes
        ]
        items.append(Item(task, tuple(map(Answer, made))))
    found = {name: figure.value for name, figure in ACCURACY.score(items).items()}
    assert found["accuracy"] == 1 / 4, "t0 is right, t1 is even, t2 is wrong, t3 was not judged"
    assert found["accuracy_judged"] == 1 / 2
    assert (found["not_judged/split"], found["not_judged/no_answer"]) == (1 / 4, 1 / 4)


def test_a_score_may_give_plain_numbers_and_has_to_give_its_main_figure(tmp_path):
    plain = Benchmark(name="mine", main="half", score=lambda items: {"half": 0.5}, dataset=None)
    run = EvalRun(tmp_path, EvalSettings(benchmark="mine", model="m", order="seeded"), ())
    assert summarise(plain, run)["figures"]["half"]["value"] == 0.5
    with pytest.raises(ArmliteError, match="main is 'whole'"):
        summarise(dataclasses.replace(plain, main="whole"), run)


def test_two_files_of_one_name_are_refused_before_anything_is_judged(tmp_path, capsys):
    for folder in ("a", "b"):
        write_tasks(tmp_path / folder / "tasks.jsonl", [pair(0, gold=1)])
    both = f"{tmp_path / 'a' / 'tasks.jsonl'},{tmp_path / 'b' / 'tasks.jsonl'}"
    assert run("eval", "--model", "openai:m@http://127.0.0.1:9/v1", "--benchmark", both) == 2
    assert "have results called tasks" in capsys.readouterr().err
