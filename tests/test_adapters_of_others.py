"""Adapters and bases as other programs write them and as others read ours: names, quantised bases, gated models."""

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_qwen import tiny

from armlite.errors import ArmliteError
from armlite.models.loading import load
from armlite.models.places import check_model
from armlite.train.weights import save_weights

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore")
NOW, BEFORE = "base_model.model.model.language_model.", "base_model.model.model."


def output(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(40, 60)[None]).logits


def adapted(base, folder, target=r".*language_model.*(q|v)_proj", **options):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=target, init_lora_weights=False, **options)
    save_weights(get_peft_model(load(base)[0], config), load(base)[1], folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`base`, `adapter` on it, and `packed`, the base in 4 bits."""
    folder = tmp_path_factory.mktemp("models")
    model, processor = tiny()
    save_weights(model, processor, folder / "base")
    adapted(folder / "base", folder / "adapter")
    save_weights(load(folder / "base", quantize="4bit")[0], processor, folder / "packed")
    return folder


@pytest.fixture
def adapter(made, tmp_path):
    """A copy of the adapter, to change."""
    shutil.copytree(made / "adapter", tmp_path / "adapter")
    return tmp_path / "adapter"


def rename(folder, change):
    """Give the tensors of an adapter other names; those whose name becomes None go."""
    file = folder / "adapter_model.safetensors"
    weights = {change(name): tensor for name, tensor in load_file(file).items()}
    save_file({name: tensor for name, tensor in weights.items() if name}, file, {"format": "pt"})


def configure(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("target", [None, ["q_proj", "v_proj"], r"model\.layers\.\d+\.self_attn\.(q|v)_proj"])
def test_an_adapter_with_the_names_of_older_versions_does_what_it_did(made, adapter, target):
    expected = output(load(made / "adapter")[0])
    rename(adapter, lambda name: name.replace(NOW, BEFORE))
    if target:
        configure(adapter, target_modules=target)
    model, _ = load(adapter, trainable=True)
    assert torch.equal(output(model), expected)
    assert not torch.allclose(output(model), output(load(made / "base")[0]), atol=1e-3)
    assert sum(p.requires_grad for p in model.parameters()) == 8


def test_an_adapter_of_the_vision_tower_and_with_whole_modules_is_loaded_by_old_names_too(made, tmp_path):
    target = r".*(language_model|visual).*\.(q_proj|qkv)"
    adapted(made / "base", tmp_path / "both", target, modules_to_save=["lm_head"])
    expected = load(tmp_path / "both")[0].state_dict()
    old = {NOW: BEFORE, "base_model.model.model.visual.": "base_model.model.visual."}
    rename(tmp_path / "both", lambda n: next((n.replace(a, b) for a, b in old.items() if n.startswith(a)), n))
    found = load(tmp_path / "both")[0].state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n: n.replace("self_attn", "attention"), "8 of its 8 tensors have no place there, and 8 are missing"),
        (lambda n: None if "layers.1" in n else n, "0 of its 4 tensors have no place there, and 4 are missing"),
        (lambda n: n.replace("layers.1", "layers.7"), "4 of its 8 tensors have no place there, and 4 are missing"),
    ],
)
def test_an_adapter_that_does_not_fit_its_base_is_refused_with_counts(adapter, change, said):
    rename(adapter, change)
    with pytest.raises(ArmliteError, match=f"does not fit its base: {said}"):
        load(adapter)


def test_an_adapter_without_weights_is_one_line(adapter):
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ArmliteError, match="has an adapter_config.json but no weights"):
        load(adapter)


def test_an_adapter_for_modules_that_are_not_there_is_one_line(adapter):
    rename(adapter, lambda name: name.replace("self_attn", "attention"))
    configure(adapter, target_modules=["query"])
    with pytest.raises(ArmliteError, match="adapter is for another model: ") as error:
        load(adapter)
    assert "\n" not in str(error.value)


def test_others_load_our_adapter_from_anywhere(made, tmp_path, monkeypatch):
    from peft import PeftConfig
    from transformers import AutoModelForImageTextToText

    monkeypatch.chdir(tmp_path)
    base = PeftConfig.from_pretrained(str(made / "adapter")).base_model_name_or_path
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    model.load_adapter(str(made / "adapter"))
    assert torch.equal(output(model.eval()), output(load(made / "adapter")[0]))


def test_a_copied_run_uses_its_own_base(made, tmp_path):
    first = tmp_path / "run" / "checkpoints"
    shutil.copytree(made / "base", first / "sft")
    adapted(first / "sft", first / "grpo1")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    other, processor = tiny(seed=1)
    shutil.rmtree(tmp_path / "copy" / "checkpoints" / "sft")
    save_weights(other, processor, tmp_path / "copy" / "checkpoints" / "sft")
    own = load(tmp_path / "copy" / "checkpoints" / "grpo1")[0]
    assert torch.equal(own.base_model.model.lm_head.weight, other.lm_head.weight)


@pytest.mark.parametrize("quantize", [None, "4bit"])
def test_a_base_stored_in_4_bits_is_that_base_with_and_without_an_adapter(made, adapter, quantize):
    packed, asked = load(made / "packed", quantize=quantize)[0], load(made / "base", quantize="4bit")[0]
    assert torch.equal(output(packed), output(asked))
    configure(adapter, base_model_name_or_path=str(made / "packed"))
    model = load(adapter, quantize=quantize, trainable=True)[0]
    expected = load(made / "adapter", quantize="4bit")[0]
    assert torch.equal(output(model), output(expected))
    model(input_ids=torch.arange(40, 60)[None], labels=torch.arange(40, 60)[None]).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    check_model(str(adapter), quantize)
    with pytest.raises(ArmliteError, match="packed is stored in 4 bits, and such weights cannot be trained"):
        check_model(str(adapter), quantize, train_all=True)
    configure(adapter, base_model_name_or_path=str(made / "adapter"))
    configure(made / "adapter", base_model_name_or_path=str(made / "packed"))
    try:
        with pytest.raises(ArmliteError, match="merge the lower one"):
            load(adapter, quantize=quantize)
    finally:
        configure(made / "adapter", base_model_name_or_path=str(made / "base"))


STORED = {
    "awq": {"quant_method": "awq", "bits": 4},
    "gptq": {"quant_method": "gptq", "bits": 4},
    "fp8": {"quant_method": "fp8"},
    "bitsandbytes 8-bit": {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False},
}


@pytest.mark.parametrize(("how", "stored"), STORED.items())
@pytest.mark.parametrize("quantize", [None, "4bit"])
def test_other_quantised_bases_are_refused_before_anything_is_read(made, adapter, tmp_path, how, stored, quantize):
    folder = tmp_path / "stored"
    folder.mkdir()
    config = json.loads((made / "base" / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": stored}))
    (folder / "model.safetensors").touch()
    configure(adapter, base_model_name_or_path=str(folder))
    for spec in (folder, adapter):
        for ask in (load, check_model):
            with pytest.raises(ArmliteError, match=rf"stored is quantised already \({how}\)"):
                ask(str(spec), quantize=quantize)


class _Gated(BaseHTTPRequestHandler):
    """A hub with a gated model, an open adapter on it and a gated one."""

    def _answer(self):
        files = ["adapter_config.json"] if "adapter" in self.path else ["config.json", "model.safetensors"]
        if self.path.startswith("/api/models/"):
            name = self.path.removeprefix("/api/models/").split("?")[0]
            listed = {"id": name, "sha": "a" * 40, "siblings": [{"rfilename": f} for f in files]}
            status, body, more = 200, json.dumps(listed), {}
        elif self.path.endswith("/adapter_config.json") and "org/adapter" in self.path:
            status, body = 200, json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/gated"})
            more = {"X-Repo-Commit": "a" * 40, "ETag": '"e"'}
        else:
            status, body, more = 403, "{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body.encode())

    do_GET = do_HEAD = _answer

    def log_message(self, *_):
        pass


CLOSED = {"org/gated": "org/gated", "org/adapter": "org/gated", "org/closed-adapter": "org/closed-adapter"}
"""What is asked for -> what is gated of it."""


@pytest.mark.parametrize(("name", "gated"), CLOSED.items())
def test_a_gated_model_is_one_sentence_with_its_page(name, gated, tmp_path):
    hub = HTTPServer(("127.0.0.1", 0), _Gated)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{hub.server_port}"
    (tmp_path / "tasks.jsonl").write_text(json.dumps({"id": "a", "kind": "open_qa", "question": "?", "gold": "b"}))
    words = ["eval", "--benchmark", "tasks.jsonl", "--model", name]
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "armlite", *words], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    hub.shutdown()
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        f"error: {gated} is gated: ask for access at {address}/{gated}, then hf auth login, and try again\n"
    )
