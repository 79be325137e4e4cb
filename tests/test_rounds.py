"""Two rounds of self-made traces: the base model's before the cold start, and the judge's after GRPO stage 1."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from making_tasks import lines

from armlite import Judge
from armlite.cli import main
from armlite.curation.build import build
from armlite.curation.plan import make_plan
from armlite.curation.recipe import DataRecipe
from armlite.curation.rounds import TRACES, TRACES_2, round_rows, second_round
from armlite.data.making.balance import balance_traces
from armlite.data.tasks import read_tasks
from armlite.data.traces import SavedConversations
from armlite.errors import ArmliteError
from armlite.memory import Limits
from armlite.pocket.shipped import FOLDER
from armlite.recipe import check_recipe, load_recipe
from armlite.rewards import is_right
from armlite.store import Saved, read, read_json, save
from armlite.train.building import with_rounds
from armlite.train.cold_start import conversations
from armlite.train.report import round_table
from armlite.train.run import train
from armlite.types import StopReason, Task, Trajectory

WRONG = "<think>They differ.</think>\n<answer>Overall Judgment: Answer 2 is better.</answer>"
GRPO = {"num_generations": 2, "per_device_train_batch_size": 2, "max_new_tokens": 8, "max_context": 512}


def trace(task, rollout, words="I see."):
    """A trajectory without a step, as far as a balance looks at it."""
    about = Task(id=task, kind="pairwise", question="Which?", responses=("a", "b"), gold=1, meta={"family": "zoom"})
    return Saved(
        trajectory=Trajectory(
            task=about,
            rollout=rollout,
            order=(0, 1),
            system=words,
            prompt="Which?",
            prompt_images=(),
            images=(),
            tools=(),
            steps=(),
            stop=StopReason.ANSWERED,
            decision=1,
            model="m",
        )
    )


def two_rounds(**changes):
    traces = {"k": 2, "rounds": 2, "family_ratio": 99, **changes}
    sources = [{"set": "pocket", "rows": 18}]
    return DataRecipe.model_validate({"sources": sources, "held_out": {"share": 0.2}, "traces": traces})


def test_of_a_task_that_a_later_round_has_traces_of_the_earlier_ones_go(tmp_path):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    save(first, [trace("a", 0), trace("b", 0)])
    save(second, [trace("b", 1, "later"), trace("c", 0, "later")])
    counts = balance_traces([first, second], tmp_path / "both.jsonl")
    rows = lines(tmp_path / "both.jsonl")
    found = {row["trajectory"]["task"]["id"]: row["trajectory"]["system"] for row in rows}
    assert found == {"a": "I see.", "b": "later", "c": "later"} and counts.taken_in == 4
    assert counts.rejected == {"more traces of its task than are kept": 1}


def test_each_round_reports_its_screens_and_all_that_it_left_out(tmp_path, monkeypatch, process):
    monkeypatch.chdir(tmp_path)
    process.script()
    data, out = two_rounds(model=process.model), Path("run/data")
    before = build(data, out)
    assert [row["round"] for row in round_rows(before)] == [1] and (out / TRACES).is_file()
    first = SavedConversations(out / TRACES, Limits())
    process.script(turns=[WRONG])
    with pytest.raises(ArmliteError, match=r"traces-2: none of .* is left"):
        second_round(data, out, Judge.load(process.model), "bad")
    process.script()
    judge, said = Judge.load(process.model, temperature=1.0), []
    found = second_round(data, out, judge, "grpo1", said.append)
    one, two = round_rows(found)
    assert (one["judged"], two["round"]) == (two["judged"], 2) and two["tool"] > 0 and two["kept"] >= one["kept"]
    steps = [row["step"] for row in found["table"]]
    assert steps[-4:] == ["traces", "balanced", "traces-2", "balanced-2"] and len(steps) == len(set(steps))
    for row in found["table"]:
        assert row["in"] == row["kept"] + sum(row["rejected"].values())
    left_out = [row for row in lines(out / "rejects.jsonl") if row["step"] in ("traces-2", "balanced-2")]
    assert len(left_out) == sum(sum(row["rejected"].values()) for row in found["table"][-2:])
    assert len(SavedConversations(out / TRACES_2, Limits())) == two["kept"] and len(first) == one["kept"]
    again = second_round(data, out, judge, "grpo1", said.append)
    assert again == found and said[-2:] == ["traces-2: is there", "balanced-2: is there"]
    assert len(round_table(Path("run"))) == 4


def test_a_second_cold_start_has_the_settings_of_the_first_unless_it_has_its_own(tmp_path):
    plain = {"data": {"build": "data.yaml"}, "stages": {"sft": {"steps": 7}, "grpo1": GRPO, "grpo2": GRPO}}
    twice = with_rounds(check_recipe(plain, "r"), two_rounds())
    assert list(twice.stages.named()) == ["sft", "grpo1", "sft2", "grpo2"] and twice.stages.sft2 == twice.stages.sft
    (tmp_path / "again.yaml").write_text(twice.to_yaml())
    assert with_rounds(load_recipe(tmp_path / "again.yaml"), two_rounds()).stages == twice.stages
    plain["stages"]["sft2"] = {"steps": 3}
    own = with_rounds(check_recipe(plain, "r"), two_rounds()).stages.sft2
    assert own is not None and own.steps == 3


def test_the_plan_counts_the_judgments_of_both_rounds(tmp_path, monkeypatch, capsys):
    calls = make_plan(two_rounds(), "some/base")["calls"]
    assert calls["traces"]["judgments"] == calls["traces, round 2"]["judgments"] == 2 * (18 - 3)
    monkeypatch.chdir(tmp_path)
    Path("data.yaml").write_text(yaml.safe_dump(two_rounds().model_dump(mode="json")))
    stages = {"sft": {"steps": 7}, "grpo1": GRPO}
    Path("r.yaml").write_text(yaml.safe_dump({"data": {"build": "data.yaml"}, "stages": stages}))
    with pytest.raises(SystemExit) as end:
        main(["train", "r.yaml", "--dry-run"])
    shown = capsys.readouterr().out
    assert not end.value.code and "# sft2: steps 7" in shown
    assert "# traces, round 2: 30 judgments by the judge after grpo1" in shown


@pytest.mark.parametrize(
    ("stages", "traces", "says"),
    [
        ({"sft": {}, "grpo2": GRPO}, {"rounds": 2}, "the second round is made by the judge after grpo1"),
        (
            {"grpo1": GRPO, "sft": {}, "sft2": {}},
            {"rounds": 1},
            "sft2 learns from a second round of traces, and data.yaml",
        ),
        ({"sft": {}, "sft2": {}}, {"rounds": 2}, "stages.sft2: learns from traces that the judge after grpo1 makes"),
        ({"sft": {}, "grpo1": GRPO}, {"rounds": 3}, "traces.rounds: Input should be less than or equal to 2"),
        (
            {"sft": {}, "grpo1": GRPO},
            {"rounds": 2, "published": {"set": "arm-thinker-data"}},
            "rounds: 2 is for traces that a model makes",
        ),
    ],
    ids=["no grpo1", "one round only", "sft2 without grpo1", "three rounds", "published"],
)
def test_rounds_that_cannot_be_are_told_before_anything_is_made(stages, traces, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = {"sources": [{"set": "pocket", "rows": 9}], "traces": traces}
    Path("data.yaml").write_text(yaml.safe_dump(data))
    Path("r.yaml").write_text(yaml.safe_dump({"data": {"build": "data.yaml"}, "stages": stages}))
    with pytest.raises(SystemExit) as end:
        main(["train", "r.yaml", "--output", "run"])
    error = capsys.readouterr().err
    assert end.value.code == 2 and says in error and not Path("run").exists()


def test_a_build_by_itself_says_who_makes_the_second_round(tmp_path, monkeypatch, capsys, process):
    monkeypatch.chdir(tmp_path)
    process.script()
    Path("data.yaml").write_text(yaml.safe_dump(two_rounds(model=process.model).model_dump(mode="json")))
    with pytest.raises(SystemExit) as end:
        main(["data", "build", "data.yaml", "--out", "out"])
    assert not end.value.code
    assert "second round of traces is made within armlite train" in " ".join(capsys.readouterr().out.split())
    assert json.loads(Path("out/build.json").read_text())["recipe"]["traces"]["rounds"] == 2


@pytest.mark.slow
def test_in_a_pocket_world_the_second_cold_start_learns_what_was_right_beside_the_expert(tmp_path):
    asked = (
        f"model.path={FOLDER} data.n_traces=6 data.n_tasks=6 data.n_evaluation=3 data.second_round=2 "
        "stages.sft.adapter=lora stages.sft.train_vision=false stages.sft.steps=1 stages.sft.learning_rate=1e-9 "
        "stages.grpo1.steps=1 stages.grpo1.learning_rate=1e-9 stages.grpo1.tasks_per_step=2 "
        "stages.grpo1.num_generations=2 stages.grpo1.per_device_train_batch_size=4 stages.grpo2=null "
        "stages.sft2.steps=1 stages.sft2.max_length=512"
    ).split()
    recipe, made = load_recipe("recipes/pocket.yaml", asked), []
    run = train(recipe, tmp_path / "run", notify=lambda event, values: made.append(values.get("step")))
    rows = [row.trajectory for row in read(run / "data" / "traces-2.jsonl")]
    assert rows and all(is_right(t.task, t.decision) and t.model == "grpo1" for t in rows)
    assert {t.task.id for t in rows} <= {t.id for t in read_tasks(run / "data" / "train" / "tasks.jsonl")}
    learnt = conversations(recipe, run, "sft2", {})
    assert len(learnt) == 6 + len(rows) and read_json(run / "stages.json")["sft2"]["conversations"] == len(learnt)
    assert "traces-2" in made

    made.clear()  # a run that goes on after it makes none again
    shutil.rmtree(run / "checkpoints" / "sft2")
    train(recipe, run, resume=True, notify=lambda event, values: made.append(values.get("step")))
    assert "traces-2" not in made and (run / "checkpoints" / "sft2").is_dir()
