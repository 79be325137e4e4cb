"""`armlite export weights --gguf` with llama.cpp: `python tests/real/gguf_files.py --sources FOLDER`; a minute.

The pocket judge cannot be converted (its vocabulary and its vision tower are too small for the converter), so that the
model is a random Qwen2.5-VL of a million parameters with Qwen's own vocabulary, which llama.cpp's sources hold. What it
says means nothing: what counts is that the server says the same as transformers, with and without a picture. Needs
`pip install sentencepiece`, and llama.cpp's sources with `llama-server` built in `build/bin` (as `llama_cpp.py` does).
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from serving import ROOT, keep, say, serving
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from armlite.models.loading import load
from armlite.models.processor import build_processor
from armlite.train.weights import save_weights

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 cuts text before its merges (`tokenizer.json` of Qwen/Qwen2.5-VL-7B-Instruct)."""
SPECIAL = """<|endoftext|> <|im_start|> <|im_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|>
<|video_pad|>""".split()
QUESTIONS = ("Which is better?", "Zwei plus drei?", "Say one word.", "Where does the red line end?")
TOKENS = 8


def tokenizer(sources: Path) -> Any:
    """Qwen's, from the vocabulary in llama.cpp's sources."""
    sys.path.insert(0, str(sources / "gguf-py"))
    from gguf import GGUFReader

    fields = GGUFReader(sources / "models/ggml-vocab-qwen2.gguf").fields

    def texts(name: str) -> list[str]:
        found = fields[f"tokenizer.ggml.{name}"]
        return [bytes(found.parts[place]).decode() for place in found.data]

    kinds = fields["tokenizer.ggml.token_type"]
    normal = [int(kinds.parts[place][0]) == 1 for place in kinds.data]
    vocabulary = {text: number for number, text in enumerate(texts("tokens")) if normal[number]}
    merges = [tuple(text.split(" ")) for text in texts("merges")]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.normalizer = normalizers.NFC()
    cut = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.add_tokens([AddedToken(text, special=True) for text in SPECIAL])
    fast.add_tokens(["<tool_call>", "</tool_call>"])
    return fast


def save_model(sources: Path, folder: Path) -> None:
    """A random Qwen2.5-VL with that tokenizer."""
    made = tokenizer(sources)
    ids = made.convert_tokens_to_ids
    text = {
        "vocab_size": len(made), "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 4, 4]},
        "eos_token_id": ids("<|im_end|>"), "bos_token_id": None, "pad_token_id": ids("<|endoftext|>"),
        "initializer_range": 0.2,
    }  # fmt: skip
    vision = {
        "depth": 4, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "out_hidden_size": 128,
        "fullatt_block_indexes": [1, 3], "initializer_range": 0.2,
    }  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    save_weights(model, build_processor(made, min_pixels=28 * 28, max_pixels=64 * 28 * 28), folder)


def said_here(folder: Path) -> list[str]:
    """What transformers says to the questions."""
    model, processor = load(folder, device="cpu")
    answers = []
    for question in QUESTIONS:
        messages = [{"role": "user", "content": question}]
        text = processor.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = torch.tensor([processor.tokenizer(text, add_special_tokens=False).input_ids])
        with torch.no_grad():
            whole = model.generate(input_ids=ids, max_new_tokens=TOKENS, do_sample=False)
        answers.append(processor.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True))
    return answers


def ask(url: str, content: Any) -> str:
    """What the server says, once it has loaded the model."""
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": TOKENS, "temperature": 0}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode())
    for _ in range(60):
        try:
            reply = json.loads(urllib.request.urlopen(request, timeout=120).read())
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(1)
        else:
            return str(reply["choices"][0]["message"]["content"])
    raise SystemExit("the server does not load the model")


def main() -> None:
    """Export, convert, serve and compare.

    Raises:
        SystemExit: the server does not say what transformers says, or takes no picture.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, required=True, help="llama.cpp, with build/bin/llama-server")
    parser.add_argument("--folder", type=Path, default=ROOT / ".real/gguf")
    parser.add_argument("--port", type=int, default=18400)
    parser.add_argument("--write", action="store_true", help="keep what came of it in tests/real/committed")
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    save_model(options.sources, options.folder / "model")
    judge = options.folder / "judge"
    command = [sys.executable, "-m", "armlite", "export", "weights", options.folder / "model", "--out", judge]
    command += ["--converter", options.sources / "convert_hf_to_gguf.py"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    from PIL import Image

    from armlite.models.pictures import data_url

    here = said_here(judge)
    server = [options.sources / "build/bin/llama-server", "-m", judge / "judge.gguf", "--port", str(options.port)]
    server += ["--mmproj", judge / "mmproj-judge.gguf", "--jinja", "-np", "1", "--no-repack"]
    with serving(server, options.port, options.folder / "server.log") as tap:
        there = [ask(tap.url, question) for question in QUESTIONS]
        picture = {"type": "image_url", "image_url": {"url": data_url(Image.linear_gradient("L").convert("RGB"))}}
        seen = ask(tap.url, [picture, {"type": "text", "text": QUESTIONS[0]}])
    equal = sum(a == b for a, b in zip(here, there, strict=True))
    export_said = done.stdout.splitlines()[-1].replace(str(options.folder), "FOLDER")
    row = {
        "date": datetime.now(UTC).date().isoformat(),
        "questions": len(here),
        "equal": equal,
        "with_picture": bool(seen),
        "said": export_said,
    }
    say(f"{row}\n{here}\n{there}\n{seen!r}")
    if equal < len(here) or not seen or seen == there[0]:
        raise SystemExit("that is not what transformers says")
    if options.write:
        keep("gguf.json", row, options.folder)


if __name__ == "__main__":
    main()
