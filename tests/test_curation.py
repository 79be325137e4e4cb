"""A data recipe becomes one folder whose counts add up; killed it goes on, and a change rebuilds what hangs on it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml
from hub import environment, serve_hub
from making_tasks import lines, photo
from published import deepeyes, llava_critic

from armlite.cli import main
from armlite.curation.build import Base, build
from armlite.curation.plan import licence_notes, make_plan, plan_lines
from armlite.curation.recipe import DataRecipe, load_data_recipe
from armlite.data.tasks import read_tasks, write_tasks
from armlite.data.traces import SavedConversations
from armlite.errors import ArmliteError
from armlite.memory import Limits
from armlite.types import Task

POCKET = {"set": "pocket", "rows": 9}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a published set and a file of good answers about six pictures, two for each picture."""
    monkeypatch.chdir(tmp_path)
    llava_critic.build(Path("llava"), "parquet")
    for i in range(6):
        photo(Path("good") / f"{i}.png", seed=i)
    good = [
        Task(
            id=f"g{i}",
            kind="open_qa",
            question=f"How many cups, {i}?",
            images=(f"{i // 2}.png",),
            gold=(f"There are {i + 3} cups.",),
        )
        for i in range(12)
    ]
    write_tasks("good/good.jsonl", good)
    write_tasks("good/test.jsonl", good[:2])
    return tmp_path


def recipe(**changes):
    plain = {
        "sources": [
            {"set": "llava-critic", "path": "llava", "kinds": ["pairwise"]},
            {"set": "file", "path": "good/good.jsonl", "make": "pairs"},
            {"name": "checks", **POCKET, "make": "checks"},
        ],
        "benchmarks": [{"set": "file", "path": "good/test.jsonl"}],
        "held_out": {"share": 0.4},
        "traces": None,
    }
    return DataRecipe.model_validate({**plain, **changes})


def made(out):
    """All that a build is read for, as bytes."""
    return {
        name: (out / name).read_bytes() for name in ("tasks.jsonl", "held_out.jsonl", "rejects.jsonl", "build.json")
    }


def test_counts_add_up_from_published_rows_to_training_tasks(place):
    found = build(recipe(), Path("out"))
    totals = found["totals"]
    tasks, held = read_tasks("out/tasks.jsonl"), read_tasks("out/held_out.jsonl")
    assert (totals["training_tasks"], totals["held_out"]) == (len(tasks), len(held)) and held
    rejects = lines(Path("out/rejects.jsonl"))
    assert len(rejects) == totals["rejected_rows"] + totals["rejected_tasks"] and all(row["why"] for row in rejects)
    assert totals["tasks_of_rows"] == totals["rejected_tasks"] + len(tasks) + len(held)
    for row in found["table"]:
        assert row["in"] == row["kept"] + sum(row["rejected"].values())
    screened = next(row for row in found["table"] if row["step"] == "good.screened")
    assert screened["rejected"] == {"in a benchmark: same question, same picture": 2}
    kinds = {task.meta["data"]: task.kind for task in tasks + held}
    assert kinds == {"llava-critic": "pairwise", "good": "pairwise", "checks": "pointwise"}
    assert {task.gold for task in tasks + held if task.kind == "pointwise"} == {True, False}


def test_no_picture_is_on_both_sides_and_all_can_be_opened(place):
    build(recipe(), Path("out"))
    shown = {}
    for name in ("tasks", "held_out"):
        root, tasks = Path("out"), read_tasks(f"out/{name}.jsonl")
        shown[name] = {(root / image).read_bytes() for task in tasks for image in task.images}
    assert shown["tasks"] and shown["held_out"] and not shown["tasks"] & shown["held_out"]


def test_tasks_without_a_picture_are_held_out_by_question_and_constraint(place):
    build(recipe(sources=[{**POCKET, "rows": 60}], benchmarks=[]), Path("out"))
    said = [
        {(t.question, *(c.text for c in t.constraints)) for t in read_tasks(f"out/{name}.jsonl") if t.constraints}
        for name in ("tasks", "held_out")
    ]
    assert all(said) and not said[0] & said[1]


def test_a_source_can_be_held_out_whole(place):
    build(recipe(held_out={"share": 0, "sources": ["good"]}), Path("out"))
    assert {task.meta["data"] for task in read_tasks("out/held_out.jsonl")} == {"good"}
    assert "good" not in {task.meta["data"] for task in read_tasks("out/tasks.jsonl")}


def test_a_changed_recipe_rebuilds_what_depends_on_the_change_and_says_what(place):
    build(recipe(), Path("out"))
    before, said = made(Path("out")), []
    build(recipe(), Path("out"), say=said.append)
    assert all(line.endswith("is there") for line in said) and made(Path("out")) == before
    said.clear()
    other = recipe().model_dump(mode="json")
    other["sources"][1]["make"] = "checks"
    build(DataRecipe.model_validate(other), Path("out"), say=said.append)
    again = [line.partition(":")[0] for line in said if "is there" not in line]
    assert again == ["good.screened", "good.checks", "mixed", "held_out", "tasks"]
    assert "good.screened: made anew, since make was 'pairs' and is 'checks'" in said
    said.clear()
    build(recipe(), Path("out"), say=said.append)
    assert "good.checks: is no part of the recipe any more" in said and made(Path("out")) == before
    write_tasks("good/good.jsonl", read_tasks("good/good.jsonl")[:8])
    said.clear()
    build(recipe(), Path("out"), say=said.append)
    assert "good.rows: made anew, since content has changed" in said and "llava-critic.rows: is there" in said


def test_what_a_training_recipe_reports_on_is_not_trained_on_and_a_change_of_it_is_screened_anew(place):
    known, said = read_tasks("good/good.jsonl"), []
    write_tasks("good/reported.jsonl", known[4:6])
    build(recipe(), Path("out"), Base(benchmarks=(Path("good/reported.jsonl"),)))
    stamp = json.loads(Path("out/steps/good.screened.json").read_text())
    assert stamp["counts"]["rejected"] == {"in a benchmark: same question, same picture": 4}
    write_tasks("good/reported.jsonl", known[4:7])
    build(recipe(), Path("out"), Base(benchmarks=(Path("good/reported.jsonl"),)), say=said.append)
    assert "good.screened: made anew, since benchmarks has changed" in "\n".join(said)
    assert "good.rows: is there" in said
    assert json.loads(Path("out/build.json").read_text())["totals"]["rejected_tasks"] >= 5


def test_a_source_that_gives_less_than_its_share_is_told(place):
    said = []
    build(
        recipe(sources=[{"set": "file", "path": "good/good.jsonl", "make": "pairs", "n": 11}]),
        Path("out"),
        say=said.append,
    )
    assert "source good gives 10 of the 11 tasks it was asked for" in said


def test_a_file_that_was_lost_or_changed_is_made_again(place):
    build(recipe(), Path("out"))
    before = made(Path("out"))
    Path("out/tasks.jsonl").write_text("{}")
    Path("out/held_out.jsonl").unlink()
    build(recipe(), Path("out"))
    assert made(Path("out")) == before


def cold(server, **changes):
    traces = {"model": f"openai:judge-7b@{server}/v1", "k": 2, "family_ratio": 1, **changes}
    sources = [{"set": "file", "path": "good/good.jsonl", "make": "pairs"}, {"set": "llava-critic", "path": "llava"}]
    return recipe(sources=sources, benchmarks=[], traces=traces).model_dump(mode="json")


def test_traces_are_screened_and_balanced_over_tasks_and_families(place, server):
    httpx.post(f"{server}/control", json={}).raise_for_status()
    found = build(DataRecipe.model_validate(cold(server)), Path("out"))
    traced, balanced = found["table"][-2:]
    assert traced["step"] == "traces" and set(traced["rates"]) == {"format", "verdict", "tool"}
    assert balanced["kept"] == len(SavedConversations("out/traces.jsonl", Limits())) > 0
    assert len(set(balanced["families"].values())) == 1
    ids = [row["trajectory"]["task"]["id"] for row in lines(Path("out/traces.jsonl"))]
    assert len(ids) == len(set(ids))


def test_a_build_that_is_killed_again_and_again_ends_with_the_same_data(place, server):
    Path("data.yaml").write_text(yaml.safe_dump(cold(server)))
    httpx.post(f"{server}/control", json={"delay": 0.05}).raise_for_status()
    words = [sys.executable, "-m", "armlite", "data", "build", "data.yaml", "--workers", "2", "--out"]
    rng, killed = random.Random(0), 0
    for _ in range(3):
        process = subprocess.Popen([*words, "killed"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        limit = time.monotonic() + 60
        while not Path("killed/steps").is_dir() and time.monotonic() < limit:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.05, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed
    for name in ("killed", "whole"):
        subprocess.run([*words, name], check=True, capture_output=True)
    assert made(Path("killed")) == made(Path("whole"))
    assert Path("killed/traces.jsonl").read_bytes() == Path("whole/traces.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sources": [{"set": "lava-critic"}]}, "Did you mean 'llava-critic'?"),
        ({"sources": [{"set": "file", "path": "good/good.jsonl", "rows": 13}]}, "13 rows are asked for, but"),
        ({"sources": [{"set": "llava-critic", "path": "llava", "rows": 99}]}, "99 rows are asked for, but"),
        ({"sources": [{"set": "vstar"}], "benchmarks": [{"set": "vstar"}]}, "which is one of the benchmarks, too"),
        ({"sources": [{"set": "mathvista"}]}, "training on it is prohibited"),
        ({"sources": [POCKET, POCKET]}, "two sources are called pocket"),
        ({"sources": [{**POCKET, "weight": 1}]}, "weights need a total"),
        ({"sources": [{**POCKET, "kinds": ["rating"]}]}, "none of 9 tasks is left"),
        ({"sources": [{"set": "file", "path": "none.jsonl"}]}, "none.jsonl, which is to hold file, does not exist"),
        ({"sources": [POCKET], "held_out": {"sources": ["poket"]}}, "Did you mean 'pocket'?"),
        ({"sources": [POCKET], "traces": {"k": 2}}, "traces is to be the work of the base model, and there is none"),
        ({"sources": [POCKET], "trace": None}, "unknown key trace. Did you mean 'traces'?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_in_one_sentence(change, says, place, capsys):
    plain = {"benchmarks": [], "traces": None, **change}
    Path("data.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(SystemExit) as end:
        main(["data", "build", "data.yaml", "--out", "out"])
    error = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 2 and says in error
    assert not Path("out/tasks.jsonl").exists()


def test_a_folder_of_something_else_is_left_alone(place):
    with pytest.raises(ArmliteError, match="is not empty and holds no build"):
        build(recipe(), Path("good"))


def test_the_recipes_that_come_along_can_be_read():
    files = sorted((Path(__file__).parents[1] / "recipes" / "data").glob("*.yaml"))
    names = {"arm-thinker", "mini", "own", "self-made", "self-taught"}
    assert {load_data_recipe(file).name for file in files} == names


def test_the_command_prints_the_table_and_the_sum(place, capsys):
    Path("data.yaml").write_text(yaml.safe_dump(recipe().model_dump(mode="json")))
    main_words = ["data", "build", "data.yaml", "--out", "out"]
    for words in (main_words, [*main_words, "--json"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code
        shown = capsys.readouterr().out
        assert "training_tasks" in shown if "--json" in words else "to train on" in shown
    assert json.loads(shown)["totals"]["training_tasks"] > 0


def test_the_plan_says_what_is_known_and_what_is_not(place, capsys):
    plain = recipe(traces={"model": "some/judge", "n": 5, "k": 3}, filter={"model": "some/judge", "k": 2})
    plan = make_plan(plain, None)
    assert plan["calls"] == {
        "filter": {"model": "some/judge", "judgments": None},
        "traces": {"model": "some/judge", "judgments": 15},
    }
    assert plan["sources"]["good"]["rows"] == 12 and plan["download_gb"] == 0 and plan["hours"] is None
    assert "hours of judging: not known" in plan_lines(plan)


def test_the_plan_of_the_papers_sources_needs_no_network(monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    root = Path(__file__).parents[1]
    monkeypatch.chdir(root)
    for words in (["data", "build", "recipes/data/arm-thinker.yaml"], ["train", "recipes/qwen2.5-vl-7b-24gb.yaml"]):
        with pytest.raises(SystemExit) as end:
            main([*words, "--dry-run"])
        assert not end.value.code
        shown = capsys.readouterr().out
        assert "download not known" in shown and "traces: 8,000 judgments by Qwen/Qwen2.5-VL-7B-Instruct" in shown
        assert "licence of the mix: the licence of a part of the mix is not known" in shown


@pytest.mark.parametrize(
    ("licences", "says"),
    [
        (["MIT", "CC-BY-NC-4.0"], ["non-commercial"]),
        (["unknown", "CC-BY-SA-4.0"], ["shared alike", "not known"]),
        (["Apache-2.0", "MIT"], ["nothing in the licences"]),
    ],
    ids=["non-commercial", "share alike, unknown", "free"],
)
def test_the_licences_of_a_mix_are_put_into_words(licences, says):
    notes = licence_notes(licences)
    assert len(notes) == len(says) and all(word in note for word, note in zip(says, notes, strict=True))


HUB = """
sources:
  - {set: deepeyes, hub: some/deepeyes, make: pairs}
held_out: {share: 0.5}
traces: null
"""


def test_a_source_comes_from_the_hub_once_and_then_from_the_cache(place, tmp_path):
    deepeyes.build(Path("deepeyes"), "parquet")
    Path("data.yaml").write_text(HUB)
    command = [sys.executable, "-m", "armlite", "data", "build", "data.yaml"]
    with serve_hub() as hub:
        hub.add("datasets/some/deepeyes", Path("deepeyes"))
        here = os.environ | environment(hub, tmp_path / "cache")
        plan = subprocess.run([*command, "--dry-run", "--json"], env=here, check=True, capture_output=True)
        size = sum(len(data) for data in hub.files("datasets/some/deepeyes").values())
        assert json.loads(plan.stdout)["download_gb"] == round(size / 1e9, 2)
        subprocess.run([*command, "--out", "one"], env=here, check=True, capture_output=True)
    stamp = json.loads(Path("one/steps/deepeyes.rows.json").read_text())
    assert len(stamp["inputs"]["revision"]) == 40
    offline = here | {"HF_HUB_OFFLINE": "1"}
    again = subprocess.run([*command, "--out", "one"], env=offline, check=True, capture_output=True, text=True)
    assert "deepeyes.rows: is there" in again.stderr
    subprocess.run([*command, "--out", "two"], env=offline, check=True, capture_output=True)
    for name in ("tasks.jsonl", "held_out.jsonl", "rejects.jsonl"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
