"""A training recipe that names a data recipe builds its data first, trains on it, and keeps it."""

import json
from pathlib import Path

import pytest
import yaml
from making_tasks import photo

from armlite.data.tasks import read_tasks, write_tasks
from armlite.errors import ArmliteError
from armlite.evals.figures import Figure
from armlite.evals.report import shown
from armlite.plan.cards import find_card
from armlite.recipe import check_recipe, load_recipe
from armlite.train.card import card
from armlite.train.run import train
from armlite.types import Task

LIMITS = {"image_max_pixels": 784, "crop_max_pixels": 784, "sheet_max_pixels": 784, "page_max_pixels": 784}


@pytest.fixture
def place(pocket, tmp_path, monkeypatch):
    """A folder with pairs of the pocket world as a file, and a data recipe of them."""
    monkeypatch.chdir(tmp_path)
    data = {"sources": [{"set": "pocket", "rows": 24}], "held_out": {"share": 0.3}, "traces": None}
    Path("data.yaml").write_text(yaml.safe_dump(data))
    return pocket.folder


def recipe(model, **data):
    stage = {
        "steps": 1,
        "num_generations": 2,
        "tasks_per_step": 2,
        "per_device_train_batch_size": 4,
        "gradient_checkpointing": False,
        "max_new_tokens": 8,
        "max_context": 512,
    }
    plain = {
        "name": "small",
        "threads": 1,
        "model": {"path": str(model)},
        "episode": {"limits": {**LIMITS, "pages_per_query": 1, "page_max_characters": 60, "shown_characters": 24}},
        "data": {"build": "data.yaml", **data},
        "stages": {"grpo2": stage},
        "evaluation": {"max_new_tokens": 8, "max_context": 512},
    }
    return check_recipe(plain, "small")


def test_the_data_is_built_first_and_a_resumed_run_keeps_it(place):
    told = []
    run = train(recipe(place), Path("run"), notify=lambda event, values: told.append((event, values)))
    lines = [values["line"] for event, values in told if event == "data"]
    assert lines[0] == "pocket.rows: being made" and told[0][0] == "data"
    saved = yaml.safe_load((run / "recipe.yaml").read_text())
    assert saved["data"]["tasks"] == "run/data/tasks.jsonl" and saved["data"]["evaluation"] == "run/data/held_out.jsonl"
    inputs = json.loads((run / "inputs.json").read_text())
    assert {"data.tasks", "data.evaluation"} <= set(inputs) and (run / "report.md").is_file()
    before = (run / "data" / "build.json").read_bytes()
    train(recipe(place), Path("run"), resume=True)
    assert (run / "data" / "build.json").read_bytes() == before
    Path("data.yaml").write_text(Path("data.yaml").read_text().replace("24", "30"))
    with pytest.raises(ArmliteError, match=r"run was begun with another data.yaml than there is now"):
        train(recipe(place), Path("run"), resume=True)
    assert (run / "data" / "build.json").read_bytes() == before


def test_what_a_run_reports_on_is_left_out_of_its_data_and_the_card_says_so(place):
    plain = recipe(place).model_dump(mode="json")
    reported = {"benchmarks": [{"name": "pocket", "split": "train", "n": 5}], "benchmarks_at": ["last"]}
    told = []
    changed = check_recipe({**plain, "evaluation": {**plain["evaluation"], **reported}}, "small")
    run = train(changed, Path("run"), notify=lambda event, values: told.append(values.get("line")))
    assert told[0] == "benchmark pocket: being made" and "pocket.rows: being made" in told
    assert len(read_tasks(run / "benchmarks/grpo2/pocket/tasks.jsonl")) == 5
    text = card(run / "checkpoints/grpo2", str(place), "me/judge", "qwen2_5_vl")
    assert "| pocket | 19 of 24 rows | made by armlite | – |" in text
    assert "0 rows and 5 tasks were left out, 5 of these because a benchmark holds them" in text
    found = json.loads((run / "report.json").read_text())["benchmarks"][0]["cells"]["trained_tools"]["figure"]
    assert (
        f"| {shown('accuracy', Figure.model_validate(found))} |" in text.split("## Benchmarks")[1].split("## Data")[0]
    )
    [held_out, benchmark] = yaml.safe_load(text.split("---")[1])["model-index"][0]["results"]
    assert benchmark["dataset"]["name"] == "pocket" and benchmark["metrics"][0]["value"] == round(found["value"], 4)
    assert held_out["dataset"]["type"] == "held-out" and str(Path.cwd()) not in text


def test_a_run_that_was_stopped_while_its_data_was_built_goes_on(place, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("armlite.curation.build.hold_out", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(place), Path("run"))
    assert not Path("run/recipe.yaml").exists()
    told = []
    train(recipe(place), Path("run"), resume=True, notify=lambda event, values: told.append(values.get("line")))
    assert told[:4] == ["pocket.rows: is there", "pocket.screened: is there", "mixed: is there", "held_out: being made"]
    assert read_tasks("run/data/tasks.jsonl")


def test_files_of_ones_own_stay_what_the_recipe_says(place):
    photo(Path("own.png"))
    own = Task(id="o", kind="pairwise", question="Which?", images=("own.png",), responses=("a", "b"), gold=1)
    write_tasks("own.jsonl", [own])
    run = train(recipe(place, evaluation="own.jsonl"), Path("run"))
    assert yaml.safe_load((run / "recipe.yaml").read_text())["data"]["evaluation"] == "own.jsonl"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"held_out": {"share": 0}}, "holds none out"),
        ({"sources": [{"set": "pockt"}]}, "Did you mean 'pocket'?"),
    ],
    ids=["nothing held out", "unknown set"],
)
def test_a_data_recipe_that_does_not_do_is_told_before_anything_is_made(change, says, place):
    plain = yaml.safe_load(Path("data.yaml").read_text())
    Path("data.yaml").write_text(yaml.safe_dump(plain | change))
    with pytest.raises(ArmliteError, match=says.replace("?", r"\?")):
        train(recipe(place), Path("run"))
    assert not Path("run").exists()


def test_a_share_too_small_to_hold_a_task_out_is_told_and_a_larger_one_goes_on(place):
    plain = yaml.safe_load(Path("data.yaml").read_text())
    for share in (0.01, 0.3):
        Path("data.yaml").write_text(yaml.safe_dump(plain | {"held_out": {"share": share}}))
        if share < 0.1:
            with pytest.raises(ArmliteError, match="of 24 tasks none is held out to evaluate the stages on"):
                train(recipe(place), Path("run"))
    told = []
    train(recipe(place), Path("run"), resume=True, notify=lambda event, values: told.append(values.get("line")))
    assert told[0] == "pocket.rows: is there" and read_tasks("run/data/held_out.jsonl")


def test_a_card_that_is_too_small_is_told_before_anything_is_downloaded(tmp_path, monkeypatch):
    root = Path(__file__).parents[1]
    monkeypatch.chdir(root)
    monkeypatch.setattr("armlite.plan.this_card", lambda: find_card("6gb"))
    with pytest.raises(ArmliteError, match=r"needs about .* GiB, but only .* are free. To make it fit"):
        train(load_recipe("recipes/qwen2.5-vl-7b-24gb.yaml"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_cold_start_without_traces_and_a_model_that_is_not_there_are_told(place):
    sft = recipe(place).model_dump(mode="json")
    sft["stages"] = {"sft": {"steps": 1}}
    with pytest.raises(ArmliteError, match="stage sft learns from traces, and data.yaml makes none"):
        train(check_recipe(sft, "small"), Path("run"))
    with pytest.raises(ArmliteError, match="data.build needs a model that is there"):
        train(recipe("pocket"), Path("run"))
