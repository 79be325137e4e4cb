"""Inputs and settings that change between two tries: the second says what changed, and mixes nothing."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from test_run import TINY
from tiny_run import RULES

from armlite.data.making.filter import filter_tasks
from armlite.data.tasks import read_tasks, write_tasks
from armlite.errors import ArmliteError
from armlite.evals.compare import compare_folders
from armlite.evals.folder import read_settings
from armlite.evals.run import run_benchmark
from armlite.models.lazy import LazyModel, weights_digest, writer_of
from armlite.models.sampling import Sampling
from armlite.pocket.world import generate
from armlite.recipe import check_recipe
from armlite.store import pieces_digest
from armlite.train.provenance import INPUTS
from armlite.train.run import train

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def tasks(tmp_path):
    """A file of six tasks of the instruction family, and its tasks."""
    made = [task for task in generate("train", 18, 0, tmp_path) if task.source.endswith("instruction")]
    write_tasks(tmp_path / "tasks.jsonl", made)
    return tmp_path / "tasks.jsonl", made


@pytest.fixture
def model(pocket, tmp_path):
    """A copy of the pocket model, to change."""
    shutil.copytree(pocket.folder, tmp_path / "model")
    return tmp_path / "model"


def evaluated(file, model, **changes):
    asked = {"settings": RULES, "max_new_tokens": 8, "max_context": 600, **changes}
    rest = {name: asked.pop(name) for name in ("max_calls", "n") if name in asked}
    return run_benchmark(str(file), str(model), out=file.parent / "out", options=asked, **{"n": 2, **rest})


def rules(**limits):
    return RULES.model_copy(update={"limits": RULES.limits.model_copy(update=limits)})


CHANGES = {
    "episode.limits.image_max_pixels 3136, not 784": {"settings": rules(image_max_pixels=784)},
    "episode.limits.verifier_mode 'strict', not 'tool'": {"settings": rules(verifier_mode="tool")},
    "episode.tools None, not": {"settings": RULES.model_copy(update={"tools": ("image_zoom_in_tool",)})},
    "writer.max_new_tokens 8, not 9": {"max_new_tokens": 9},
    "writer.max_context 600, not 601": {"max_context": 601},
    "writer.dtype None, not 'bfloat16'": {"dtype": "bfloat16"},
    "max_calls 3, not 2": {"max_calls": 2},
}


def test_an_evaluation_goes_on_with_equal_settings_and_no_other(tasks, model, capsys):
    file, made = tasks
    first = evaluated(file, model)
    assert evaluated(file, model) == first
    for said, change in CHANGES.items():
        with pytest.raises(ArmliteError, match=f"was begun with {said}"):
            evaluated(file, model, **change)
    write_tasks(file, made[::-1])
    with pytest.raises(ArmliteError, match=r"was begun with digest .*the files have changed since"):
        evaluated(file, model)
    write_tasks(file, made)
    config = model / "generation_config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(ArmliteError, match=r"was begun with writer\.digest .*the files have changed since"):
        evaluated(file, model)


def test_what_differs_between_compared_evaluations_is_told_by_its_name(tasks, model):
    file, _ = tasks
    evaluated(file, model)
    folder = file.parent / "out" / "tasks"
    shutil.copytree(folder, file.parent / "other")
    evaluated_settings = read_settings(folder)
    changed = evaluated_settings.model_copy(update={"episode": rules(crop_max_pixels=1).model_dump(mode="json")})
    (file.parent / "other" / "settings.json").write_text(changed.to_json())
    [row] = compare_folders(folder, file.parent / "other")
    assert any(w.startswith("episode.limits.crop_max_pixels differs: 28224 in a, 1 in b") for w in row["warnings"])


def test_data_in_the_making_does_not_go_on_with_another_budget(tasks, model):
    file, made = tasks

    def make(**options):
        filter_tasks(file, LazyModel(str(model), Sampling(**options), {}), RULES, file.parent / "hard.jsonl", "m", k=1)

    work = file.parent / "hard.jsonl.work"
    work.mkdir()
    (work / "rows.jsonl").write_text(json.dumps({"id": made[0].id, "rollout": 0, "right": False}) + "\n")
    setup = {"tasks": "0" * 32, "model": "m", "k": 1, "temperature": 1.0, "seed": 0}
    (work / "settings.json").write_text(json.dumps(setup))
    with pytest.raises(ArmliteError, match=r"tasks '0{32}', not '\w+' \(hashes: the files have changed since\)"):
        make()
    writer = writer_of(LazyModel(str(model), Sampling(max_new_tokens=9, temperature=1), {"api_key": "secret"}))
    assert writer == writer_of(LazyModel(str(model), Sampling(max_new_tokens=9, seed=4), {"workers": 3}))
    assert writer["max_new_tokens"] == 9 and writer["digest"] == weights_digest(str(model))


def test_a_digest_of_pieces_sees_names_sizes_and_contents(tmp_path):
    def digest():
        return pieces_digest(tmp_path.iterdir(), tmp_path)

    (tmp_path / "a").write_bytes(bytes(10_000_000))
    seen = [digest()]
    (tmp_path / "a").rename(tmp_path / "b")
    seen.append(digest())
    for change in (bytes(10_000_001), bytes(9_999_999) + b"1", bytes([1]) * 10_000_000):
        (tmp_path / "b").write_bytes(change)
        seen.append(digest())
    assert len(set(seen)) == len(seen) - 1, "a single byte of many is passed over, and only that"
    assert digest() == seen[-1]


def test_a_run_does_not_go_on_with_other_tasks(tmp_path, capsys):
    made = list(generate("train", 9, 0, tmp_path))
    write_tasks(tmp_path / "tasks.jsonl", made)
    (tmp_path / "mine.py").write_text("")
    changes = {
        "data": {**TINY["data"], "tasks": str(tmp_path / "tasks.jsonl"), "n_tasks": None},
        "stages": {"sft": {**TINY["stages"]["sft"], "steps": 1}},
        "imports": [str(tmp_path / "mine.py")],
    }
    recipe, run = check_recipe({**TINY, **changes}, "tiny"), tmp_path / "run"
    train(recipe, run)
    assert set(json.loads((run / INPUTS).read_text())) == {"data.tasks", "imports: mine.py"}
    capsys.readouterr()
    train(recipe, run, resume=True)
    assert "changed" not in capsys.readouterr().err
    for others in (made[:8], made[::-1], [*made, *read_tasks(_one_more(tmp_path))]):
        write_tasks(tmp_path / "tasks.jsonl", others)
        with pytest.raises(ArmliteError, match=r"the content of data\.tasks has changed since .*run was begun"):
            train(recipe, run, resume=True)
    write_tasks(tmp_path / "tasks.jsonl", made)
    Path(tmp_path / "mine.py").write_text("# another\n")
    train(recipe, run, resume=True)
    assert "imports: mine.py has changed since" in capsys.readouterr().err


def _one_more(folder):
    task = next(generate("test", 1, 5, folder))
    write_tasks(folder / "more.jsonl", [task.model_copy(update={"id": "one-more"})])
    return folder / "more.jsonl"
