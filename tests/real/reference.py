"""Play `tests/reference_cases.py` through the reference's own code and keep what it sends to the model's server.

`python tests/real/reference.py --code ARM-THINKER --kit VLMEVALKIT` takes checkouts of the two repositories, makes an
environment for them (pip), answers for the model with a scripted endpoint, and writes `committed/reference.json`, which
`tests/test_reference.py` compares with our requests. What their environment would need beside the loop (ray, torch,
chromadb) is stood in for by empty modules: none of it takes part in what is sent, but for the retriever, whose answers
the cases fix.
"""

import argparse
import ast
import datetime
import json
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COMMITTED = HERE / "committed" / "reference.json"
REQUIREMENTS = (
    *("openai", "omegaconf", "python-dotenv", "regex", "httpx", "pillow", "pyyaml", "requests", "numpy", "packaging"),
    *("tqdm", "pydantic", "nltk"),
)
sys.path.insert(0, str(HERE.parent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--code", type=Path, required=True, help="checkout of InternLM/ARM-Thinker")
    parser.add_argument("--kit", type=Path, required=True, help="checkout of open-compass/VLMEvalKit")
    parser.add_argument("--env", type=Path, help="where the environment is, or is made  [default: a new one]")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        record(asked.code.resolve(), asked.kit.resolve())
        return
    env = asked.env or Path(tempfile.mkdtemp(prefix="reference-"))
    python = env / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "qwen-vl-utils"], check=True)
    words = [__file__, "--inside", "--code", asked.code, "--kit", asked.kit]
    subprocess.run([python, *words], check=True)


def record(code: Path, kit: Path) -> None:
    """Play all cases, and write what was sent."""
    from reference_cases import CASES, summary, write_picture

    stand_in(code)
    folder = Path(tempfile.mkdtemp(prefix="reference-run-"))
    os.environ |= {"TOOL_CALL_IMG_TEMP": str(folder), "RAG_IMAGE_ROOT": str(folder), "NLTK_DATA_PATH": str(folder)}
    write_picture(folder / "original.png")
    write_pages(folder)
    server = Endpoint()
    found = {}
    for name, case in CASES.items():
        server.turns, server.bodies = case["turns"], []
        played = played_by_kit if "kit" in case else played_by_scripts if "item" in case else played_as_reward_bench
        played(case, server.url, code, kit, folder)
        found[name] = summary(server.bodies)
        print(f"{name}: {found[name]['requests']} requests")
    about = {"recorded": datetime.date.today().isoformat(), "scripts": head(code), "kit": head(kit)}
    COMMITTED.parent.mkdir(exist_ok=True)
    COMMITTED.write_text(json.dumps({**about, "cases": found}, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"written: {COMMITTED}")


def head(repository: Path) -> str:
    """The commit of a checkout, and its date."""
    words = ["git", "-C", repository, "log", "-1", "--format=%H %cs"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


class Endpoint:
    """A scripted chat-completions server in a thread of this process."""

    def __init__(self) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        from threading import Thread

        self.turns: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mine.bodies.append(body)
                turn = sum(message["role"] == "assistant" for message in body["messages"])
                message = {"role": "assistant", "content": mine.turns[min(turn, len(mine.turns) - 1)]}
                self.answer({"id": "1", "object": "chat.completion", "created": 0, "model": "judge",
                             "choices": [{"index": 0, "finish_reason": "stop", "message": message}]})  # fmt: skip

            def do_GET(self) -> None:
                self.answer({"object": "list", "data": [{"id": "judge", "object": "model"}]})

            def answer(self, value: dict[str, Any]) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *words: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/v1"
        Thread(target=server.serve_forever, daemon=True).start()


def stand_in(code: Path) -> None:
    """Let their modules be imported without what does not take part."""
    for name in ("verl", "verl.tools", "verl.tools.utils", "verl.utils", "verl.experimental",
                 "verl.experimental.agent_loop"):  # fmt: skip
        package = types.ModuleType(name)
        package.__path__ = [str(code / name.replace(".", "/"))]  # its __init__, which loads all of verl, is passed over
        sys.modules[name] = package
    trace = types.ModuleType("verl.utils.rollout_trace")
    trace.rollout_trace_op = lambda function: function
    sys.modules[trace.__name__] = trace
    for name in ("torch", "torchvision", "torchvision.io", "torchvision.transforms", "chromadb", "chromadb.config",
                 "sentence_transformers", "pandas", "datasets", "fastchat", "fastchat.conversation", "huggingface_hub",
                 "transformers"):  # fmt: skip
        sys.modules[name] = Anything(name)
    sys.path.insert(0, str(code))


class Anything(types.ModuleType):
    """A module that has whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(
            name, (), {"__init__": lambda self, *a, **k: None, "__class_getitem__": classmethod(lambda c, i: c)}
        )


def write_pages(folder: Path) -> None:
    """Pages as page pictures, as the reference's tools want them; sizes as of a letter page at 144 dpi."""
    from PIL import Image
    from reference_cases import PDF

    for number in range(1, len(PDF) + 1):
        Image.new("RGB", (1224, 1584), "white").save(folder / f"report_{number}.jpg")


def played_by_scripts(case: dict[str, Any], url: str, code: Path, kit: Path, folder: Path) -> None:
    """An item through the agent's evaluation script, with the settings of `eval_utils/config.yaml`."""
    import yaml
    from reference_cases import QUESTION

    config = yaml.safe_load((code / "eval_utils/config.yaml").read_text())["runs"]
    run = next(run for name, run in config.items() if "agent" in name)
    tools = code / f"examples/self/multiturn/config/tool_config/{case['tools']}_config.yaml"
    words = ["--model", "judge", "--api_base", url, "--api_key", "x", "--tool_config_path", str(tools)]
    words += ["--bench_name", case.get("name", "fine_grained_perception"), "--work_dir", str(folder / "out")]
    for name in ("temperature", "max_tokens", "max_round", "max_tool_response_length"):
        words += [f"--{name}", str(run[name])]
    source = (code / "eval_utils/common/eval_vllm_api_agent_verl.py").read_text()
    scope: dict[str, Any] = {"__name__": "reference_script"}
    sys.argv = ["eval_vllm_api_agent_verl.py", *words]
    exec(compile(source.split('\nif __name__ == "__main__":')[0], "eval_vllm_api_agent_verl.py", "exec"), scope)
    scope |= {"bench_img_root": str(folder), "bench_identity": "idx", "save_dir": str(folder / "out")}
    if "doc" in case["tools"]:
        for tool in scope["agent"].tools.values():
            type(tool).execute.__globals__["retriever_manager"].collection = Collection()
    scope["process_item"]({"idx": 1, "question": f"<image>\n{QUESTION}", "images": ["original.png"], **case["item"]})


def played_as_reward_bench(case: dict[str, Any], url: str, code: Path, kit: Path, folder: Path) -> None:
    """A row through `eval_utils/reward_bench_2/eval_vllm_api_with_ties.py`, which is told to ask for a thought."""
    from reference_cases import QUESTION

    os.environ["COT_PT_TAG"] = "1"
    sys.argv = ["eval_vllm_api_with_ties.py", "--model", "judge", "--base", url, "--key", "x"]
    source = (code / "eval_utils/reward_bench_2/eval_vllm_api_with_ties.py").read_text()
    scope: dict[str, Any] = {"__name__": "reference_script"}
    exec(compile(source.split('\nif __name__ == "__main__":')[0], sys.argv[0], "exec"), scope)
    scope["process_item"]({"prompt": QUESTION, **case["row"]})


class Collection:
    """What the retriever asks: it finds what the cases say."""

    def query(self, query_texts: list[str], n_results: int, where: dict[str, str]) -> dict[str, Any]:
        from reference_cases import FOUND

        pages = FOUND[query_texts[0]]
        return {"ids": [[str(page) for page in pages]], "metadatas": [[{"page": page} for page in pages]]}


def played_by_kit(case: dict[str, Any], url: str, code: Path, kit: Path, folder: Path) -> None:
    """A row through the kit's `build_prompt` and `ARM_thinker`, with the settings of its `config.py`."""
    dataset = kit_dataset(kit, case["kit"], folder / "original.png")
    message = dataset.build_prompt(case["row"])
    names = {"smp": kit / "vlmeval/smp/vlm.py", "api": kit / "vlmeval/api/arm_thinker.py"}
    scope = module(names["smp"], ("encode_image_to_base64", "resize_image_by_factor"))
    scope |= {"BaseAPI": Base, "dt": datetime, "uuid": __import__("uuid"), "osp": os.path}
    api = module(names["api"], ("LMDeployWrapper", "ARM_thinker"), scope)["ARM_thinker"]
    settings = kit_settings(kit, code)
    judge = api(**{**settings, "api_base": f"{url}/chat/completions", "model": "judge"})
    judge.generate_inner(message, dataset=case["kit"], **judge.default_kwargs)


class Base:
    """What the kit's `BaseAPI` does with settings."""

    def __init__(self, retry: int = 10, verbose: bool = True, **kwargs: Any):
        self.default_kwargs = kwargs


def kit_settings(kit: Path, code: Path) -> dict[str, Any]:
    """Keywords of the one configuration with the reference's prompt, but with the role `tool`, as for vLLM."""
    tree = ast.parse((kit / "vlmeval/config.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "Qwen3-VL-8B--crop--arm_thinker_prompt--sglang":
                    found = {word.arg: ast.literal_eval(word.value) for word in value.keywords}
                    tools = "examples/self/multiturn/config/tool_config/image_zoom_in_tool_config.yaml"
                    return found | {"agent_repo_root": str(code), "tool_config_path": str(code / tools),
                                    "use_role_tool": True}  # fmt: skip
    raise SystemExit("the kit has no configuration with the reference's prompt any more")


def kit_dataset(kit: Path, name: str, file: Path) -> Any:
    """An object with the kit's own `build_prompt` for a data set."""
    special = {
        "VL-RewardBench": ("vl_rewardbench", "VLRewardBench"),
        "WeMath": ("image_mcq", "WeMath"),
        "MME-RealWorld-Lite": ("image_mcq", "MMERealWorld"),
    }
    where = special.get(name, ("image_mcq", "ImageMCQDataset"))
    source = kit / f"vlmeval/dataset/{where[0]}.py"
    scope: dict[str, Any] = {"string": __import__("string"), "pd": Pandas, "toliststr": list}
    scope |= {"ImageBaseDataset": object, "ImageMCQDataset": object}
    made = module(source, (where[1], "PROMPT_TEMPLATE"), scope, ("build_prompt", "SYS"))[where[1]]

    class Dataset(made):
        meta_only, dataset_name = False, name

        def __init__(self) -> None:
            pass

        def dump_image(self, line: Any) -> list[str]:
            return [str(file)]

    return Dataset()


class Pandas:
    @staticmethod
    def isna(value: Any) -> bool:
        return value is None


def name_of(node: ast.stmt) -> str:
    return getattr(node.targets[0], "id", "") if isinstance(node, ast.Assign) else getattr(node, "name", "")


def module(
    file: Path, names: tuple[str, ...], scope: dict[str, Any] | None = None, members: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The named classes (of which only the named members), functions and constants of a file, run alone."""
    import base64
    import io
    import logging
    import traceback

    import numpy as np
    import requests

    scope = {**(scope or {}), "base64": base64, "io": io, "logging": logging, "np": np, "os": os, "sys": sys}
    scope |= {"json": json, "traceback": traceback, "requests": requests}
    body = []
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name in names and members:
            node.body = [part for part in node.body if name_of(part) in members]
        body += [node] if name_of(node) in names else []
    logger = types.ModuleType("log")
    logger.get_logger = lambda name: logging.getLogger(name)
    scope |= {"__package__": "kit", "__name__": "kit.one", "__file__": f"{tempfile.mkdtemp()}/a/b/c.py"}
    sys.modules |= {"kit": types.ModuleType("kit"), "kit.log": logger}
    exec(compile(ast.Module(body, []), str(file), "exec"), scope)
    return scope


if __name__ == "__main__":
    main()
