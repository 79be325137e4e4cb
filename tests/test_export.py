"""`armlite export weights`: a judge as a plain model folder that any server can serve, its rules, its card, the hub."""

import json
import os
import subprocess
import sys

import pytest
import torch
import transformers
import yaml
from command_line import is_one_line, runner
from hub import TOKEN, environment, serve_hub
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from safetensors.torch import load_file, save_file
from tiny_qwen import tiny
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from armlite.models.bases import BASES
from armlite.models.loading import load
from armlite.protocol.render import template_source
from armlite.recipe import LoraSettings, saved_recipe
from armlite.rules import FILE, read_rules, rules_of
from armlite.train.export import export_weights
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
    code, out, _ = run("export", "weights", trained, "--out", tmp_path / "judge")
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


@pytest.mark.parametrize("base", BASES)
def test_a_tied_output_layer_stays_the_embeddings(run, tmp_path, base):
    from peft import LoraConfig, get_peft_model

    model, processor = tiny(base=base, tied=True)
    save_weights(model, processor, tmp_path / "base")
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=LoraSettings().target, init_lora_weights=False)
    adapted = get_peft_model(load(tmp_path / "base")[0], config).eval()
    save_weights(adapted, processor, tmp_path / "adapter")
    code, _, _ = run("export", "weights", str(tmp_path / "adapter"), "--out", str(tmp_path / "judge"))
    assert code == 0
    assert not any("lm_head" in name for name in load_file(tmp_path / "judge" / "model.safetensors"))
    alone = getattr(transformers, BASES[base].model_class).from_pretrained(tmp_path / "judge").eval()
    assert alone.lm_head.weight is alone.model.language_model.embed_tokens.weight
    assert (logits(alone) - logits(adapted)).abs().max() <= 1e-4
    assert (logits(alone) - logits(model)).abs().max() > 1e-3
    assert f"- {base}" in (tmp_path / "judge" / "README.md").read_text()


@pytest.fixture(scope="module")
def stacked(trained, tmp_path_factory):
    """A second adapter on the first one, and one that is no plain LoRA."""
    from peft import LoraConfig, get_peft_model

    root = tmp_path_factory.mktemp("stacked")
    for name, more in (("plain", {"use_rslora": True}), ("dora", {"use_dora": True})):
        torch.manual_seed(1)
        below = trained.joinpath(*PLACE) if name == "plain" else trained / "checkpoints" / "sft"
        base, processor = load(below)
        base = base.merge_and_unload() if hasattr(base, "merge_and_unload") else base
        base.name_or_path = str(below)
        target = r".*(language_model.*(o|down)|visual.*(qkv|gate))_?(proj)?"
        config = LoraConfig(r=2, target_modules=target, init_lora_weights=False, **more)
        made = get_peft_model(base, config)
        made.peft_config["default"].base_model_name_or_path = str(below)
        save_weights(made, processor, root / name)
    return root


@pytest.mark.parametrize("name", ["plain", "dora"])
def test_an_adapter_on_an_adapter_and_one_of_another_kind_are_folded_in(stacked, tmp_path, name):
    export_weights(str(stacked / name), tmp_path / "judge")
    alone = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "judge")
    assert torch.allclose(logits(alone), logits(load(stacked / name)[0]), atol=1e-4)


def test_weights_come_in_shards_that_are_loaded_as_one(trained, tmp_path):
    export_weights(str(trained), tmp_path / "judge", shard=200_000)
    files = sorted((tmp_path / "judge").glob("*.safetensors"))
    assert len(files) >= 3
    assert all(file.stat().st_size < 230_000 for file in files)
    alone = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "judge")
    assert torch.allclose(logits(alone), logits(load(trained)[0]), atol=1e-5)


def test_the_type_can_be_chosen(run, trained, tmp_path):
    assert run("export", "weights", trained, "--out", tmp_path / "judge", "--dtype", "bfloat16")[0] == 0
    alone = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "judge", dtype="auto")
    assert {weight.dtype for weight in alone.parameters()} == {torch.bfloat16}
    code, _, err = run("export", "weights", trained, "--out", tmp_path / "other", "--dtype", "int4")
    assert code == 2 and is_one_line(err, "--dtype is 'int4'; it can be bfloat16, float16, float32")


def test_servers_are_told_of_no_sampling_that_the_judge_was_not_trained_with(tmp_path):
    model, processor = tiny()
    save_weights(model, processor, tmp_path / "base")
    file = tmp_path / "base/generation_config.json"
    ids = json.loads(file.read_text())
    file.write_text(json.dumps({**ids, "do_sample": True, "repetition_penalty": 1.05, "temperature": 1e-6}))
    export_weights(str(tmp_path / "base"), tmp_path / "judge")
    assert json.loads((tmp_path / "judge/generation_config.json").read_text()) == ids


def test_a_full_disk_is_one_sentence_and_leaves_nothing(run, trained, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        code, _, err = run("export", "weights", trained, "--out", tmp_path / "judge")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2 and is_one_line(err, "make room, and say the same again")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_cut_off_are_one_sentence(run, tmp_path):
    save_weights(*tiny(), tmp_path / "base")
    file = tmp_path / "base/model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    code, _, err = run("export", "weights", tmp_path / "base", "--out", tmp_path / "judge")
    assert code == 2 and is_one_line(err, f"the weights of {tmp_path / 'base'} could not be read")
    assert not (tmp_path / "judge").exists()


def test_an_adapter_for_another_model_is_refused_and_leaves_nothing(run, trained, tmp_path):
    save_weights(*tiny(hidden=96), tmp_path / "base")
    (tmp_path / "adapter").mkdir()
    for file in trained.joinpath(*PLACE).iterdir():
        (tmp_path / "adapter" / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "base")
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(config))
    code, _, err = run("export", "weights", tmp_path / "adapter", "--out", tmp_path / "judge")
    assert code == 2 and is_one_line(err, "does not fit its base")
    assert not (tmp_path / "judge").exists()


MEASURED = """
import sys, threading, time
from pathlib import Path
from safetensors.torch import load_file
from armlite.train.fold import fold
def own():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) >> 10
before, most = own(), 0
def watch():
    global most
    while not ended.wait(0.002):
        most = max(most, own() - before)
ended = threading.Event()
watching = threading.Thread(target=watch)
watching.start()
fold(Path(sys.argv[1]), [], Path(sys.argv[2]), "float32", shard=40 << 20)
ended.set()
watching.join()
whole = [weight.float() for weight in load_file(Path(sys.argv[1]) / "model.safetensors").values()]
print(most, own() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_folding_takes_a_weight_at_a_time(tmp_path):
    weights = {f"model.w{n}": torch.full((1 << 20, 2), n, dtype=torch.bfloat16) for n in range(24)}  # 96 MiB
    (tmp_path / "base").mkdir()
    (tmp_path / "out").mkdir()
    save_file(weights, tmp_path / "base/model.safetensors")
    command = [sys.executable, "-c", MEASURED, tmp_path / "base", tmp_path / "out"]
    # glibc keeps freed blocks for later, more or fewer of them by the clock; those that it maps it gives back.
    given_back = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=given_back)
    assert done.returncode == 0, done.stderr[-1000:]
    folding, whole = map(int, done.stdout.split())
    assert whole > 150, "MiB that the weights have in float32"
    assert folding < 40, "less than a file of them"
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())["weight_map"]
    assert set(index) == set(weights) and len(set(index.values())) == 5
    assert torch.equal(load_file(tmp_path / "out" / index["model.w7"])["model.w7"], weights["model.w7"].float())


def evaluated(trained, root):
    """The run with held-out figures, tasks of a set with a licence, and a path of this machine in its recipe."""
    import shutil

    copy = root / "run"
    shutil.copytree(trained, copy)
    tasks = root / "mine.jsonl"
    tasks.write_text("".join(json.dumps({"id": str(n), "source": "arm-thinker-data/x"}) + "\n" for n in range(7)))
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text())
    recipe["data"]["tasks"] = str(tasks)
    recipe["model"]["path"] = "Qwen/Qwen2.5-VL-7B-Instruct"
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    figures = {"accuracy": {"value": 0.75, "ci95": [0.7, 0.8]}, "tool_calls_per_task": {"value": 1.5, "ci95": None}}
    summary = {round: {"items": 40, "figures": figures} for round in ("rollout", "greedy", "no_tools")}
    (copy / "eval/grpo1").mkdir(parents=True)
    (copy / "eval/grpo1/summary.json").write_text(json.dumps(summary))
    return copy


def test_the_card_says_what_the_judge_is_made_of_and_renders(trained, tmp_path):
    export_weights(str(evaluated(trained, tmp_path)), tmp_path / "judge", name="me/judge")
    card = ModelCard.load(tmp_path / "judge/README.md")
    assert card.data.base_model == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert card.data.license == "cc-by-nc-4.0", "the narrowest of its data"
    assert card.data.datasets and card.data.library_name == "transformers"
    assert card.data.eval_results[0].metric_value == 0.75
    page = MarkdownIt().enable("table").render(card.text)
    assert page.count("<table>") == 3
    assert "75.0 % (70.0 to 80.0)" in page and "<td>CC-BY-NC-4.0</td>" in page and "me/judge" in page
    assert str(tmp_path) not in card.content, "paths of this machine are nobody's business"


def test_a_judge_is_pushed_and_loaded_from_the_hub(trained, tmp_path):
    def start(*words, token=TOKEN):
        told = os.environ | environment(hub, tmp_path / "home", token)
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=told, cwd=tmp_path, check=False)

    def python(code, **more):
        return start("-c", code, **more)

    def armlite(*words):
        return start("-m", "armlite", *words)

    with serve_hub() as hub:
        refused = python("from armlite.train.push import check_push; check_push('tester/judge')", token="hf_wrong")
        assert "ArmliteError: --push: the hub does not take your token" in refused.stderr
        done = armlite("export", "weights", trained, "--out", "judge", "--push", "tester/judge")
        assert done.returncode == 0, done.stderr
        assert f"{hub.url}/tester/judge" in done.stdout
        assert hub.repositories["models/tester/judge"].private
        here = {file.name: file.read_bytes() for file in (tmp_path / "judge").iterdir()}
        assert hub.files("models/tester/judge") == here
        hub.once = {f"HEAD /tester/judge/resolve/main/{FILE}": "500"}
        rules = python("from armlite import Judge; print(Judge.load('tester/judge').settings.max_calls)")
        assert rules.stdout == "2\n", "those it was trained with, not the defaults"
        assert hub.failed
        loaded = armlite("export", "weights", "tester/judge", "--out", "again")
        assert loaded.returncode == 0, loaded.stderr
        assert (tmp_path / "again/model.safetensors").read_bytes() == here["model.safetensors"]
        assert (tmp_path / "again" / FILE).read_bytes() == here[FILE]
        hub.repositories["models/tester/judge"].private = False
        seen = python(
            "from pathlib import Path; from armlite.train.push import push; push(Path('judge'), 'tester/judge')"
        )
        assert "ArmliteError: tester/judge is there already and public" in seen.stderr


CONVERTER = """
import sys
if "--mmproj" in sys.argv and {fails}:
    sys.exit("ValueError: Can not map tensor")
open(sys.argv[sys.argv.index("--outfile") + 1], "wb").write(b"GGUF")
"""
SERVER = """#!{python}
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        data = json.dumps({{"choices": [{{"message": {{"content": "one"}}}}]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
assert open(sys.argv[sys.argv.index("--mmproj") + 1], "rb").read() == b"GGUF"
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


def test_the_way_to_llama_cpp_is_written_down_and_gone_where_there_is_a_converter(run, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, _ = run("export", "weights", trained, "--out", tmp_path / "judge", "--gguf")
    assert code == 0 and "convert_hf_to_gguf.py is not on PATH" in out
    how = (tmp_path / "judge/LLAMA_CPP.md").read_text()
    assert "--mmproj --outfile" in how and "llama-server -m" in how
    converter, server = tmp_path / "convert_hf_to_gguf.py", tmp_path / "build/bin/llama-server"
    converter.write_text(CONVERTER.format(fails=False))
    code, out, _ = run("export", "weights", trained, "--out", tmp_path / "made", "--converter", converter)
    assert code == 0 and "not asked, as llama-server is neither" in out
    server.parent.mkdir(parents=True)
    server.write_text(SERVER.format(python=sys.executable))
    server.chmod(0o755)
    code, out, _ = run("export", "weights", trained, "--out", tmp_path / "asked", "--converter", converter)
    assert code == 0 and "llama-server answers 'one'" in out


def test_a_converter_that_cannot_take_the_judge_is_quoted(run, trained, tmp_path):
    converter = tmp_path / "convert_hf_to_gguf.py"
    converter.write_text(CONVERTER.format(fails=True))
    code, _, err = run("export", "weights", trained, "--out", tmp_path / "judge", "--converter", converter)
    assert code == 2
    assert is_one_line(err, "ValueError: Can not map tensor; the folder itself is whole")
    assert (tmp_path / "judge/model.safetensors").is_file()
