"""Recipes: what ships loads, what is resolved loads again, and each mistake is one line that says what to do."""

from pathlib import Path

import pytest

from armlite.cli import main
from armlite.curation.recipe import load_data_recipe
from armlite.errors import ArmliteError
from armlite.recipe import Recipe, load_recipe
from armlite.train.building import with_rounds

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
GRPO = {"num_generations": 2, "per_device_train_batch_size": 2}


def write(folder, text):
    (folder / "r.yaml").write_text(text)
    return folder / "r.yaml"


def refused(path, *overrides):
    with pytest.raises(ArmliteError) as error:
        load_recipe(path, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_printed_resolved_and_loads_again(path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as status:
        main(["train", str(path), "--dry-run"])
    assert status.value.code in (0, None)
    out = capsys.readouterr().out
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    if recipe.data.build is not None:
        recipe = with_rounds(recipe, load_data_recipe(recipe.data.build))
    assert load_recipe(write(tmp_path, out)) == recipe
    for stage in recipe.stages.named():
        assert f"# {stage}: steps " in out
    assert [p.name for p in tmp_path.iterdir()] == ["r.yaml"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_opens_with_the_command_that_runs_it_and_what_it_needs(path):
    head = [line for line in path.read_text().splitlines()[:6] if line.startswith("#")]
    assert any(f"armlite train recipes/{path.name}" in line for line in head)
    assert any(line.startswith("# Needs:") for line in head)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stages: {sft: {step: 3}}", "unknown key stages.sft.step. Did you mean 'steps'? Known keys here: adapter,"),
        ("stages: {grpo1: {num_generation: 3}}", "Did you mean 'num_generations'?"),
        (
            "stages: {grpo1: {num_generations: 2, per_device_train_batch_size: 2, weights: {sucess: 1}}}",
            "unknown key stages.grpo1.weights.sucess. Did you mean 'success'? Parts of hierarchical: format, attempt,",
        ),
        (
            "stages: {grpo1: {num_generations: 2, per_device_train_batch_size: 2, reward: accuracy_only, "
            "success: executed}}",
            "the reward accuracy_only takes no `success: executed`: leave `success` out",
        ),
        ("stages: {grpo1: {weights: {format: much}}}", "stages.grpo1.weights.format: Input should be a valid number"),
        ("imports: my_tools.py\nstages: {sft: {}}", "imports: must be a list of files or modules"),
        ("episode: {tools: [image_zom_in_tool]}\nstages: {sft: {}}", "Did you mean 'image_zoom_in_tool'?"),
        ("stages: {stf: {}}", "unknown key stages.stf. Did you mean 'sft'?"),
        ("modle: {}\nstages: {sft: {}}", "unknown key modle. Did you mean 'model'?"),
        ("episode: {limits: {crop_pixels: 3}}\nstages: {sft: {}}", "Did you mean 'crop_max_pixels'?"),
        ("engine: {slots: 3}\nstages: {sft: {}}", "unknown key engine.slots. Did you mean 'max_slots'?"),
        ("model: {quantize: 8bit}\nstages: {sft: {}}", "model.quantize: Input should be 'none' or '4bit'"),
        ("stages: {sft: {steps: 0}}", "stages.sft.steps: Input should be greater than 0"),
        ("stages: {sft: {steps: many}}", "stages.sft.steps: Input should be a valid integer"),
        ("data: {n_traces: -1}\nstages: {sft: {}}", "data.n_traces: Input should be greater than 0"),
        ("stages: {}", "needs at least one of sft, grpo1, sft2, grpo2"),
        ("seed: 3", "needs at least one of sft, grpo1, sft2, grpo2"),
        ("- a\n- b", "must hold `key: value` lines"),
        ("", "must hold `key: value` lines"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(tmp_path, text, says):
    message = refused(write(tmp_path, text))
    assert says in message
    assert "r.yaml" in message


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.quantize=4bit", "stages.sft.adapter=none"], "4-bit weights cannot be trained"),
        (["stages.sft.train_vision=true"], "needs adapter: none"),
        (["stages.grpo1.per_device_train_batch_size=3"], "(3) must equal num_generations x tasks_per_step (2)"),
        (["stages.grpo1.max_new_tokens=9000"], "max_new_tokens (9000) must be below max_context (8192)"),
        (["stages.grpo1.reward=hierarchic"], "Did you mean 'hierarchical'?"),
        (
            ["stages.grpo1.num_iterations=2", "stages.grpo1.save_steps=5"],
            "save_steps (5) must be a multiple of num_iterations (2)",
        ),
        (["engine.max_tokens_in_cache=8000"], "engine.max_tokens_in_cache (8000) is below max_context (8192)"),
        (
            [
                "data.tasks=x.jsonl",
                "data.n_tasks=1",
                "stages.grpo1.tasks_per_step=2",
                "stages.grpo1.per_device_train_batch_size=4",
            ],
            "n_tasks",
        ),
        (["model.path=pocket", "data.traces=x.jsonl"], "data.traces: pocket"),
        (["stages.grpo1.num_generations=1", "stages.grpo1.per_device_train_batch_size=1"], "greater than 1"),
    ],
)
def test_an_impossible_combination_says_what_excludes_what(tmp_path, overrides, says):
    path = write(tmp_path, "stages: {sft: {}, grpo1: {num_generations: 2, per_device_train_batch_size: 2}}")
    load_recipe(path)
    assert says in refused(path, *overrides)


def test_overrides_replace_values_and_make_groups(tmp_path):
    path = write(tmp_path, "stages: {sft: {learning_rate: 1e-5}}")
    recipe = load_recipe(path, ["stages.sft.learning_rate=2e-5", "lora.r=4", "data.tasks=a=b.jsonl", "threads=2"])
    assert recipe.stages.sft.learning_rate == 2e-5
    assert (recipe.lora.r, recipe.data.tasks, recipe.threads) == (4, "a=b.jsonl", 2)
    assert load_recipe(path).stages.sft.learning_rate == 1e-5
    assert load_recipe(path, ["episode.tools=[image_zoom_in_tool]"]).episode.tools == ("image_zoom_in_tool",)
    assert (
        load_recipe(path, ["stages.grpo1={num_generations: 2, per_device_train_batch_size: 2}"]).stages.grpo1
        is not None
    )
    assert load_recipe(path, ["stages.sft=null", "stages.grpo1.per_device_train_batch_size=8"]).stages.sft is None


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("steps", "'steps' is not of the form key=value"),
        ("=3", "is not of the form key=value"),
        ("stages.sft.learning_rate.x=3", "learning_rate is a value, not a group of keys"),
        ("stages.sft.steps=[", "not valid YAML"),
        ("stages.sft.stpes=3", "Did you mean 'steps'?"),
        ("stages..steps=3", "unknown key"),
    ],
)
def test_a_wrong_override_is_named(tmp_path, override, says):
    path = write(tmp_path, "stages: {sft: {learning_rate: 1e-5}}")
    assert says in refused(path, override)


def test_a_missing_file_names_the_nearest_and_a_folder_is_no_recipe(tmp_path):
    write(tmp_path, "stages: {sft: {}}")
    assert "Did you mean 'r.yaml'?" in refused(tmp_path / "rr.yaml")
    assert "does not exist" in refused(tmp_path / "nowhere" / "r.yaml")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    assert "not valid YAML" in refused(tmp_path / "latin.yaml")


def test_the_resolved_text_of_any_recipe_loads_to_the_same_recipe(tmp_path):
    recipe = Recipe.model_validate(
        {
            "name": "odd: é",
            "stages": {"sft": {"learning_rate": 1e-7}, "grpo2": {**GRPO, "epsilon_high": 0.28}},
            "episode": {"tools": []},
            "data": {"tasks": "a b.jsonl"},
        }
    )
    path = tmp_path / "r.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(path) == recipe


def test_a_wrong_stage_is_named_before_anything_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, "stages: {sft: {}}")
    for stage, says in (("stf", "Did you mean 'sft'?"), ("grpo1", "the recipe has no stage grpo1; it has sft")):
        with pytest.raises(SystemExit) as status:
            main(["train", str(path), "--stage", stage])
        assert status.value.code == 2
        assert says in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["r.yaml"]


def test_training_reads_no_turn_leniently(tmp_path):
    path = write(tmp_path, "stages: {sft: {}}\nepisode: {parse: lenient}\n")
    assert "episode.parse: lenient is for judging" in refused(path)


def test_a_recipe_that_extends_another_says_what_differs_and_takes_the_rest(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "data.yaml").write_text("sources: [{set: pocket}]")
    (tmp_path / "below" / "tool.py").write_text("")
    below = "imports: [tool.py]\ndata: {build: data.yaml, n_tasks: 7}\nstages: {sft: {steps: 5, max_length: 99}}\n"
    (tmp_path / "below" / "first.yaml").write_text(below + "engine: {max_slots: 3}")
    (tmp_path / "second.yaml").write_text("extends: below/first.yaml\nstages: {sft: {steps: 6}}\ndata: {n_tasks: 8}")
    recipe = load_recipe(write(tmp_path, "extends: second.yaml\nseed: 4\nengine: {prefill_tokens: 64}"), ["seed=5"])
    assert (recipe.name, recipe.seed) == ("r", 5)
    assert (recipe.stages.sft.steps, recipe.stages.sft.max_length) == (6, 99)
    assert (recipe.engine.max_slots, recipe.engine.prefill_tokens) == (3, 64)
    assert recipe.data.n_tasks == 8 and Path(recipe.data.build) == tmp_path / "below" / "data.yaml"
    assert [Path(name).resolve() for name in recipe.imports] == [tmp_path / "below" / "tool.py"]
    assert not any(line.startswith("extends") for line in recipe.to_yaml().splitlines())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("extends: r.yaml", "extends this recipe in turn"),
        ("extends: nowhere.yaml", "nowhere.yaml does not exist"),
        ("extends: [a, b]", "extends: must be the file of another recipe"),
    ],
    ids=["itself", "no file", "a list"],
)
def test_a_recipe_that_extends_what_it_cannot_is_one_line(tmp_path, text, says):
    assert says in refused(write(tmp_path, text))
