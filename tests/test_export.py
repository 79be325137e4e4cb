"""`armlite export`: a judge as a plain model folder that any server can serve, with the rules that go with it."""

import json

import pytest
import torch
import yaml
from command_line import is_one_line, runner
from tiny_qwen import tiny
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from armlite.models.loading import load
from armlite.protocol.render import template_source
from armlite.recipe import saved_recipe
from armlite.rules import FILE, read_rules, rules_of
from armlite.train.weights import save_weights

pytestmark = pytest.mark.filterwarnings("ignore")
PLACE = ("checkpoints", "grpo1")


@pytest.fixture
def run(capsys):
    return runner(capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose last stage is an adapter on its first."""
    from peft import LoraConfig, get_peft_model

    run = tmp_path_factory.mktemp("run")
    model, processor = tiny()
    save_weights(model, processor, run / "checkpoints" / "sft")
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=r".*language_model.*(q|v)_proj", init_lora_weights=False)
    base = load(run / "checkpoints" / "sft")[0]
    save_weights(get_peft_model(base, config), processor, run.joinpath(*PLACE))
    recipe = saved_recipe("recipes/pocket.yaml")
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    return run


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(40, 60)[None]).logits


def test_the_folder_is_whole_and_says_the_same_as_the_run(run, trained, tmp_path):
    code, out, _ = run("export", trained, "--out", tmp_path / "judge")
    assert code == 0
    assert out.endswith(f"--rules {tmp_path / 'judge'}\n")
    alone = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "judge")
    assert torch.allclose(logits(alone), logits(load(trained)[0]), atol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path / "judge").chat_template == template_source()
    assert not (tmp_path / "judge" / "adapter_config.json").exists()
    assert read_rules(tmp_path / "judge") == rules_of(saved_recipe(trained / "recipe.yaml"))
    code, _, err = run("export", trained, "--out", tmp_path / "judge")
    assert code == 2
    assert is_one_line(err, "judge exists; give another --out")


def test_an_adapter_of_others_is_exported_without_rules(run, trained, tmp_path):
    (tmp_path / "adapter").mkdir()
    for file in trained.joinpath(*PLACE).iterdir():
        (tmp_path / "adapter" / file.name).write_bytes(file.read_bytes())
    code, out, _ = run("export", tmp_path / "adapter", "--out", tmp_path / "judge")
    assert code == 0
    assert "--rules" not in out
    assert not (tmp_path / "judge" / FILE).exists()


def test_weights_keep_the_type_that_they_are_stored_in(run, tmp_path):
    model, processor = tiny()
    save_weights(model.to(torch.bfloat16), processor, tmp_path / "base")
    assert run("export", tmp_path / "base", "--out", tmp_path / "judge")[0] == 0
    assert json.loads((tmp_path / "judge" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_base_in_4_bits_is_refused(run, tmp_path):
    model, processor = tiny()
    save_weights(model, processor, tmp_path / "base")
    save_weights(load(tmp_path / "base", quantize="4bit")[0], processor, tmp_path / "packed")
    code, _, err = run("export", tmp_path / "packed", "--out", tmp_path / "judge")
    assert code == 2
    assert is_one_line(err.splitlines()[-1] + "\n", "is stored in 4 bits, into which no adapter can be merged")
