"""What a word for a model stands for: folder, adapter, run, hub id; 4-bit; and one line for each way to be wrong."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_qwen import converse, noise, plain, tiny

from armlite.errors import ArmliteError
from armlite.models import load_chat_model
from armlite.models.loading import load
from armlite.models.local import LocalModel, Sampling
from armlite.protocol.render import Conversation, Message

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory: `sft` is a whole model, `grpo1` and `grpo2` are adapters on it."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("runs") / "pocket"
    model, processor = tiny()
    model.save_pretrained(folder / "checkpoints" / "sft")
    processor.save_pretrained(folder / "checkpoints" / "sft")
    for i, stage in enumerate(("grpo1", "grpo2")):
        torch.manual_seed(i)
        config = LoraConfig(r=4, target_modules=r".*language_model.*(q|v)_proj", init_lora_weights=False)
        adapter = get_peft_model(load(folder / "checkpoints" / "sft")[0], config)
        adapter.peft_config["default"].base_model_name_or_path = "../sft"
        adapter.save_pretrained(folder / "checkpoints" / stage)
    return folder


def output(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(40, 60)[None]).logits


def test_a_folder_an_adapter_and_a_run_are_loaded(run, monkeypatch):
    whole, processor = load(run / "checkpoints" / "sft")
    assert not whole.training
    assert {p.dtype for p in whole.parameters()} == {torch.float32}
    assert processor.image_processor.size["longest_edge"] == 64 * 28 * 28
    first, _ = load(run / "checkpoints" / "grpo1")
    second, processor = load(run / "checkpoints" / "grpo2")
    assert processor.tokenizer.convert_tokens_to_ids("<|im_end|>") == second.config.text_config.eos_token_id
    assert not torch.equal(output(whole), output(first))
    assert not torch.equal(output(first), output(second))
    monkeypatch.chdir(run.parent)
    assert torch.equal(output(load("pocket")[0]), output(second))
    trainable, _ = load("./pocket/checkpoints/grpo1", trainable=True)
    assert {n.split(".")[-3] for n, p in trainable.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}


@pytest.mark.parametrize("said", ["pocket/checkpoints/sft", "../runs/pocket/checkpoints/sft"])
def test_an_adapter_on_another_run_s_sft_is_not_put_on_the_sft_of_its_own_run(run, tmp_path, said):
    own = tmp_path / "own"
    shutil.copytree(run / "checkpoints" / "grpo1", own / "checkpoints" / "grpo1")
    shutil.copytree(run / "checkpoints" / "grpo2", own / "checkpoints" / "sft")
    for stage in ("sft", "grpo1"):
        config = own / "checkpoints" / stage / "adapter_config.json"
        named = {**json.loads(config.read_text()), "base_model_name_or_path": str(run / "checkpoints" / "sft")}
        config.write_text(json.dumps(named))
    (own / "recipe.yaml").write_text(f"model: {{path: {said.replace('runs', run.parent.name)}}}\n")
    assert torch.equal(output(load(own / "checkpoints" / "grpo1")[0]), output(load(run / "checkpoints" / "grpo1")[0]))


def test_a_run_that_was_moved_still_finds_its_base_and_a_new_one_its_last_checkpoint(run, tmp_path):
    shutil.copytree(run, tmp_path / "moved")
    config = tmp_path / "moved" / "checkpoints" / "grpo2" / "adapter_config.json"
    saved = json.loads(config.read_text())
    config.write_text(json.dumps({**saved, "base_model_name_or_path": "/somewhere/else/checkpoints/sft"}))
    assert torch.equal(output(load(tmp_path / "moved")[0]), output(load(run)[0]))
    shutil.rmtree(config.parent)
    (config.parent / "checkpoint-5").mkdir(parents=True)
    expected = output(load(run / "checkpoints" / "grpo1")[0])
    assert torch.equal(output(load(tmp_path / "moved")[0]), expected)


def test_an_adapter_on_an_adapter_is_loaded_onto_the_merged_lower_one(run, tmp_path):
    shutil.copytree(run / "checkpoints", tmp_path / "c")
    config = tmp_path / "c" / "grpo2" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "../grpo1"}))
    both = output(load(tmp_path / "c" / "grpo2")[0])
    parts = [output(load(run / "checkpoints" / s)[0]) for s in ("sft", "grpo1", "grpo2")]
    assert not any(torch.allclose(both, part, atol=1e-3) for part in parts)
    with pytest.raises(ArmliteError, match="merge the lower one"):
        load(tmp_path / "c" / "grpo2", quantize="4bit")


def test_4_bit_leaves_the_vision_tower_and_the_output_layer_alone(run):
    from bitsandbytes.nn import Linear4bit

    model, _ = load(run / "checkpoints" / "grpo1", quantize="4bit")
    packed = [n for n, m in model.named_modules() if isinstance(m, Linear4bit)]
    assert len(packed) == 2 * 7
    assert all(".language_model.layers." in n for n in packed)
    base = model.get_base_model()
    assert {p.dtype for p in [*base.model.visual.parameters(), *base.lm_head.parameters()]} == {torch.float32}


def test_4_bit_on_the_cpu_rolls_out_exactly_and_still_trains_afterwards(run):
    model, processor = load(run / "checkpoints" / "grpo1", quantize="4bit", trainable=True)
    ids = torch.arange(40, 60)[None]

    def gradients():
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.requires_grad]

    before = gradients()
    conversation = Conversation("t", 3, (), [Message("user", "hi", (noise(56, 56),))])
    local = LocalModel(model, processor, Sampling(temperature=1, max_new_tokens=12))
    session, _ = converse(local, [conversation], [[Message("tool", "on", (noise(28, 56),))]])
    record = session.tokens(conversation)
    mask = torch.tensor(record.mask).bool()
    right = plain(model, processor, record)
    assert (right[mask] - torch.tensor(record.logprobs)[mask]).abs().max() <= 1e-5
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(), strict=True))


def test_a_chat_model_is_made_from_a_word(run, monkeypatch):
    model = load_chat_model(str(run), Sampling(max_new_tokens=3))
    assert model.name == str(run)
    _, replies = converse(model, [Conversation("t", 0, (), [Message("user", "hi")])], [[]])
    assert replies[0][0].tokens <= 3
    endpoint = load_chat_model("openai:judge@http://127.0.0.1:9/v1", Sampling(temperature=0.5))
    assert "judge" in endpoint.name


def test_importing_the_package_imports_no_torch():
    code = "import armlite.models, sys; print('torch' in sys.modules, 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"


def test_what_is_wrong_with_a_word_is_said_in_one_line(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sft = run / "checkpoints" / "sft"

    def folder(name, **files):
        (tmp_path / name).mkdir(parents=True)
        for file, content in files.items():
            (tmp_path / name / file.replace("__", ".")).write_text(content)
        return name

    other = json.dumps({**json.loads((sft / "config.json").read_text()), "model_type": "llama"})
    cut = folder("cut", config__json=(sft / "config.json").read_text())
    (tmp_path / cut / "model.safetensors").write_bytes((sft / "model.safetensors").read_bytes()[:1000])
    partial = folder("partial", config__json=(sft / "config.json").read_text())
    weights = load_file(sft / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if k != "lm_head.weight"},
        tmp_path / partial / "model.safetensors",
        {"format": "pt"},
    )
    shutil.copytree(run / "checkpoints", tmp_path / "c")
    torn = shutil.move(tmp_path / "c" / "grpo1", tmp_path / "torn").name
    shutil.move(tmp_path / "c" / "sft", tmp_path / "sft")
    (tmp_path / torn / "adapter_model.safetensors").write_bytes(b"nothing")
    folder("run/checkpoints/sft/checkpoint-3")
    cases = [
        ("nothing", "there is no model nothing: give a folder that exists"),
        ("./no/where", "there is no model"),
        (str(tmp_path / "gone"), "there is no model"),
        (folder("empty"), "holds no model: neither config.json"),
        (
            folder("llama", config__json=other, model__safetensors=""),
            "is a llama model; .* qwen2_5_vl .* qwen3_vl",
        ),
        (folder("bare", config__json=(sft / "config.json").read_text()), "has a config.json but no weights"),
        (folder("garbled", config__json="{"), "config.json cannot be read"),
        (cut, "weights of cut could not be loaded"),
        (partial, "weights in partial are incomplete: lm_head.weight and 0 more are missing"),
        (torn, "weights of torn could not be loaded"),
        ("run", r"no finished checkpoint yet \(looked for sft, grpo1, sft2, grpo2\)"),
        (folder("a", adapter_config__json="{}"), "does not say what its base model is"),
        (
            folder("b", adapter_config__json='{"base_model_name_or_path": "../gone"}'),
            r"base model ../gone of the adapter b is missing",
        ),
    ]
    for word, said in cases:
        with pytest.raises(ArmliteError, match=said) as error:
            load(word)
        assert "\n" not in str(error.value), word


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"quantize": "8bit"}, "quantize is '8bit'; it can be '4bit' or nothing"),
        ({"dtype": "bf16"}, "dtype is 'bf16'; it can be auto, bfloat16, float16, float32"),
        ({"device": "cuda"}, "device is 'cuda', but this machine"),
    ],
)
def test_an_option_that_cannot_be_is_said_in_one_line(run, option, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArmliteError, match=said):
        load(run, **option)


def test_a_hub_id_that_cannot_be_fetched_is_one_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code = (
        "from armlite.models.loading import load\nfrom armlite.errors import ArmliteError\n"
        "try: load('nobody/no-such-model')\nexcept ArmliteError as e: print(e)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said.startswith("nobody/no-such-model is no folder here, and the hub cannot be asked for it")
    assert said.count("\n") == 1


def test_unsloth_that_is_not_there_is_one_line_with_the_way_out():
    done = subprocess.run(
        [sys.executable, "-m", "armlite", "train", "recipes/pocket.yaml", "model.backend=unsloth"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "pip install -e '.[unsloth]'" in done.stderr and "model.backend=transformers" in done.stderr


def test_attention_is_left_to_kernels_that_take_any_shape(run):
    torch.backends.cuda.enable_cudnn_sdp(True)
    load(run)
    assert not torch.backends.cuda.cudnn_sdp_enabled()
